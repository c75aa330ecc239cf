"""A partner that turns its keys by webhook: tried, stored, in force, verified, rolled back; the file has the last word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.conftest import HOOKS, PLAIN, hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import packaged
from tests.whole.plain import KEY, WEBHOOK_SECRET
from tests.whole.warm import spawn

TURNED = "turned-api-key-1111111111"
REFUSED = "refused-api-key-2222222222"
BRIEF = "brief-api-key-33333333333"
BY_HAND = "by-hand-api-key-444444444"


@pytest.fixture
def turning() -> Iterator[tuple[str, Control]]:
    spawned = spawn("tests.whole.turning", things=20)
    yield spawned.base_url, Control(spawned.url)
    spawned.stop()


async def audited(rows: Rows) -> list[str]:
    found = await rows.connection.fetch(
        "SELECT action FROM syncd.audit_log WHERE action LIKE 'credential_%' ORDER BY id"
    )
    return [each["action"] for each in found]


async def plain_text(rows: Rows) -> str:
    """Every table in which a secret could stand, as text."""
    found = ""
    for table in ("inbox", "audit_log", "dead_letters", "tasks", "credentials", "runs", "event_types"):
        found += str(await rows.connection.fetch(f"SELECT * FROM syncd.{table}"))
        if table == "inbox":
            for row in await rows.connection.fetch("SELECT body FROM syncd.inbox WHERE body IS NOT NULL"):
                found += bytes(row["body"]).decode(errors="replace")
    return found


@pytest.mark.timeout(240)
async def test_keys_turn_by_a_signed_delivery_and_what_is_refused_changes_nothing(
    tmp_path: Path, database: str, rows: Rows, turning: tuple[str, Control]
):
    base_url, control = turning
    body: dict[str, Any] = hooked(base_url, resources=only("things", every="1s"))
    body["driver"] = "turning"
    del body["rest"]
    env = packaged(tmp_path / "site", "turning", "tests.whole.turning:TurningDriver", {**PLAIN, "webhooks": HOOKS})
    daemon = Daemon(tmp_path, database, {"plain": body}, env=env)
    await daemon.start()
    await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)

    async def imported() -> bool:
        return await rows.count("acme", "things") == 20

    await daemon.until(imported)

    async def used(key: str) -> int:
        return int((await control.do("used")).get(key, 0))

    async def goes_on(key: str) -> None:
        before = await used(key)

        async def more() -> bool:
            return await used(key) > before + 2

        await daemon.until(more)

    async def noted(*actions: str) -> None:
        async def there() -> bool:
            return await audited(rows) == list(actions)

        await daemon.until(there)

    # Turned: the old key ends in the same moment, and nobody has to do anything.
    await control.do("turn", key=TURNED, ends=True)
    await noted("credential_rotated")
    await goes_on(TURNED)

    async def healthy() -> bool:
        return (await daemon.integration("acme"))["state"] == "healthy"

    await daemon.until(healthy)
    [note] = await rows.connection.fetch("SELECT * FROM syncd.audit_log WHERE action = 'credential_rotated'")
    assert note["actor"] == "plain by webhook"

    # Refused: the partner does not take what was announced.
    await control.do("turn", key=REFUSED, uses=0)
    await noted("credential_rotated", "credential_rotation_refused")

    async def told() -> bool:
        found = await daemon.integration("acme")
        return found["state"] == "degraded" and found["explanation"]["code"] == "rotation-refused"

    await daemon.until(told)
    await goes_on(TURNED)
    code, out, err = await daemon.cli("credential", "test", "acme")
    assert code == 0, out + err
    await daemon.until(healthy)

    # Rolled back: it is taken once, when it is tried, and not when it is verified.
    await control.do("turn", key=BRIEF, uses=1)
    await noted("credential_rotated", "credential_rotation_refused", "credential_rotation_rolled_back")
    await goes_on(TURNED)

    # A kill changes nothing of it; the file still names the first key, which is dead.
    await daemon.kill()
    await daemon.start()
    await goes_on(TURNED)
    assert await audited(rows) == [
        "credential_rotated",
        "credential_rotation_refused",
        "credential_rotation_rolled_back",
    ]

    # An old word that comes again, signed as it may be, turns nothing back.
    await control.do("turn", key=KEY, later=-600.0)
    await daemon.until(lambda: _said(daemon, "rotation_passed_over"))
    await goes_on(TURNED)

    # Whoever puts another key into the file has decided anew.
    await control.do("turn", key=BY_HAND, later=-600.0)
    body["integrations"]["acme"]["credentials"]["api_key"] = BY_HAND
    daemon.write_partner("plain", body)
    code, out, err = await daemon.cli("reload", "--wait")
    assert code == 0, out + err
    await goes_on(BY_HAND)
    await daemon.until(healthy)

    text = await plain_text(rows) + daemon.log()
    for secret in (TURNED, REFUSED, BRIEF):
        assert secret not in text
    assert await daemon.stop() == 0


async def _said(daemon: Daemon, event: str) -> bool:
    return event in daemon.log()
