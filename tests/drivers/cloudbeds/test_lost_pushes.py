"""What of Cloudbeds is taken for a push whose answer was lost, and what is another one that says the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd import drivers
from syncd.codec import dumps
from syncd.errors import UnknownOutcomeError
from syncd.kit import Change, Headers, Response

HOUSE = "900000000101"
SENT = datetime(2026, 11, 22, 12, 0, 5, 400_000, tzinfo=UTC)
CLOUDBEDS = drivers.load("cloudbeds")
RESOURCES = CLOUDBEDS.resources({"properties": [HOUSE]})


def answer(data: Any) -> Response:
    return Response(200, Headers({"content-type": "application/json"}), dumps({"success": True, "data": data}))


def block(*rooms: str) -> Change:
    data = {"property_id": HOUSE, "type": "out_of_service", "reason": "Maintenance", "starts": "2026-12-01",
            "ends": "2026-12-03", "rooms": [{"roomID": room} for room in rooms]}  # fmt: skip
    return Change("room_blocks", None, "create", data, "k", SENT)


def stands(*rooms: str, along: str = "") -> dict[str, Any]:
    found = [{"eventID": room, "roomID": room} for room in rooms]
    found += [{"eventID": "x", "roomID": along, "isSource": False}] if along else []
    return {"roomBlockID": "1", "roomBlockType": "out_of_service", "roomBlockReason": "Maintenance",
            "startDate": "2026-12-01", "endDate": "2026-12-03", "rooms": found}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "there"),
    [
        ({"roomBlocks": [stands("r-1")]}, False),
        ({"roomBlocks": [stands("r-1"), stands("r-2", "r-3")]}, False),
        ({"roomBlocks": [stands("r-1"), stands("r-2")]}, True),
        ({"roomBlocks": [stands("r-2", along="r-9")]}, True),
        ([{"roomBlocks": [stands("r-2")]}], True),
        ([], False),
        ({"roomBlocks": []}, False),
    ],
)
def test_a_block_for_other_rooms_is_another_block_and_no_blocks_at_all_is_an_answer(found: Any, there: bool) -> None:
    change = block("r-2")
    asked = CLOUDBEDS.look_up(RESOURCES["room_blocks"], change)
    assert asked is not None and dict(asked.params)["roomID"] == "r-2"
    assert CLOUDBEDS.already(RESOURCES["room_blocks"], change, answer(found)) is there


def test_rooms_count_in_whatever_order_they_are_told() -> None:
    assert CLOUDBEDS.already(
        RESOURCES["room_blocks"], block("r-2", "r-3"), answer({"roomBlocks": [stands("r-3", "r-2")]})
    )


@pytest.mark.parametrize(
    ("after", "hours", "there"),
    [
        (1, -5, True),
        (0, 5.75, True),
        (-0.4, 14, True),
        (-60, -5, None),
        (90, 0, None),
        (-300, -5, False),
        (-1, -24 * 700, False),
        (0, -15, False),
    ],
)
def test_a_note_with_the_same_words_is_ours_only_if_it_was_made_as_ours_left(
    after: float, hours: float, there: bool | None
) -> None:
    local = (SENT + timedelta(seconds=after, hours=hours)).replace(microsecond=0)
    note = {"reservationNoteID": "1", "dateCreated": f"{local:%Y-%m-%d %H:%M:%S}", "reservationNote": "No answer"}
    change = Change("reservations", f"{HOUSE}:7", "note", {"note": "No answer"}, "k", SENT)
    if there is None:
        with pytest.raises(UnknownOutcomeError, match="may be another one"):
            CLOUDBEDS.already(RESOURCES["reservations"], change, answer([note]))
    else:
        assert CLOUDBEDS.already(RESOURCES["reservations"], change, answer([note])) is there


def test_a_status_that_may_have_sent_a_mail_is_looked_up_before_it_is_sent_again() -> None:
    change = Change("reservations", f"{HOUSE}:7", "status", {"status": "canceled", "send_email": True}, "k", SENT)
    reservations = RESOURCES["reservations"]
    assert not CLOUDBEDS.idempotent(reservations, change, 1.0)
    rows = [{"propertyID": HOUSE, "reservationID": "7", "status": "canceled"}]
    assert CLOUDBEDS.already(reservations, change, answer(rows))
    assert not CLOUDBEDS.already(reservations, change, answer([{**rows[0], "status": "confirmed"}]))
