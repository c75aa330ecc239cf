"""Subscriptions that a description states: the calls it makes of them, what it reads, and what it does not accept."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Headers, Response, RestDriver, Secret, Subscription, Subscriptions, UnlistedSubscriptions
from syncd.kit.reading import SpecError, parse

URL = "https://sync.example.com/webhooks/acme/main"
PLAIN: dict[str, Any] = {
    "list": "/hooks",
    "create": {"path": "/hooks", "body": {"url": "{url}", "events": "{events}"}},
    "remove": "/hooks/{id}",
    "secret": "key",
}
RESOURCES = {"boats": {"path": "/boats"}, "berths": {"path": "/berths/all"}}


def api(given: dict[str, Any], **options: Any) -> Subscriptions:
    hooks = {"routes": {"boat.made": "boats", "boat.old": "boats", "berth.made": "berths"}, "subscriptions": given}
    spec = {"name": "acme", "resources": RESOURCES, "webhooks": hooks, "options": {
        "docks": {"about": "x", "as": "list"}, "version": {"about": "x", "default": "v7"}}}  # fmt: skip
    found = RestDriver(parse(spec)).subscriptions(options)
    assert found is not None
    return found


def answer(body: Any) -> Response:
    return Response(200, Headers(), dumps(body))


def test_the_shortest_description_lists_makes_replaces_and_ends() -> None:
    found = api(PLAIN)
    assert found.wanted(["boats"]) == {"boat.made", "boat.old"} and found.wanted([]) == frozenset()
    assert (found.listing().path, found.listing().method) == ("/hooks", "GET")
    made = found.create(URL, {"b", "a"})
    assert (made.path, made.method, made.json) == ("/hooks", "POST", {"url": URL, "events": ["a", "b"]})
    one, secret = found.created(answer({"id": 7, "url": URL, "events": ["a"], "key": "s"}))
    assert (one, secret) == (Subscription("7", URL, frozenset({"a"})), Secret("s"))
    assert found.change(one, {"a"}) is None and found.secret(one) is None
    end = found.remove(Subscription("a/b", URL, frozenset()))
    assert (end.path, end.route, end.method) == ("/hooks/a%2Fb", "/hooks/{id}", "DELETE")
    assert found.found(answer([{"id": "x"}])) == [Subscription("x", "", frozenset())]
    assert found.following(found.listing(), answer([{"id": "x"}])) is None


@pytest.mark.parametrize("body", [None, {}, {"data": []}, "x", [{"id": ""}], [{"id": True}], [7]])
def test_a_list_of_another_shape_is_never_taken_for_an_empty_one(body: Any) -> None:
    with pytest.raises(PayloadError):
        api(PLAIN).found(answer(body))


def test_a_list_of_one_thing_that_names_the_event_has_it_once_for_each() -> None:
    body = {
        "url": "{url}",
        "version": "{option.version}",
        "on": [{"what": "{event}", "only": None}],
        "tags": ["x", "y"],
    }
    made = api({**PLAIN, "create": {"path": "/hooks", "body": body}}).create(URL, {"b", "a"})
    each = [{"what": "a", "only": None}, {"what": "b", "only": None}]
    assert made.json == {"url": URL, "version": "v7", "on": each, "tags": ["x", "y"]}
    form = api({**PLAIN, "create": {"path": "/hooks", "form": True, "body": body}}).create(URL, {"b"})
    assert form.json is None and form.form == {
        "url": URL, "version": "v7", "on[0][what]": "b", "tags[0]": "x", "tags[1]": "y"}  # fmt: skip


def test_one_for_each_property_and_event_is_listed_for_each_and_named_by_both() -> None:
    given = {
        "list": {"path": "/hooks", "records": "rows"},
        "each": {"param": "dock", "option": "docks", "from": "at"},
        "events": "what",
        "event": "{thing}.{deed}",
        "create": {"path": "/hooks", "body": {"dock": "{each}", "thing": "{thing}", "deed": "{deed}", "to": "{url}"}},
        "remove": "/hooks/{id}",
        "one_an_event": True,
        "own_address": False,
        "secret_in_address": True,
        "without": ["boat.old"],
    }
    found = api(given, docks=["n", "s"])
    assert (found.one_an_event, found.own_address, found.secret_in_address) == (True, False, True)
    assert found.wanted(["boats", "berths"]) == {"n:boat.made", "s:boat.made", "n:berth.made", "s:berth.made"}
    assert found.create(URL, {"s:boat.made"}).json == {"dock": "s", "thing": "boat", "deed": "made", "to": URL}
    first = found.listing()
    second = found.following(first, answer({"rows": []}))
    assert second is not None and [dict(one.params)["dock"] for one in (first, second)] == ["n", "s"]
    assert found.following(second, answer({"rows": []})) is None
    [one] = found.found(answer({"rows": [{"id": "1", "at": "n", "what": "boat.made"}]}))
    assert one.events == {"n:boat.made"}
    assert api(given).wanted(["boats"]) == frozenset(), "no property is known: nothing is asked for"


def test_a_partner_without_a_list_tells_of_one_what_it_likes_and_the_rest_is_as_it_was_made() -> None:
    given = {
        "read": {"path": "/hooks/{id}", "record": "hook"},
        "create": {"path": "/hooks", "body": {"on": "{event}"}},
        "remove": "/hooks/{id}",
        "status": "state",
        "off": ["dead"],
        "pending": ["asked"],
        "secret_call": {"path": "/hooks/{id}/key", "secret": "key", "waits": [1]},
        "one_an_event": True,
        "longest_url": 99,
    }
    found, kept = api(given), Subscription("9", URL, frozenset({"boat.made"}))
    assert isinstance(found, UnlistedSubscriptions) and (found.longest_url, list(found.waits)) == (99, [1])
    assert found.read(kept).path == "/hooks/9"
    told = found.told(kept, answer({"hook": {"state": "asked"}}))
    assert told == Subscription("9", URL, frozenset({"boat.made"}), True, "asked", True)
    assert not found.told(kept, answer({"hook": {"state": "dead"}})).active
    ask = found.secret(kept)
    assert ask is not None and (ask.path, ask.route) == ("/hooks/9/key", "/hooks/{id}/key")
    assert found.secret_in(answer({"key": "s"})) == Secret("s") and found.secret_in(answer({"key": 5})) is None


def test_what_was_switched_off_is_changed_only_where_that_sets_it_going_again() -> None:
    off = Subscription("1", URL, frozenset({"a"}), active=False)
    for revives in (True, False):
        change = {"path": "/hooks/{id}", "body": {"events": "{events}"}, "revives": revives}
        assert (api({**PLAIN, "change": change}).change(off, {"a"}) is not None) is revives


def test_events_may_be_asked_for_by_a_resource_or_by_its_path() -> None:
    found = api({**PLAIN, "asks": {"boats": ["x", "y"], "/berths/*": ["z"]}})
    assert found.wanted(["boats", "berths", "quays"]) == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"read": "/hooks/{id}"}, "one of `list`"),
        ({"list": None}, "one of `list`"),
        ({"secret": None}, "where is the secret?"),
        ({"event": "{all}"}, "parts of an event type"),
        ({"remove": "/hooks/{ID}"}, "unknown placeholder {ID}"),
        ({"create": {"path": "/hooks", "body": {"v": "{option.verzion}"}}}, "no option 'verzion'"),
        ({"without": ["boat.sunk"]}, "boat.sunk is no event type"),
        ({"secret_cal": {}}, "did you mean secret_call?"),
    ],
)
def test_a_mistake_in_it_is_told_where_it_is(more: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        api({**PLAIN, **more})
    assert told in f"{caught.value} {caught.value.hint}"
