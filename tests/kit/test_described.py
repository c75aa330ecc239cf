"""What a description may say beyond paths: days, lists that show a window, answers, new credentials, keys by an option."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd.codec import dumps, loads
from syncd.errors import ConfigError, PayloadError
from syncd.kit import (
    Delivery,
    Event,
    Headers,
    Receiver,
    Request,
    Resource,
    Response,
    RestDriver,
    Secret,
    coerce,
    replaced,
)
from syncd.kit.auth import Auth
from syncd.kit.reading import parse

ROWS = {
    "path": "/rows/{today}",
    "records": "rows",
    "params": {"to": "{today+30d}"},
    "fields": {"name": "name", "size": {"as": "integer"}},
    "every": "4h",
}
CURSOR = {"kind": "cursor", "param": "c", "next": "paging.next", "offset": "o", "next_offset": "paging.at"}
CURSOR |= {"size": "n", "end": "empty"}


def driver(**given: Any) -> RestDriver:
    return RestDriver(parse({"name": "acme", **given}))


def test_days_are_left_for_whoever_sends() -> None:
    what = Resource(name="rows", **ROWS)
    assert what.dated
    assert what.placeholders == frozenset()
    assert not Resource(name="rows", path="/rows").dated
    child = Resource(name="days", path="/d/{parent.id}/{today}/{today+9d}", parent="rows", adopt="row")
    assert child.placeholders == {"id"}
    answer = Response(200, Headers({}), b'[{"date": "a"}]', url="https://h/v1/d/a%2Fb/2026-01-01/2026-01-10?x=1")
    assert child.reader.items(answer)[0].raw == {"date": "a", "row": "a/b"}
    with pytest.raises(ValidationError, match="unknown placeholder"):
        Resource(name="rows", path="/rows/{today+1w}")


def test_keys_of_a_resource_may_come_from_an_option() -> None:
    what = Resource(name="rows", **ROWS)
    found = replaced(what, {"path": "/other", "fields": {"name": "title"}, "every": "1h"})
    assert (found.path, found.every, what.every) == ("/other", 3600.0, 4 * 3600.0)
    assert (found.fields["name"].source, found.fields["size"].kind) == ("title", "integer")
    assert found.reader.normalize({"id": "1", "title": "t", "size": 2}).data == {"name": "t", "size": 2}
    with pytest.raises(ConfigError, match="nonsense"):
        replaced(what, {"nonsense": 1})


def walked(pages: list[Any]) -> list[dict[str, Any]]:
    what = Resource(name="rows", path="/rows", records="rows", page_size=2, pages=CURSOR)
    acme, asked = driver(), []
    request: Request | None = Request("/rows", route="/rows", params={"n": "2"})
    for body in pages:
        assert request is not None
        asked.append(dict(request.params))
        request = acme.following(what, request, Response(200, Headers({}), dumps(body)))
    assert request is None
    return asked


def rows(*ids: str, **paging: Any) -> dict[str, Any]:
    return {"rows": [{"id": one} for one in ids], **({"paging": paging} if paging else {})}


def test_older_answers_of_a_partner_go_on_by_offset() -> None:
    assert walked([rows("a", "b", next="x"), rows("c", next=None)]) == [{"n": "2"}, {"n": "2", "c": "x"}]
    assert walked([rows("a", "b", at=2), rows("c", at=None)]) == [{"n": "2"}, {"n": "2", "o": "2"}]
    assert walked([rows("a", "b"), rows("c", "d"), rows()]) == [{"n": "2"}, {"n": "2", "o": "2"}, {"n": "2", "o": "4"}]
    assert walked([rows("a", "b"), rows("c")]) == [{"n": "2"}, {"n": "2", "o": "2"}]
    assert walked([rows("a", "b", next=None)]) == [{"n": "2"}]
    assert walked([rows(next="for ever")]) == [{"n": "2"}]


def test_an_offset_goes_with_a_cursor_only_and_both_keys_together() -> None:
    for wrong in (
        {**CURSOR, "next_offset": None},
        {"kind": "offset", "param": "o", "offset": "x", "next_offset": "y", "end": "empty"},
    ):
        with pytest.raises(ValidationError, match="go together"):
            Resource(name="rows", path="/rows", pages=wrong)


def told(rules: dict[str, Any], body: Any, route: str = "") -> list[Event]:
    return driver(webhooks={"verify": "attio", "type": "type", **rules}).events(
        Delivery(dumps(body), Headers({}), route=route)
    )


NEW = {"credentials": {"client_secret": "data.secret", "token": "data.token"}}


def test_new_credentials_are_told_by_their_type_by_their_route_or_by_being_all_there() -> None:
    whole = {"data": {"secret": "s", "token": "t"}, "at": "2026-11-22T08:00:00Z"}
    [found] = told({"rotation": NEW}, whole)
    assert found.credentials == {"client_secret": Secret("s"), "token": Secret("t")}
    assert told({"rotation": NEW}, {**whole, "type": "thing.updated"}) == []
    assert told({"rotation": NEW}, {"data": {"secret": "s"}}) == []
    named = {"rotation": {**NEW, "type": "keys", "at": "at"}}
    [found] = told(named, {**whole, "type": "keys"})
    assert found.at == coerce.moment("2026-11-22T08:00:00Z")
    [found] = told(named, whole, route="keys")
    assert found.type == "keys"
    assert told(named, whole) == []
    [found] = told(named, {"type": "keys", "data": {}})
    assert found.credentials == {}, "an announcement without what it announces is for a person to see"


def test_that_access_ended_may_be_a_type() -> None:
    [found] = told(
        {"revokes": ["access.revoked"], "at": "at"}, {"type": "access.revoked", "at": "2026-11-22T08:00:00Z"}
    )
    assert found.revoked and found.at == coerce.moment("2026-11-22T08:00:00Z")


def test_a_partner_may_want_to_hear_something_else_than_202() -> None:
    def answer(**rules: Any) -> Any:
        return Receiver("acme", "one", driver(webhooks={"verify": "attio", **rules}), [Secret("x")]).answer

    assert answer() is None
    status, body, kind = answer(answer={"status": 200, "body": {"succeed": True}})
    assert (status, loads(body), kind) == (200, {"succeed": True}, "application/json")
    assert answer(answer={"body": "<Response/>", "type": "text/xml"}) == (200, b"<Response/>", "text/xml")
    assert answer(answer={}) == (200, b"", "text/plain")
    with pytest.raises(ConfigError):
        answer(answer={"status": 500})


def test_a_moment_may_have_its_zone_behind_it() -> None:
    assert coerce.timestamp("2026-09-06T15:00+01:00[Europe/London]") == "2026-09-06T14:00:00Z"
    assert (
        coerce.timestamp("2026-09-06T15:00:00.123456789+02:00[Europe/Copenhagen][u-ca=iso8601]")
        == "2026-09-06T13:00:00.123456Z"
    )
    for wrong in ("2026-09-06T15:00[Europe/London]", "[Europe/London]", "2026-09-06T15:00+01:00[Europe/London"):
        with pytest.raises(PayloadError):
            coerce.timestamp(wrong)


def test_what_a_token_request_says_must_fit_together() -> None:
    usual: dict[str, Any] = {"kind": "oauth2_refresh", "token_path": "/t"}
    for wrong in ({"client": "json", "body": "form"}, {"send": {"X-Key": "api_key"}}, {"query": "q"}):
        with pytest.raises(ValidationError):
            Auth(**usual, **wrong)
    with pytest.raises(ValidationError):
        Auth(kind="bearer", header="X-Other")
    assert Auth(**usual, header="X-Own", send={"X-Key": "client_id"}).names
