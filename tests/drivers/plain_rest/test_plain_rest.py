"""A partner nobody wrote a driver for, described in one file, read from a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jsonschema
import pytest

from syncd import drivers
from syncd.config.document import read
from syncd.config.load import load
from syncd.kit import AuthError, Checkpoint, Driver, DriverSpec, GoneError, Headers, Record, Request, Response
from syncd.testing.driver_suite import checks_of
from tests.drivers.plain_rest.server import KEY, Boatyard

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
async def yard() -> AsyncIterator[Boatyard]:
    api = Boatyard()
    yield api
    await api.stop()


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    """As the daemon makes it: the file is read and checked as configuration, `rest:` goes to the driver."""
    (tmp_path / "partners").mkdir()
    (tmp_path / "partners" / "boatyard.yaml").write_bytes((HERE / "partner.yaml").read_bytes())
    loaded = load(tmp_path, drivers=drivers.facts(), env={}, strict=True)
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.config is not None
    partner = loaded.config.partners["boatyard"]
    return drivers.load(partner.driver, rest=partner.rest, partner=partner.name)


class Caller:
    """The least a client does: join, send, hand back."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, key: str = KEY) -> None:
        self.base_url, self.session, self.key = base_url, session, key

    async def call(self, request: Request) -> Response:
        assert isinstance(request.params, dict)
        url = f"{self.base_url}{request.path}?{urlencode(request.params, doseq=True)}"
        async with self.session.request(request.method, url, headers={"X-Api-Key": self.key}) as answer:
            headers = Headers(dict(answer.headers))
            return Response(answer.status, headers, await answer.read(), url=str(answer.url))

    async def walk(self, driver: Driver, name: str, request: Request) -> list[Record]:
        resource = driver.spec.resources[name]
        found: list[Record] = []
        walk = driver.pages(resource, request)
        request = next(walk)
        while True:
            response = await self.call(request)
            error = driver.classify(response, NOW)
            if error is not None:
                raise error
            found += [driver.normalize(resource, item.raw) for item in driver.items(resource, response) if item.raw]
            try:
                request = walk.send(response)
            except StopIteration:
                return found


@pytest.fixture
async def caller(yard: Boatyard) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(await yard.start(), session)


def test_the_whole_partner_fits_in_forty_lines_and_stands_in_the_docs() -> None:
    text = (HERE / "partner.yaml").read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert text.rstrip("\n") in (HERE.parents[2] / "docs" / "writing-a-driver.md").read_text("utf-8")


def test_an_editor_that_knows_the_schema_accepts_it_and_underlines_a_wrong_key(driver: Driver) -> None:
    rest = read(HERE / "partner.yaml", "partner.yaml").data["rest"]
    schema = DriverSpec.model_json_schema(by_alias=True)
    jsonschema.validate({"name": "boatyard", **rest}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "boatyard", **rest, "resorces": {}}, schema)
    rest["resources"]["boats"]["pages"]["kind"] = "ofset"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "boatyard", **rest}, schema)


def test_it_keeps_what_every_driver_promises(driver: Driver, tmp_path: Path) -> None:
    for check in checks_of("boatyard", driver, tmp_path):
        check()


async def test_all_boats_come_in_with_their_fields(yard: Boatyard, caller: Caller, driver: Driver) -> None:
    yard.fill(123, bookings=0)
    boats = driver.spec.resources["boats"]
    found = await caller.walk(driver, "boats", driver.request(boats, Checkpoint("boatyard", "boats")))
    assert [record.identity.external_id for record in found] == list(yard.boats)
    assert found[4].data == {
        "name": "Boat 4", "harbour": "Ost", "length_m": 10.5, "launched": "2008-05-17", "for_hire": False,
    }  # fmt: skip
    assert found[4].identity.source_updated_at == datetime.fromisoformat(yard.boats["bt-00004"]["changed"])
    assert yard.calls == {"/v1/boats": 3}


async def test_only_what_changed_since_the_watermark_comes_again(
    yard: Boatyard, caller: Caller, driver: Driver
) -> None:
    yard.fill(60, bookings=0)
    watermark = yard.now
    yard.change_boat("bt-00007", name="Renamed")
    yard.add_boat(900)
    boats = driver.spec.resources["boats"]
    checkpoint = Checkpoint("boatyard", "boats", since=watermark)
    found = await caller.walk(driver, "boats", driver.request(boats, checkpoint))
    assert [record.identity.external_id for record in found] == ["bt-00059", "bt-00007", "bt-00900"]


async def test_pages_can_be_asked_for_ahead(yard: Boatyard, caller: Caller, driver: Driver) -> None:
    yard.fill(170, bookings=0)
    boats = driver.spec.resources["boats"]
    first = driver.request(boats, Checkpoint("boatyard", "boats"))
    response = await caller.call(first)
    assert driver.total(boats, response) == 170
    ahead = driver.spread(boats, first, response)
    assert ahead is not None
    assert [request.cursor for request in ahead] == ["50", "100", "150"]


async def test_children_are_listed_below_each_boat(yard: Boatyard, caller: Caller, driver: Driver) -> None:
    yard.fill(3, bookings=55)
    bookings = driver.spec.resources["bookings"]
    assert driver.children(driver.spec.resources["boats"]) == [bookings]
    found = await caller.walk(driver, "bookings", driver.child_request(bookings, "bt-00001"))
    assert [record.identity.external_id for record in found] == list(yard.bookings["bt-00001"])
    assert found[3].data == {"guest": "Guest 3", "starts": "2027-06-04", "price": "83.50"}


async def test_one_boat_is_read_by_its_id_and_a_removed_one_is_gone(
    yard: Boatyard, caller: Caller, driver: Driver
) -> None:
    yard.fill(3)
    boats = driver.spec.resources["boats"]
    request = driver.one(boats, "bt-00002")
    assert request is not None
    assert driver.record(boats, await caller.call(request))["name"] == "Boat 2"
    yard.remove_boat("bt-00002")
    error = driver.classify(await caller.call(request), NOW)
    assert isinstance(error, GoneError)
    assert error.code == "no_boat"


async def test_a_wrong_key_is_told_by_the_credential_test(yard: Boatyard, caller: Caller, driver: Driver) -> None:
    assert driver.classify(await caller.call(driver.test()), NOW) is None
    caller.key = "wrong"
    error = driver.classify(await caller.call(driver.test()), NOW)
    assert isinstance(error, AuthError)
    assert (error.code, yard.refused) == ("bad_key", 1)
    assert "not known here" in str(error)


async def test_a_row_that_does_not_fit_leaves_the_others_alone(yard: Boatyard, caller: Caller, driver: Driver) -> None:
    yard.fill(2, bookings=0)
    yard.change_boat("bt-00000", launched="next spring")
    boats = driver.spec.resources["boats"]
    response = await caller.call(driver.request(boats, Checkpoint("boatyard", "boats")))
    verdicts: list[Any] = []
    for item in driver.items(boats, response):
        assert item.raw is not None
        try:
            verdicts.append(driver.normalize(boats, item.raw).identity.external_id)
        except Exception as error:
            verdicts.append(str(error))
    assert verdicts == ["field launched: expected a date (YYYY-MM-DD), got text", "bt-00001"]
