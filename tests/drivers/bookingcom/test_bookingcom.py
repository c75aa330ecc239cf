"""What Booking.com's driver makes of its options and of odd documents; its samples say the rest."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import drivers
from syncd.config.document import Document
from syncd.config.limits import LimitsConfig
from syncd.config.loosening import check_limits
from syncd.drivers.bookingcom.driver import ROOTS
from syncd.kit import Change, Checkpoint, ConfigError, PayloadError, RejectedError
from syncd.kit.resource import Resource
from syncd.testing.sample_plays import NOW
from syncd.testing.samples import answer

DRIVER = drivers.load("bookingcom")
MARKUP = DRIVER.spec.xml.markup


def resource(name: str, **options: object) -> Resource:
    return DRIVER.resources(options)[name]


def test_a_machine_account_reads_its_reservations_in_one_of_the_two_ways_never_in_both() -> None:
    ota, plain = DRIVER.resources({}), DRIVER.resources({"family": "bxml"})
    assert {name for name, one in ota.items() if one.queue is not None} == {"reservations", "reservation_changes"}
    assert {name for name, one in plain.items() if one.queue is not None} == {"reservations"}
    queue = plain["reservations"].queue
    assert queue is not None
    assert (queue.acknowledge, "acknowledge" in plain["reservations"].pushes) == (None, False)
    assert "no_show" in plain["reservations"].pushes


def test_the_queues_pauses_are_kept_whole_whatever_else_the_options_say() -> None:
    tiers = {(tier.budget, tier.rate.window_seconds): tier for tier in DRIVER.limits({"calls_per_minute": 600}).tiers}
    assert tiers["", 60.0].rate.limit == 600
    assert {name for name, seconds in tiers if seconds == 20.0} == {
        "/hotels/ota/OTA_HotelResNotif",
        "/hotels/ota/OTA_HotelResModifyNotif",
        "/hotels/xml/reservations",
    }
    assert [(tier.rate.limit, tier.share) for name, tier in tiers.items() if name == ("queue", 5.0)] == [(1, 1.0)]


@pytest.mark.parametrize("name", ["reservations", "reservation_changes"])
def test_an_acknowledgement_is_not_held_back_by_the_pause_between_two_fetches(name: str) -> None:
    one = resource(name)
    fetch = DRIVER.request(one, Checkpoint("", name))
    push = DRIVER.push(one, Change(name, None, "acknowledge", {"ids": ["1"]}))
    assert (push.path, push.budget, fetch.budget) == (fetch.path, "acknowledgement", "queue")
    assert {tier.after for tier in DRIVER.limits({}).tiers if tier.budget == "queue"} == {push.budget}
    assert fetch.route != push.route
    assert not fetch.safe_to_repeat


def test_only_what_says_that_nothing_is_left_to_do_settles_an_acknowledgement() -> None:
    one, change = resource("reservations"), Change("reservations", None, "acknowledge", {"ids": ["1"]})
    for status, settles in ((400, True), (403, True), (404, True), (401, False), (429, False), (500, False)):
        assert DRIVER.settled(one, change, RejectedError("no", status=status)) is settles
    report = Change("reservations", "1", "no_show")
    assert not DRIVER.settled(one, report, RejectedError("no", status=404))


def test_two_messages_about_one_reservation_keep_their_order() -> None:
    who = '<ResGlobalInfo><HotelReservationIDs><HotelReservationID ResID_Value="7"/></HotelReservationIDs></ResGlobalInfo>'
    document = (
        '<OTA_HotelResModifyNotifRQ TimeStamp="2026-09-14T19:03:00+00:00"><HotelResModifies>'
        f"<HotelResModify>{who}</HotelResModify><HotelResModify>{who}</HotelResModify>"
        "</HotelResModifies></OTA_HotelResModifyNotifRQ>"
    )
    found = DRIVER.items(resource("reservation_changes"), answer({"xml": document}, reads=MARKUP))
    first, second = (DRIVER.identify(resource("reservations"), item.raw or {}) for item in found)
    assert (first.external_id, second.external_id) == ("7", "7")
    assert first.source_updated_at is not None
    assert second.source_updated_at is not None
    assert first.source_updated_at < second.source_updated_at


def test_a_document_of_another_kind_is_no_empty_queue() -> None:
    with pytest.raises(PayloadError):
        DRIVER.items(resource("reservations"), answer({"xml": "<maintenance/>"}, reads=MARKUP))


def test_what_support_asks_for_is_kept_with_a_failure() -> None:
    told = {
        "status": 403,
        "xml": '<fault code="1" string="Access denied for hotel 8011855"/><!-- RUID: [UmFuZG9tSVYkc2R] -->',
    }
    error = DRIVER.classify(answer(told, reads=MARKUP), NOW)
    assert error is not None
    assert (error.request_id, error.code) == ("UmFuZG9tSVYkc2R", "1")
    assert "Access denied" in str(error)


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59.999999+00:00", "2999-01-01T00:00:00+00:00"])
def test_a_stamp_far_ahead_does_not_keep_out_what_comes_later(stamp: str) -> None:
    document = (
        f'<OTA_HotelResNotifRQ TimeStamp="{stamp}"><HotelReservations><HotelReservation/><HotelReservation/>'
        "</HotelReservations></OTA_HotelResNotifRQ>"
    )
    told = answer({"xml": document, "headers": {"Date": "Wed, 02 Sep 2026 08:15:42 GMT"}}, reads=MARKUP)
    for item in DRIVER.items(resource("reservations"), told):
        assert (item.raw or {})["envelope"]["at"] < "2026-09-03"
    DRIVER.items(resource("reservations"), answer({"xml": document}, reads=MARKUP))


ELEMENT = st.recursive(
    st.sampled_from(["", "text", "<Total/>", '<Total AmountAfterTax="x" DecimalPlaces="2"/>', "<RoomStay/>"]),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>",
        st.sampled_from(
            ["HotelReservation", "RoomStays", "RoomStay", "RoomRates", "RoomRate", "ResGlobalInfo", "Rates"]
        ),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


@given(ELEMENT)
def test_whatever_stands_in_a_message_it_is_a_record_or_set_aside(inner: str) -> None:
    document = f"<OTA_HotelResNotifRQ><HotelReservations>{inner}</HotelReservations></OTA_HotelResNotifRQ>"
    try:
        items = DRIVER.items(resource("reservations"), answer({"xml": document}, reads=MARKUP))
    except PayloadError:
        return
    for item in items:
        try:
            DRIVER.identify(resource("reservations"), item.raw or {})
            DRIVER.normalize(resource("reservations"), item.raw or {})
        except PayloadError:
            continue


def test_without_what_reads_xml_a_check_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml.ElementTree", None)  # as where nothing_to_read_xml is installed
    (finding,) = DRIVER.facts({}).findings
    assert "pip install 'syncd[xml]'" in f"{finding.message} {finding.help}"


@pytest.mark.parametrize(
    "seconds", [0, -3, 5e-324, 86_401, pytest.param(10**400, id="huge"), float("inf"), float("nan")]
)
def test_a_pace_of_the_queues_that_is_no_span_of_time_is_a_mistake_in_the_file(seconds: float) -> None:
    (finding,) = DRIVER.facts({"queue_seconds": seconds}).findings
    assert "'queue_seconds' must be 0.001 to 86400" in finding.message
    assert finding.help == "queue_seconds: 20, or leave it out"
    with pytest.raises(ConfigError):
        DRIVER.limits({"queue_seconds": seconds})


@pytest.mark.parametrize("seconds", [0.001, 86_400])
def test_every_pace_that_is_allowed_makes_limits_that_a_file_is_held_against(seconds: float) -> None:
    assert all(tier.spec().window_seconds > 0 for tier in DRIVER.limits({"queue_seconds": seconds}).tiers)
    document = Document("bookingcom.yaml")
    check_limits(document, LimitsConfig.model_validate({"tiers": ["1/min"]}), DRIVER.facts({"queue_seconds": seconds}))
    assert document.problems == []


def message(name: str, inner: str) -> dict[str, object]:
    """One message as its queue brings it."""
    root, group, one = ROOTS[name]
    who = '<ResGlobalInfo><HotelReservationIDs><HotelReservationID ResID_Value="7"/></HotelReservationIDs></ResGlobalInfo>'
    attributes, _, inside = inner.partition("|")
    document = f"<{root}RQ><{group}><{one} {attributes}>{who}{inside}</{one}></{group}></{root}RQ>"
    (item,) = DRIVER.items(resource(name), answer({"xml": document}, reads=MARKUP))
    return dict(item.raw or {})


ROOM = '|<RoomStays><RoomStay IndexNumber="1"/></RoomStays>'


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (("reservations", ROOM), ("reservation_changes", ""), "cancelled"),
        (("reservation_changes", f'ResStatus="Cancel"{ROOM}'), ("reservation_changes", ROOM), "modified"),
        (("reservation_changes", ROOM), ("reservations", ROOM), "new"),
    ],
    ids=["called off by its silence", "called off and taken back", "told anew"],
)
def test_what_is_stored_of_several_messages_says_what_the_last_one_said(
    before: tuple[str, str], after: tuple[str, str], status: str
) -> None:
    stored = {**message(*before), **message(*after)}  # as the store lays one over the other
    assert DRIVER.normalize(resource("reservations"), stored).data["status"] == status
