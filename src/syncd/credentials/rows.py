"""Every secret of an integration as a row: kept where, readable, how old and by what word, until when, set by whom.

No row has a value: a short hash to compare by, and the last four characters of what is long enough to spare them. What
cannot be known (the age of an environment variable) is said to be unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from syncd.client.grants import end_of
from syncd.config import Config, PartnerConfig
from syncd.credentials.files import Left, left_of, previous_of
from syncd.errors import ConfigError
from syncd.kit.coerce import epoch_moment
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.store.audit import AuditEntry
from syncd.store.credentials import CredentialNote
from syncd.sync.pending import TRIAL
from syncd.sync.replacing import FORMER

LEAST_LENGTH: Final = 20
"""Of a secret whose last four characters are shown: of a shorter one they would be too much of it."""
SET: Final = (
    "credential_set",
    "credential_rotated",
    "credential_logged_in",
    "credential_rotation_undone",
    "secret_of_webhook_added",
    "secret_of_webhook_undone",
)
"""Actions of the audit log that put a secret in place; `after` has its short hash by its name."""
WEBHOOK: Final = "webhook"
RENEWED: Final = ("oauth2_client", "oauth2_refresh")
"""Kinds of tokens; a rotation that is not over keeps some more beside them, by the same word and another."""
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - the credential's name
"""A configured one renews what was stored without."""
STATES: Final = {
    "rotated": "handed over by the partner: in force instead of the file's as long as the file has the one it replaced",
    **{f"{kind}{FORMER}": "of a rotation that is not over: what it may go back to" for kind in RENEWED},
    **{f"{kind}{TRIAL}": "of a rotation that is not over: given to the new secret" for kind in RENEWED},
    "rotation": "announced by the partner: being tried, or refused and not in force (syncd status says which)",
    WEBHOOK: "given by the partner when its webhooks were registered",
}
"""What sealed rows are, by their kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One secret."""

    integration: str
    partner: str
    name: str
    use: str
    """`credential`, `webhook` (deliveries are verified with it), `token` (obtained at run time)."""
    source: str
    """`file`, `env`, `credential` (systemd), `literal`, `database`."""
    kept: str
    ok: bool = True
    state: str = "readable"
    hash: str = ""
    ends_with: str = ""
    set_at: datetime | None = None
    age_seconds: float | None = None
    age_by: str = ""
    """Whose word the age is; where it is not known, why."""
    set_by: str | None = None
    """Who put it in place last, as the audit log has it."""
    expires_at: datetime | None = None
    renews: bool = False
    """Another one is got before it ends, by syncd itself."""
    left: str = ""
    """What an unfinished rotation has left, and how it is finished."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def configured(
    config: Config, names: Sequence[str], vault: Vault, audit: Mapping[str, Sequence[AuditEntry]], now: datetime
) -> list[Row]:
    """What the files name, read now. `audit`: by integration, latest first."""
    rows: list[Row] = []
    for name in names:
        partner, integration = config.integrations[name]
        entries = audit.get(name, ())
        for key, ref in integration.credentials.items():
            rows.append(_row(partner, name, key, "credential", ref, vault, entries, now))
        hook = integration.webhook
        for number, ref in enumerate(hook.secrets if hook is not None else (), 1):
            key = WEBHOOK if number == 1 else f"{WEBHOOK} {number}"
            rows.append(_row(partner, name, key, WEBHOOK, ref, vault, entries, now))
            before = previous_of(ref, vault)
            if before is not None:
                row = _row(partner, name, f"{key} before", WEBHOOK, before, vault, (), now)
                rows.append(row)
    return rows


def sealed(config: Config, notes: Iterable[CredentialNote], now: datetime) -> list[Row]:
    """What was obtained at run time, from what may be told without opening it."""
    rows = []
    for note in notes:
        partner, settings = config.integrations[note.integration]
        over = note.expires_at is not None and note.expires_at <= now
        renews = note.kind.startswith(RENEWED) and (
            note.refreshes is not False or REFRESH_TOKEN in settings.credentials
        )
        rows.append(
            Row(
                integration=note.integration,
                partner=partner.name,
                name=note.kind,
                use=WEBHOOK if note.kind == WEBHOOK else "token",
                source="database",
                kept=f"database (version {note.version}, key {note.key_id})",
                state="expired, renewed at the next call"
                if over and renews and note.kind in RENEWED
                else f"nothing renews it: syncd credential login {note.integration}"
                if note.kind in RENEWED and not renews
                else STATES.get(note.kind, "sealed"),
                set_at=note.stored_at,
                age_seconds=(now - note.stored_at).total_seconds(),
                age_by="stored then",
                expires_at=note.expires_at,
                renews=renews,
            )
        )
    return rows


def _row(
    partner: PartnerConfig,
    integration: str,
    name: str,
    use: str,
    ref: Ref,
    vault: Vault,
    entries: Sequence[AuditEntry],
    now: datetime,
) -> Row:
    found: dict[str, Any] = {
        "integration": integration,
        "partner": partner.name,
        "name": name,
        "use": use,
        "source": source_of(ref),
        "kept": ref.text,
    }
    try:
        secret = vault.resolve(ref)
        found |= {"hash": fingerprint(secret), "ends_with": _end(secret), "expires_at": jwt_end(secret)}
    except ConfigError as error:
        hint = f"; {error.hint}" if error.hint else ""
        return Row(**found, ok=False, state=f"{error}{hint}", age_by="it cannot be read")
    found |= told_age(ref, vault, name, found["hash"], entries, now)
    left = left_of(ref, vault)
    if left is not Left.NOTHING:
        found["left"] = "; ".join(left.told(integration, name, webhook=use == WEBHOOK))
    return Row(**found)


def told_age(
    ref: Ref, vault: Vault, name: str, short: str, entries: Sequence[AuditEntry], now: datetime
) -> dict[str, Any]:
    """Since when, by whose word, and who: the audit log where it has this very secret, else the file's own time."""
    known = next((one for one in entries if one.action in SET and (one.after or {}).get(name) == short), None)
    if known is not None:
        return {
            "set_at": known.at,
            "age_seconds": (now - known.at).total_seconds(),
            "age_by": "audit log",
            "set_by": known.actor,
        }
    if ref.file is None:
        why = {
            "env": "an environment variable does not tell its age",
            "credential": "systemd copies it at each start",
            "literal": "it stands in the configuration",
        }
        return {"age_by": f"not known: {why[source_of(ref)]}"}
    changed = file_time(vault.path(ref))
    if changed is None:
        return {"age_by": "not known: the file does not tell"}
    return {"set_at": changed, "age_seconds": (now - changed).total_seconds(), "age_by": "file time"}


def file_time(path: Path) -> datetime | None:
    """When the file's content was last written; None where it cannot be looked at."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def source_of(ref: Ref) -> str:
    return next((kind for kind in ("file", "env", "credential") if getattr(ref, kind) is not None), "literal")


def jwt_end(secret: Secret) -> datetime | None:
    """When it ends, where it says so itself: a JWT's `exp`, read and not verified, since it is for the partner."""
    ends = end_of(secret.reveal())
    return epoch_moment(ends) if isinstance(ends, int | float) and 1e9 < ends < 1e11 else None


def _end(secret: Secret) -> str:
    text = secret.reveal().strip()
    return text[-4:] if len(text) >= LEAST_LENGTH and text[-4:].isalnum() else ""
