"""The cloudbeds driver against a simulated account of two properties, whose reservations have the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows, free_port
from tests.whole.warm import spawn

PROPERTIES = ["900000000101", "900000000102"]
RESERVATION = f"{PROPERTIES[0]}:7100000000011"
FEW = {"reservations": 230, "guests": 60, "rooms": 10, "room_types": 4, "room_blocks": 6, "rate_plans": 4}
RESOURCES = (
    "hotels", "hotel_details", "hotel_photos", "room_types", "room_type_photos", "rooms", "reservations", "guests",
    "room_blocks", "housekeeping", "custom_fields", "reservation_notes",
)  # fmt: skip
OAUTH = {"client_id": "simulated-client", "client_secret": "simulated-secret", "refresh_token": "simulated-refresh"}
SOON = 30.0


def partner(base_url: str) -> dict[str, Any]:
    """Whatever comes after the first import comes by a delivery or a push: no poll is due for hours."""
    seldom = {
        name: {"every": "12h", "jitter": "0s"} for name in ("reservations", "guests", "room_blocks", "housekeeping")
    }
    return {
        "driver": "cloudbeds",
        "base_url": base_url,
        "limits": {"tiers": ["150/s"], "accept_risk": True},
        "options": {"properties": PROPERTIES, "auth": "oauth"},
        "resources": {**seldom, "reservation_notes": {"enabled": True}},
        "integrations": {"inn": {"credentials": OAUTH, "accept_risk": True}},
    }


async def wrong(control: Control, rows: Rows, resource: str) -> list[str]:
    there, here = await control.truth(resource), await rows.live("inn", resource)
    return [f"{resource}/{i}" for i in there.keys() | here.keys() if there.get(i) != here.get(i)]


@pytest.mark.timeout(180)
async def test_two_properties_converge_and_what_changes_comes_by_unsigned_webhooks(
    tmp_path: Path, database: str, rows: Rows
):
    with spawn("cloudbeds", tiers=["200/s"], retry_seconds=[0.5, 1.0], **FEW) as account:
        control = Control(account.url)

        async def same() -> bool:
            return not [found for resource in RESOURCES for found in await wrong(control, rows, resource)]

        port = free_port()
        daemon = Daemon(tmp_path, database, {"cloudbeds": partner(account.base_url)})
        listen = {"listen": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{daemon.admin_port}"}
        daemon.port = port
        daemon.write_main({"server": {**listen, "public_url": f"http://127.0.0.1:{port}"}})
        async with daemon:
            await daemon.until(same, seconds=60, every=0.5)
            assert await rows.count("inn", "rate_plans") == FEW["rate_plans"]

            code, out, err = await daemon.cli("webhook", "register", "inn")
            assert code == 0, out + err
            targets = (await control.stats())["webhooks"]["targets"]
            assert len({target["events"][0] for target in targets}) == len(targets) == 2 * 20
            (address,) = {target["url"] for target in targets}
            secret = address.rpartition("/")[2]
            assert len(secret) >= 32 and secret not in out + err + daemon.log()
            code, out, err = await daemon.cli("webhook", "list", "inn", "--json")
            found = orjson.loads(out)
            assert code == 0 and {one["state"] for one in found["subscriptions"]} == {"sound"} and secret not in out

            await control.update("reservations", RESERVATION, {"status": "checked_in"})
            await control.delete("reservations", f"{PROPERTIES[1]}:7100000000012")
            await control.create("guests")
            await control.mutate(3, "housekeeping")
            await daemon.until(same, seconds=SOON, every=0.3)
            assert RESERVATION.replace(PROPERTIES[0], PROPERTIES[1]) in await rows.live("inn", "reservations")

            # The token ends, and the next one is asked for with a refresh token that replaced the file's.
            await control.do("expire_tokens")
            for kind, data in (
                ("note", {"note": "Late arrival"}),
                ("custom_fields", {"custom_fields": [{"customFieldName": "field_0", "customFieldValue": "A7"}]}),
            ):
                code, out, err = await daemon.cli(
                    "push",
                    "inn/reservations",
                    "--id",
                    RESERVATION,
                    "--kind",
                    kind,
                    "--data",
                    orjson.dumps(data).decode(),
                )
                assert code == 0, out + err

            async def pushed() -> bool:
                told = (await control.truth("reservations"))[RESERVATION]["customFields"]
                notes = [raw["reservationNote"] for raw in (await control.truth("reservation_notes")).values()]
                return [one["customFieldValue"] for one in told] == ["A7"] and notes.count("Late arrival") == 1

            await daemon.until(pushed, seconds=SOON, every=0.2)
            await daemon.until(same, seconds=SOON, every=0.3)

            # A change that moves no stamp and fires no event: only a complete pass sees it.
            silent = {"resource": "reservations", "id": f"{PROPERTIES[1]}:7100000000015", "changes": {"balance": 1.25}}
            await control.do("silent", **silent)
            code, out, err = await daemon.cli("reconcile", "inn/reservations")
            assert code == 0, out + err
            await daemon.until(same, seconds=SOON, every=0.3)

            await control.do("disconnect")
            code, out, err = await daemon.cli("webhook", "repair", "inn")
            assert code == 0, out + err
            again = (await control.stats())["webhooks"]["targets"]
            assert (len(again), {target["url"] for target in again}) == (40, {address})
        stats = await control.stats()
        assert (stats["violations"], stats["refused_429"], stats["tokens_issued"]) == (0, 0, 2)
        assert stats.get("parallel_refreshes", 0) == 0
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
