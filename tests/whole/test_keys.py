"""The keys that seal, where they are lost, and where they are not the running daemon's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.store import KeyRing, Store
from tests.whole.daemon import Daemon, Rows
from tests.whole.issuer import Issuer
from tests.whole.test_tokens import partner


@pytest.mark.timeout(120)
async def test_keys_handed_over_at_a_start_are_rotated_with_restarts_and_lost_ones_are_got_over(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    """The file is the one that the service's copy is made of, as `LoadCredential=` names it."""
    handed, file = tmp_path / "credentials", tmp_path / "etc" / "syncd.key"
    for folder in (handed, file.parent):
        folder.mkdir(mode=0o700)
    KeyRing.load_or_create(file)
    issuer = Issuer(database, file, "oauth2_client")
    body = partner("oauth2_client", await issuer.start())
    daemon = Daemon(tmp_path, database, {"acme": body}, env={"CREDENTIALS_DIRECTORY": str(handed)})

    async def restart() -> None:
        """systemd copies the file at each start."""
        await daemon.stop()
        (handed / "syncd.key").touch(mode=0o600)
        (handed / "syncd.key").write_bytes(file.read_bytes())
        await daemon.start()
        await goes_on()

    async def goes_on() -> None:
        before = issuer.calls["ok"]

        async def more() -> bool:
            return issuer.calls["ok"] > before + 1

        await daemon.until(more, seconds=30)

    async def rotate(*options: str) -> tuple[int, str]:
        code, out, err = await daemon.cli("key", "rotate", *options)
        return code, out + err

    async def sealed_with() -> list[str]:
        return [one[0] for one in await rows.connection.fetch("SELECT key_id FROM syncd.credentials")]

    try:
        await restart()
        old = KeyRing.parse(file.read_text()).current
        code, said = await rotate()
        assert (code, "--file FILE" in said) == (2, True), said
        code, said = await rotate("--file", str(file))
        assert (code, "does not have it yet" in said) == (75, True), said
        await restart()

        # Somebody else works with the database: nothing is sealed with what they may not have, nor taken from them.
        await rows.connection.execute(
            "INSERT INTO syncd.leases (scope, owner, acquired_at, renewed_at, expires_at) "
            "VALUES ('elsewhere', 'otherhost:1:x', now(), now(), now() + interval '1 hour')"
        )
        async with await Store.open(database, clock=SystemClock(), migrate=False) as idle:
            await idle.listen("syncd_wishes", lambda _: None)
            code, said = await rotate("--file", str(file))
        assert (code, "other instances work with this database: otherhost:1, one at " in said) == (75, True), said
        assert await sealed_with() == [old]
        code, said = await rotate("--file", str(file), "--everywhere")
        assert code == 0, said
        new = KeyRing.parse(file.read_text()).current
        assert (await sealed_with(), new != old) == ([new], True)
        await restart()
        assert (await rotate("--check", "--file", str(file)))[0] == 0
        code, said = await rotate("--forget-old", "--file", str(file))
        assert (code, "--forget-old --everywhere" in said) == (75, True), said
        code, said = await rotate("--forget-old", "--everywhere", "--file", str(file))
        assert code == 0, said
        code, said = await rotate("--forget-lost", "--file", str(file))
        assert (code, f"lacks {old}, which the running daemon has" in said) == (1, True), said

        # The key is gone for good: it is said by its name, and there is a way out.
        await daemon.stop()
        file.unlink()
        KeyRing.load_or_create(file)
        (handed / "syncd.key").write_bytes(file.read_bytes())
        await daemon.start()

        async def told() -> bool:
            why = (await daemon.integration("acme"))["explanation"] or {}
            return bool(why.get("code") == "auth-failed" and "--forget-lost" in why["action"])

        await daemon.until(told, seconds=30)
        issuer.violations.clear()
        code, said = await rotate("--forget-lost", "--file", str(file))
        assert (code, "acme: oauth2_client, sealed with" in said) == (0, True), said
        code, said = await rotate("--forget-lost", "--file", str(file))
        assert (code, "nothing is lost" in said) == (0, True), said
        await goes_on()
        assert await sealed_with() == [KeyRing.parse(file.read_text()).current]
        actions = [
            one[0] for one in await rows.connection.fetch("SELECT action FROM syncd.audit_log WHERE action ~ '^key'")
        ]
        assert actions == ["key_turned", "key_forgotten", "key_lost"]
        assert issuer.violations == []
    finally:
        await daemon.stop()
        await issuer.stop()
