"""`syncd key rotate --forget-lost`: rows that no key opens any more stand in the way of new ones; here they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncd.cli.app import App, arun
from syncd.cli.credential_steps import reload
from syncd.cli.exits import Exit
from syncd.cli.link import who
from syncd.cli.output import Failure, paint, plural, result

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.keyfile import KeyFile, Keys
    from syncd.store.credentials import CredentialNote


def forget_lost(app: App, config: Config, kept: KeyFile, running: dict[str, Any] | None) -> Exit:
    """Take them out of the database. Raises Failure where the running daemon has a key that the file has not."""
    keys = kept.read()
    ahead = [one for one in (running or {}).get("ids", ()) if one not in keys.ids]
    if ahead:
        raise Failure(
            f"{kept.path} lacks {', '.join(ahead)}, which the running daemon has",
            "what is sealed with it is not lost",
            "put it back into that file, from the daemon's own or from a backup",
        )
    lost = arun(_forgotten(app, config, keys))
    if not lost:
        result(f"nothing is lost: every row opens with the keys in {kept.path}")
        return Exit.OK
    reload(app)  # whoever verifies deliveries has read the rows
    for note in lost:
        result(f"  {note.integration}: {note.kind}, sealed with {note.key_id}")
    result(
        f"{paint('✓', 'green')} {plural(len(lost), 'row')} forgotten that no key opens; what is needed is got anew, or"
    )
    result(
        "  asked for by syncd status: syncd credential login for a token that a person allows, syncd webhook repair for"
    )
    result("  the secret of a registration")
    return Exit.OK


async def _forgotten(app: App, config: Config, keys: Keys) -> list[CredentialNote]:
    async with app.store(config) as store:
        store.credentials.use(keys.ring)
        lost = await store.credentials.lost()
        gone = [one for one in lost if await store.credentials.remove(one.integration, one.kind, version=one.version)]
        for one in gone:
            await store.audit.add(
                who(), "key_lost", integration=one.integration, before={"kind": one.kind, "key": one.key_id}
            )
        return gone
