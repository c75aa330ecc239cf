"""What each driver asks of its partner's subscriptions, and what it reads from the answers."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Headers, Response, Secret, Subscription, Subscriptions

URL = "https://sync.example.com/webhooks/x/one"


def api(name: str, **options: Any) -> Subscriptions:
    found = drivers.load(name).subscriptions(options)
    assert found is not None
    return found


def answer(body: Any) -> Response:
    return Response(200, Headers(), dumps(body))


@pytest.mark.parametrize("name", ["attio", "guesty", "stripe"])
def test_every_event_that_is_asked_for_is_one_the_driver_reads(name: str) -> None:
    driver = drivers.load(name)
    resources = driver.resources({})
    wanted = api(name).wanted(resources)
    assert wanted
    rules = driver.spec.webhooks
    assert rules is not None
    if rules.routes:
        assert wanted <= rules.routes.keys()
    assert api(name).wanted([]) == frozenset()
    for resource in resources:
        assert api(name).wanted([resource]) <= wanted


@pytest.mark.parametrize("name", ["attio", "guesty", "stripe"])
@pytest.mark.parametrize(
    "body", [None, [], {}, {"data": [{}]}, {"data": {"id": {}}}, [7], [{"_id": True}], "x", {"results": 1}]
)
def test_an_answer_of_another_shape_is_a_payload_error_and_nothing_else(name: str, body: Any) -> None:
    if name == "guesty" and body == []:
        assert api(name).found(answer(body)) == []
        return
    with pytest.raises(PayloadError):
        api(name).found(answer(body))
        api(name).created(answer(body))


def hook(**more: Any) -> dict[str, Any]:
    return {"id": {"workspace_id": "w", "webhook_id": "h1"}, "target_url": URL, "status": "active",
            "subscriptions": [{"event_type": "record.updated", "filter": None}], **more}  # fmt: skip


def test_attios_filtered_events_do_not_count_and_an_inactive_one_is_replaced() -> None:
    attio = api("attio")
    filtered = [
        {"event_type": "record.created", "filter": None},
        {"event_type": "task.created", "filter": {"$and": [1]}},
    ]
    [found] = attio.found(answer({"data": [hook(subscriptions=filtered, status="degraded")]}))
    assert found == Subscription("h1", URL, frozenset({"record.created"}), True, "degraded")
    [off] = attio.found(answer({"data": [hook(status="inactive")]}))
    assert not off.active and attio.change(off, {"record.created"}) is None
    change = attio.change(found, {"b", "a"})
    assert change is not None and change.method == "PATCH"
    assert change.json == {
        "data": {"subscriptions": [{"event_type": "a", "filter": None}, {"event_type": "b", "filter": None}]}
    }
    made, secret = attio.created(answer({"data": hook(secret="5d41")}))
    assert made.id == "h1" and secret == Secret("5d41")


def test_attios_list_is_walked_by_its_offset_until_a_page_is_not_full() -> None:
    attio = api("attio")
    first = attio.listing()
    second = attio.following(first, answer({"data": [hook()] * 100}))
    assert second is not None and dict(second.params) == {"limit": "100", "offset": "100"}
    assert attio.following(second, answer({"data": [hook()] * 99})) is None


def test_what_attio_is_asked_for_follows_what_is_synced() -> None:
    given = {"objects": ["projects"], "lists": ["pipeline"]}
    attio = api("attio", **given)
    assert attio.wanted(["projects"]) == attio.wanted(["people"]) >= {"record.merged", "record.deleted"}
    assert attio.wanted(["entries_pipeline"]) == {"list-entry.created", "list-entry.updated", "list-entry.deleted"}
    assert "note-content.updated" in attio.wanted(["notes"]) and attio.wanted(["comments"]) == frozenset()


def test_guesty_is_asked_for_the_events_that_stay() -> None:
    guesty = api("guesty")
    assert guesty.wanted(["reservations"]) == {"reservation.created.v2", "reservation.updated.v2"}
    row = {"_id": "w1", "accountId": "a", "url": URL, "events": ["listing.new"]}
    for body in ([row], {"results": [row]}, {"data": [row]}):
        assert guesty.found(answer(body)) == [Subscription("w1", URL, frozenset({"listing.new"}))]
    [one] = guesty.found(answer([row]))
    ask = guesty.secret(one)
    assert ask is not None and (ask.path, dict(ask.params)) == ("/webhooks-v2/secret", {"url": URL})
    for key in ("key", "secret", "signingSecret"):
        assert guesty.secret_in(answer({key: "whsec_x"})) == Secret("whsec_x")
    assert guesty.secret_in(answer({})) is None and guesty.secret_in(answer([])) is None
    change = guesty.change(one, {"b", "a"})
    assert change is not None and change.json == {"url": URL, "events": ["a", "b"]}, "an address cannot be changed"


def test_stripes_endpoints_have_the_version_of_our_calls() -> None:
    stripe = api("stripe", version="2026-06-24.dahlia")
    create = stripe.create(URL, {"b", "a"})
    assert create.form == {"url": URL, "api_version": "2026-06-24.dahlia", "description": "syncd",
                           "enabled_events[0]": "a", "enabled_events[1]": "b"}  # fmt: skip
    assert not create.safe_to_repeat, "twice would be two"
    rows = [{"id": f"we_{number}", "url": URL, "enabled_events": ["*"], "status": "disabled"} for number in range(3)]
    more = stripe.following(stripe.listing(), answer({"data": rows, "has_more": True}))
    assert more is not None and dict(more.params) == {"limit": "100", "starting_after": "we_2"}
    assert stripe.following(more, answer({"data": rows, "has_more": False})) is None
    found = stripe.found(answer({"data": rows}))
    assert [one.active for one in found] == [False] * 3 and found[0].lacks({"customer.created"}) == frozenset()
    change = stripe.change(found[0], {"a"})
    assert change is not None and change.form == {"disabled": "false", "enabled_events[0]": "a"}


def test_a_driver_without_such_an_api_says_so() -> None:
    assert drivers.load("rest", rest={"resources": {"boats": {"path": "/boats", "id": "id"}}}).subscriptions({}) is None
