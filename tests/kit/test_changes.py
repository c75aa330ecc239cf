"""Walks over what changed: on from the newest moment of a page, and with a second filter after the first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Checkpoint, Headers, Request, Response, RestDriver
from syncd.kit.reading import SpecError, parse

SINCE = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)
BOATS: dict[str, Any] = {
    "path": "/boats",
    "page_size": 2,
    "order": "at",
    "pages": {"kind": "offset", "param": "skip", "size": "limit"},
}


def walk(since: dict[str, Any], pages: list[list[Any]], **more: Any) -> list[Request]:
    """The calls of a walk; each is also rebuilt from its cursor, as after a crash."""
    options = {"days": {"about": "x", "as": "integer", "default": 10}}
    resource = {**BOATS, "since": since, **more}
    driver = RestDriver(parse({"name": "acme", "options": options, "resources": {"boats": resource}}))
    boats = driver.resources({})["boats"]
    going = driver.pages(boats, driver.request(boats, Checkpoint("a", "boats", since=SINCE)))
    calls = [next(going)]
    for page in pages:
        again = driver.request(boats, Checkpoint("a", "boats", since=SINCE, cursor=calls[-1].cursor))
        assert again == calls[-1]
        try:
            calls.append(going.send(Response(200, Headers(), dumps(page))))
        except StopIteration:
            return calls
    raise AssertionError(f"it goes on with {calls[-1]}")


def row(at: str, number: int = 0) -> dict[str, Any]:
    return {"id": f"{at}/{number}", "at": f"2026-11-20T19:{at}.000Z"}


@pytest.mark.parametrize(("onward", "asked"), [("at", "19:00:09.000Z"), ("after", "19:00:08.999Z")])
def test_it_goes_on_from_the_newest_moment_and_not_by_an_offset(onward: str, asked: str) -> None:
    calls = walk({"param": "from", "onward": onward}, [[row("00:05"), row("00:09")], [row("00:09")]])
    assert [dict(call.params)["from"][11:] for call in calls] == ["19:00:00.000Z", asked]
    assert all("skip" not in dict(call.params) for call in calls)


def test_within_one_moment_it_goes_on_by_an_offset_and_then_by_moments_again() -> None:
    same = [row("00:05", 1), row("00:05", 2)]
    calls = walk({"param": "from", "onward": "at"}, [same, same, [row("00:05", 3), row("00:07")], [row("00:07")]])
    asked = [(dict(call.params)["from"][17:19], dict(call.params).get("skip")) for call in calls]
    assert asked == [("00", None), ("05", None), ("05", "2"), ("07", None)]


@pytest.mark.parametrize(
    ("form", "digits", "asked"),
    [
        ("iso", ["123100", "123200", "123300", "124000"], ["05.123Z", "05.123Z", "05.124Z"]),
        ("iso", ["123100001", "123100002", "123100003", "124000000"], ["05.123Z", "05.123Z", "05.124Z"]),
        ("iso_seconds", ["1", "2", "3", "4"], ["05Z", "05Z", "05Z"]),
    ],
)
def test_stamps_finer_than_the_filter_are_one_moment_where_the_filter_cannot_tell_them_apart(
    form: str, digits: list[str], asked: list[str]
) -> None:
    def fine(some: str) -> dict[str, Any]:
        return {"id": some, "at": f"2026-11-20T19:00:05.{some}Z"}

    one, two, three, four = (fine(some) for some in digits)
    since = {"param": "from", "onward": "at", "format": form}
    last = [[four]] if asked[-1] != asked[0] else [[]]
    calls = walk(since, [[one, two], [one, two], [three, four], *last])
    assert [dict(call.params)["from"][17:] for call in calls[1:]] == asked
    assert [dict(call.params).get("skip") for call in calls[1:3]] == [None, "2"]


@pytest.mark.parametrize("form", ["iso", "iso_seconds", "iso_ns", "plain"])
def test_the_second_filter_knows_the_moment_of_the_first_in_every_form(form: str) -> None:
    calls = walk({"param": "made", "format": form, "then": {"param": "over", "format": "plain", "days": 1}}, [[], []])
    assert dict(calls[1].params)["over"] == "2026-11-19 19:00:00"


def test_a_filter_that_is_more_than_a_moment_is_a_text_with_the_moment_in_it() -> None:
    text = '[{"at":{"$gt":"{since}"}}]'
    first, second = walk({"param": "q", "text": text, "onward": "after"}, [[row("00:05"), row("00:09")], []])
    assert json.loads(dict(first.params)["q"]) == [{"at": {"$gt": "2026-11-20T19:00:00.000Z"}}]
    assert json.loads(dict(second.params)["q"]) == [{"at": {"$gt": "2026-11-20T19:00:08.999Z"}}]


def test_a_second_filter_comes_after_the_first_with_pages_of_its_own() -> None:
    same = [row("00:05"), row("00:06")]  # shown by both: no loop
    since = {"param": "made", "then": {"param": "over", "option": "days"}}
    calls = walk(since, [same, [], same, same, [row("00:07")]])
    told = [{name: value for name, value in dict(call.params).items() if name != "limit"} for call in calls]
    made = "2026-11-20T19:00:00.000Z"
    assert told == [{"made": made}, {"made": made, "skip": "2"}, {"over": "2026-11-10"},
                    {"over": "2026-11-10", "skip": "2"}, {"over": "2026-11-10", "skip": "4"}]  # fmt: skip
    assert [call.cursor for call in calls] == [None, "2", "then|", "then|2", "then|4"]


def test_a_cursor_of_another_walk_is_refused() -> None:
    for since in ({"param": "from", "onward": "at"}, {"param": "made", "then": {"param": "over"}}):
        driver = RestDriver(parse({"name": "acme", "resources": {"boats": {**BOATS, "since": since}}}))
        for cursor in ("x+1", "then|x", "x"):
            with pytest.raises(PayloadError):
                driver.request(driver.resources({})["boats"], Checkpoint("a", "boats", since=SINCE, cursor=cursor))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"since": {"body": "from", "onward": "at"}, "method": "POST"}, "need `param`"),
        ({"since": {"param": "from", "text": "from then on"}}, "`text` needs {since}"),
        ({"since": {"param": "from", "onward": "at", "then": {"param": "x"}}}, "`then` does not go with"),
        ({"since": {"param": "from", "format": "date", "then": {"param": "x"}}}, "`then` does not go with"),
        ({"since": {"param": "from", "onward": "at"}, "order": None, "updated": "at"}, "needs `order`"),
        (
            {"since": {"param": "from", "onward": "at"}, "each": {"param": "x", "values": ["1"]}},
            "do not go with `each`",
        ),
        ({"since": {"param": "from", "then": {"param": "x", "option": "weeks"}}}, "no option 'weeks'"),
    ],
)
def test_a_mistake_in_it_is_told(more: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse({"name": "acme", "resources": {"boats": {**BOATS, **more}}})
    assert told in str(caught.value)


@pytest.mark.parametrize("more", [{"onward": "at"}, {"then": {"param": "over"}}])
def test_pages_of_such_a_walk_are_never_asked_for_side_by_side(more: dict[str, Any]) -> None:
    boats = {**BOATS, "total": "total", "records": "rows", "since": {"param": "from", **more}}
    driver = RestDriver(parse({"name": "acme", "resources": {"boats": boats}}))
    rules, page = driver.resources({})["boats"], dumps({"total": 9, "rows": [row("00:05"), row("00:06")]})
    answered = Response(200, Headers(), page)
    whole = driver.request(rules, Checkpoint("a", "boats"))
    assert len(driver.spread(rules, whole, answered) or ()) == 4, "a whole listing is another thing"
    first = driver.request(rules, Checkpoint("a", "boats", since=SINCE))
    assert driver.spread(rules, first, answered) is None
