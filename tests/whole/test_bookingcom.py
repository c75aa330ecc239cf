"""The bookingcom driver against its simulator: imported, its queues read, acknowledged and kept to their pace, pushed to."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_pushes import over
from tests.whole.test_pushes_partners import Desk
from tests.whole.warm import spawn

SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}
CHILDREN = (
    "property_details",
    "property_descriptions",
    "connections",
    "units",
    "deleted_units",
    "reservation_summaries",
)
PACE = 1.0
SECRET = "what Booking.com asks us for a token with"


def partner(url: str, **options: Any) -> dict[str, Any]:
    settings = {"queue_seconds": PACE, "calls_per_minute": 6000, "reservations_url": url}
    return {
        "driver": "bookingcom",
        "base_url": url,
        "options": {**settings, "auth_url": f"{url}/token-based-authentication/exchange", **options},
        "resources": {"properties": SELDOM},
        "integrations": {
            "machine": {
                "credentials": {"client_id": "simulated-machine", "client_secret": "simulated-machine-secret"},
                "webhook": {"secrets": [SECRET]},
            }
        },
    }


def alike(one: dict[str, Any], there: dict[str, Any]) -> bool:
    if (one.get("status") == "cancelled") != (there["status"] == "cancelled"):
        return False
    return there["status"] == "cancelled" or (one["arrival"], len(one["rooms"]), one["departure"]) == (
        there["arrival"],
        len(there["rooms"]),
        (date.fromisoformat(there["arrival"]) + timedelta(days=there["nights"])).isoformat(),
    )


@pytest.mark.timeout(120)
async def test_bookingcom_is_imported_and_its_queues_are_acknowledged_once_stored(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    with spawn("bookingcom", pace=PACE, queued=6) as simulator:
        control, desk = Control(simulator.url), Desk(rows, "machine")
        daemon = Daemon(tmp_path, database, {"bookingcom": partner(simulator.url)})

        async def stored(resource: str) -> dict[str, dict[str, Any]]:
            found = await rows.connection.fetch(
                "SELECT external_id, data FROM syncd.records WHERE resource = $1 AND deleted_at IS NULL", resource
            )
            return {one["external_id"]: json.loads(one["data"]) for one in found}

        async def settled() -> bool:
            waiting = await control.do("queues")
            if waiting["new"] or waiting["changes"]:
                return False
            return all([set(await stored(name)) == set(await control.truth(name)) for name in ("properties", "units")])

        async def as_there() -> bool:
            known, truth = await stored("reservations"), await control.truth("reservations")
            return set(known) == set(truth) and all(alike(one, truth[name]) for name, one in known.items())

        async with daemon:
            await daemon.until(settled, seconds=60, every=0.3)
            await daemon.until(as_there, seconds=60, every=0.3)
            first = sorted(await control.truth("reservations"))[0]
            before, told = (await stored("reservations"))[first], (await control.truth("reservations"))[first]
            assert (before["arrival"], len(before["rooms"])) == (told["arrival"], len(told["rooms"]))
            # New, changed to other rooms, and called off.
            (made,) = await control.create("reservations")
            await control.update("reservations", first, {"status": "modified", "nights": 3, "rooms": told["rooms"][:1]})
            await control.update(
                "reservations", sorted(await control.truth("reservations"))[1], {"status": "cancelled"}
            )
            await daemon.until(settled, seconds=60, every=0.3)
            await daemon.until(as_there, seconds=60, every=0.3)
            after = (await stored("reservations"))[first]
            assert (after["status"], len(after["rooms"])) == ("modified", 1)
            assert (await stored("reservations"))[made]["first_name"]
            # A change whose message nobody ever sees (it was acknowledged with the one before it) is seen in the summaries.
            await control.do("unseen", id=made, changes={"status": "modified", "arrival": "2027-05-05", "nights": 2})

            async def summed_up() -> bool:  # a summary of the second of a message is no younger than that
                assert (await daemon.cli("sync", "machine/reservation_summaries"))[0] == 0
                return await as_there()

            await daemon.until(summed_up, seconds=40, every=1.0)
            # What a guest writes is told by notifications, with a token that was asked of us first.
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/bookingcom/machine", SECRET)
            (said,) = await control.create("messages")

            async def told_of() -> bool:
                return said in await stored("messages")

            await daemon.until(told_of, seconds=40)
            # A report, a reply, and a token that ended before its time.
            await control.do("expire_tokens")
            report = await desk.push("reservations", "no_show", {"waived_fees": "no"}, first)
            talk = sorted(await control.truth("conversations"))[0]
            owner = (await control.truth("conversations"))[talk]["property"]
            reply = await desk.push("conversations", "reply", {"property_id": owner, "content": "Yes & welcome"}, talk)
            await daemon.until(lambda: over(rows), seconds=40)
            assert (await desk.became(report))["state"] == (await desk.became(reply))["state"] == "done"
            assert (await control.do("reports"))["reports"] == [
                {"id": first, "report": "is_no_show", "waived_fees": "no"}
            ]
            for name in CHILDREN:
                assert await rows.count("machine", name) >= (0 if name == "deleted_units" else 3), name
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
            kept = await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.records r WHERE r::text ~ '4111|CARD HOLDER'"
            )
            assert (kept, "4111" in daemon.log()) == (0, False)
        stats = await control.stats()
        assert (stats["violations"], (await control.do("queues"))["mailed"]) == (0, 0)
        assert stats["tiers"]["fetches at once"]["peak"] == 1
