"""A partner no description fits: a `Driver` of one's own needs few methods, and the rest has sound answers."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import ConfigError, RejectedError
from syncd.kit import (
    Change,
    Checkpoint,
    Delivery,
    Driver,
    DriverSpec,
    Headers,
    Identity,
    Item,
    PartnerError,
    Raw,
    Record,
    Request,
    Resource,
    Response,
    classify,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROWS = Resource(name="rows", path="/rows")
PARTS = Resource(name="parts", path="/rows/{parent.id}/parts", parent="rows")


class Own(Driver):
    """Counts pages in the answer's own header."""

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        if "account" not in options:
            raise ConfigError("account is missing", hint="give options.account")
        return {"rows": ROWS, "parts": PARTS}

    def test(self, options: Mapping[str, Any] | None = None) -> Request:
        return Request("/me")

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        return Request(resource.path, cursor=checkpoint.cursor)

    def pages(self, resource: Resource, first: Request) -> Generator[Request, Response, None]:
        request = first
        while True:
            response = yield request
            if "x-next" not in response.headers:
                return
            request = replace(request, cursor=response.headers["x-next"])

    def items(self, resource: Resource, response: Response) -> list[Item]:
        return [Item(resource.name, raw) for raw in response.json()]

    def record(self, resource: Resource, response: Response) -> Raw:
        found: Raw = response.json()
        return found

    def identify(self, resource: Resource, raw: Raw, adapter: str = "") -> Identity:
        return Identity(raw["id"], source_updated_at=NOW)

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        return Record(self.identify(resource, raw, adapter), raw)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        return classify(response, now)


DRIVER = Own(DriverSpec(name="own", headers={"a": "b"}))


def answer(body: Any, **headers: str) -> Response:
    return Response(200, Headers(headers), dumps(body))


def test_following_is_the_walk_for_whoever_keeps_no_generator() -> None:
    first = DRIVER.request(ROWS, Checkpoint("own", "rows"))
    following = DRIVER.following(ROWS, first, answer([], **{"x-next": "2"}))
    assert following == replace(first, cursor="2")
    assert DRIVER.following(ROWS, first, answer([])) is None


def test_what_is_not_overridden_claims_nothing() -> None:
    delivery = Delivery(b"{}", Headers())
    assert DRIVER.spread(ROWS, Request("/rows"), answer([])) is None
    assert DRIVER.one(ROWS, "1") is None
    assert DRIVER.many(ROWS, ["1"]) is None
    assert DRIVER.total(ROWS, answer([])) is None
    assert DRIVER.tenant(ROWS, {}) is None
    assert DRIVER.sign is None
    assert not DRIVER.verify(delivery, [], NOW)
    assert DRIVER.event_id(delivery) is None
    assert DRIVER.events(delivery) == []
    raw: Raw = {"id": "1"}
    assert DRIVER.hashable(ROWS, raw) is raw


def test_what_no_one_can_do_is_refused_and_not_ignored() -> None:
    with pytest.raises(RejectedError, match="takes no changes of rows"):
        DRIVER.push(ROWS, Change("rows", "1", "upsert"))
    with pytest.raises(RejectedError, match="not listed below"):
        DRIVER.child_request(PARTS, "1")


def test_items_and_children_follow_from_what_is_given() -> None:
    assert DRIVER.item(ROWS, answer({"id": "1"})) == Item("rows", {"id": "1"})
    assert DRIVER.several(ROWS, answer([{"id": "1"}])) == [Item("rows", {"id": "1"})]
    assert DRIVER.children(ROWS, DRIVER.resources({"account": 1})) == [PARTS]
    assert DRIVER.headers({}) == {"a": "b"}
    assert DRIVER.auth({}).kind == "none"
    assert DRIVER.newest(ROWS, answer([]), [DRIVER.identify(ROWS, {"id": "1"})]) == NOW


def test_wrong_options_become_a_finding_with_their_hint() -> None:
    (finding,) = DRIVER.facts({}).findings
    assert (finding.message, finding.help) == ("account is missing", "give options.account")
    assert DRIVER.facts({"account": 1}).findings == ()
