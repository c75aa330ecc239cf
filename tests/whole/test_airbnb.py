"""The airbnb driver against a simulated host with its true limits: import, signed notifications, pushes, a rotated secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

CREDENTIALS = {
    "client_id": "simulated-client",
    "client_secret": "simulated-secret",
    "refresh_token": "simulated-refresh-token",
}
FEW = {"listings": 2, "reservations": 60, "threads": 3, "alterations": 2, "past": 5}
SETTINGS = ("listing_descriptions", "booking_settings", "availability_rules", "pricing_settings")
RESOURCES = ("hosts", "listings", "listing_photos", "listing_rooms", *SETTINGS, "reservations", "threads", "messages")


def partner(base_url: str, **hook: Any) -> dict[str, Any]:
    return {
        "driver": "airbnb",
        "base_url": base_url,
        "options": {"future_days": 365},
        "integrations": {"acme": {"credentials": CREDENTIALS, "webhook": hook}},
    }


async def wrong(control: Control, rows: Rows, *resources: str) -> list[str]:
    """Ids that only one side has, or that differ; stays that are long over are in no window."""
    found = []
    for resource in resources:
        there, here = await control.truth(resource), await rows.live("acme", resource)
        there = {name: raw for name, raw in there.items() if not name.startswith("PAST")}
        if resource == "threads":
            there, here = ({i: {**raw, "messages": 0} for i, raw in side.items()} for side in (there, here))
        found += [f"{resource} {i}" for i in there.keys() | here.keys() if there.get(i) != here.get(i)]
    return found


@pytest.mark.timeout(240)
async def test_airbnb_converges_is_told_of_changes_takes_pushes_and_rotates_its_secret(
    tmp_path: Path, database: str, rows: Rows
):
    with spawn("airbnb", **FEW) as spawned:
        control = Control(spawned.url)
        daemon = Daemon(tmp_path, database, {})
        url = f"http://127.0.0.1:{daemon.port}/webhooks/airbnb/acme"
        pem = (await control.do("public_key"))["pem"]
        daemon.write_partner("airbnb", partner(spawned.base_url, secrets=[pem], url=url))
        await control.webhooks(url, "the application's")
        async with daemon:

            async def same() -> bool:
                return not await wrong(control, rows, *RESOURCES)

            await daemon.until(same, seconds=90, every=0.5)
            assert await rows.count("acme", "calendar_days") == 2 * 366

            # Told by signed notifications: a cancelled stay, a listing that changes its id, a message before its stay.
            booked = [i for i in await control.truth("reservations") if not i.startswith("PAST")]
            await control.update("reservations", booked[0], {"status_type": "cancelled_by_guest"})
            listings = list(await control.truth("listings"))
            await control.do("map", id=listings[0])
            first = (await control.do("message_first"))["reservation"]

            async def told_of() -> bool:
                known = await rows.live("acme", "reservations")
                there = await control.truth("reservations")
                fresh = all(known.get(i) == there[i] for i in (booked[0], first))
                return fresh and not await wrong(control, rows, "listings", "threads", "messages")

            await daemon.until(told_of, seconds=60, every=0.2)

            # A stay whose dates leave the window without a word: the next pass does not show it, and it is read by its
            # code. The pass also brings what names the listing by its new id, of which nobody was told.
            far = {"start_date": "2031-05-01", "end_date": "2031-05-05"}
            await control.do("quietly", resource="reservations", id=booked[2], changes=far)
            code, out, err = await daemon.cli("sync", "acme/reservations")
            assert code == 0, out + err

            async def told() -> bool:
                return not await wrong(control, rows, "reservations", "threads", "messages")

            await daemon.until(told, seconds=30, every=0.2)

            # A request is accepted by a push.
            [pending] = await control.create("reservations", {"status_type": "pending"})
            await daemon.until(told, seconds=30, every=0.2)
            code, out, err = await daemon.cli("push", "acme/reservations", "--kind", "accept", "--id", pending)
            assert code == 0, out + err

            async def accepted() -> bool:
                row = (await rows.live("acme", "reservations")).get(pending, {})
                return bool(row.get("status_type") == "accept")

            await daemon.until(accepted, seconds=30)

            # Days of a calendar are blocked by a push, and read again when they are asked for.
            night = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"
            block = {"dates": [night], "availability": "unavailable", "busy_subtype": "BLOCKED_BY_HOST"}
            data = orjson.dumps({"operations": [block]}).decode()
            code, out, err = await daemon.cli(
                "push", "acme/listings", "--kind", "calendar", "--id", listings[1], "--data", data
            )
            assert code == 0, out + err

            async def blocked() -> bool:
                days = await control.truth("calendar_days")
                return bool(days[f"{listings[1]}:{night}"]["availability"] == "unavailable")

            await daemon.until(blocked, seconds=30)

            # The secret is rotated: one that is refused changes nothing, one that works is in force.
            async def noted(*actions: str) -> None:
                async def there() -> bool:
                    found = await rows.connection.fetch(
                        "SELECT action FROM syncd.audit_log WHERE action LIKE 'credential_r%' ORDER BY id"
                    )
                    return [each["action"] for each in found] == list(actions)

                await daemon.until(there, seconds=30)

            told_secrets = [(await control.do("rotate", works=False))["secret"]]
            await noted("credential_rotation_refused")
            told_secrets.append(
                (await control.do("rotate", uses=1))["secret"]
            )  # taken when it is tried, and not when it is verified
            await noted("credential_rotation_refused", "credential_rotation_rolled_back")
            told_secrets.append((await control.do("rotate", grace=0))["secret"])
            await noted("credential_rotation_refused", "credential_rotation_rolled_back", "credential_rotated")
            await control.do("expire_tokens")
            await control.update("reservations", booked[1], {"nights": 3})
            await daemon.until(told, seconds=30, every=0.2)

            kept = b"".join(
                bytes(each["body"])
                for each in await rows.connection.fetch("SELECT body FROM syncd.inbox WHERE body IS NOT NULL")
            )
            for secret in told_secrets:
                assert secret not in daemon.log()
                assert secret.encode() not in kept
            stats = await control.stats()
            assert (stats["violations"], stats["refused_429"]) == (0, 0)
            assert stats["webhooks"]["failed"] == 0
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
            letters = await rows.connection.fetch("SELECT origin, message FROM syncd.dead_letters")
            assert [dict(letter) for letter in letters] == []
