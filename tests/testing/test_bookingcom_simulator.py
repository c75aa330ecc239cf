"""The simulated Booking.com against the partner facts, asked by a plain HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import defusedxml.ElementTree as ElementTree
import pytest

from syncd.drivers.bookingcom.simulator import create
from syncd.testing.clock import FakeClock
from syncd.testing.process import Served
from syncd.testing.simulator import serve

EXCHANGE = "/token-based-authentication/exchange"
WHO = {"client_id": "simulated-machine", "client_secret": "simulated-machine-secret"}
NEW, CHANGED = "/hotels/ota/OTA_HotelResNotif", "/hotels/ota/OTA_HotelResModifyNotif"
OTA = "{http://www.opentravel.org/OTA/2003/05}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def partner(clock: FakeClock) -> AsyncIterator[Served]:
    async with await serve(create(clock=clock, queued=3)) as served:
        yield served


@pytest.fixture
async def client(partner: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(partner.url) as bare, bare.post(EXCHANGE, json=WHO) as answer:
        token = (await answer.json())["jwt"]
    async with aiohttp.ClientSession(partner.url, headers={"Authorization": f"Bearer {token}"}) as session:
        yield session


def acknowledgement(*ids: str, root: str = "OTA_HotelResNotifRS", group: str = "HotelReservations") -> str:
    one = "HotelReservation" if group == "HotelReservations" else "HotelResModify"
    inside = "".join(
        f'<{one}><ResGlobalInfo><HotelReservationIDs><HotelReservationID ResID_Value="{name}"/></HotelReservationIDs>'
        f"</ResGlobalInfo></{one}>"
        for name in ids
    )
    return f'<{root} xmlns="{OTA[1:-1]}"><Success/><{group}>{inside}</{group}></{root}>'


async def fetched(client: aiohttp.ClientSession, path: str = NEW, status: int = 200) -> list[str]:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        if status != 200:
            return []
        document = ElementTree.fromstring(await answer.text())
    return [one.get("ResID_Value", "") for one in document.iter(f"{OTA}HotelReservationID")]


async def acknowledged(client: aiohttp.ClientSession, *ids: str, path: str = NEW, **more: str) -> int:
    async with client.post(path, data=acknowledgement(*ids, **more)) as answer:
        return answer.status


async def test_a_token_is_given_for_json_alone_and_says_itself_when_it_ends(partner: Served) -> None:
    async with aiohttp.ClientSession(partner.url) as bare:
        async with bare.post(EXCHANGE, data=WHO) as answer:
            assert answer.status == 400
        async with bare.post(EXCHANGE, json={**WHO, "client_secret": "wrong"}) as answer:
            assert answer.status == 401
        async with bare.post(EXCHANGE, json=WHO) as answer:
            told: dict[str, Any] = await answer.json()
            assert set(told) == {"jwt", "ruid"}
            assert told["jwt"].count(".") == 2
        async with bare.get("/connections-api/properties/8011855/status") as answer:
            assert (answer.status, "ruid" in (await answer.json())["meta"]) == (401, True)


async def test_thirty_tokens_an_hour_and_not_one_more(partner: Served) -> None:
    async with aiohttp.ClientSession(partner.url) as bare:
        statuses = []
        for _ in range(31):
            async with bare.post(EXCHANGE, json=WHO) as answer:
                statuses.append(answer.status)
    assert statuses == [200] * 30 + [429]
    assert partner.simulator.enforcer.violations == 1


async def test_what_is_not_acknowledged_is_shown_again(client: aiohttp.ClientSession, clock: FakeClock) -> None:
    first = await fetched(client)
    await clock.advance(20)
    assert await fetched(client) == first
    assert await acknowledged(client, *first[:2]) == 200
    await clock.advance(20)
    assert await fetched(client) == first[2:]
    assert await acknowledged(client, first[0]) == 400  # settled already
    assert await acknowledged(client, "999") == 404
    assert await acknowledged(client, first[2], root="OTA_HotelResModifyNotifRS", group="HotelResModifies") == 400


async def test_a_fetch_too_early_is_refused_and_counted(
    partner: Served, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    await fetched(client)
    await clock.advance(19)
    await fetched(client, status=429)
    await fetched(client, CHANGED)  # its own pace
    assert partner.simulator.enforcer.violations == 1


async def test_a_fetch_right_after_an_acknowledgement_is_counted(
    partner: Served, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    (first, *_) = await fetched(client)
    await clock.advance(16)
    await acknowledged(client, first)
    await clock.advance(4)
    await fetched(client)
    assert partner.simulator.stats()["tiers"]["pause"]["violations"] == 1
    await clock.advance(20)
    await fetched(client)
    assert partner.simulator.enforcer.violations == 1


async def test_nobody_acknowledging_for_half_an_hour_has_the_property_written_to_once(
    partner: Served, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    (first, *_) = await fetched(client)
    await acknowledged(client, first)
    await clock.advance(1799)
    assert partner.simulator.action("queues", {})["mailed"] == 0
    await clock.advance(2)
    assert [partner.simulator.action("queues", {})["mailed"] for _ in range(2)] == [2, 2]


async def test_a_change_waits_in_its_own_queue_but_before_the_first_acknowledgement_it_is_still_new(
    partner: Served, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    simulator = partner.simulator
    waiting = sorted(simulator.state["reservations"].entries)
    simulator.update("reservations", waiting[0], {"status": "modified", "nights": 4})
    simulator.update("reservations", waiting[5], {"status": "cancelled"})
    assert waiting[0] in await fetched(client)
    await clock.advance(5)
    assert await fetched(client, CHANGED) == [waiting[5]]
    assert (
        await acknowledged(client, waiting[5], path=CHANGED, root="OTA_HotelResModifyNotifRS", group="HotelResModifies")
        == 200
    )


async def test_b_xml_empties_the_queue_by_being_fetched(
    partner: Served, client: aiohttp.ClientSession, clock: FakeClock
) -> None:
    async with client.post("/hotels/xml/reservations", data="<request/>") as answer:
        text = await answer.text()
    statuses = [one.text for one in ElementTree.fromstring(text).iter("status")]
    assert statuses == ["new"] * 3
    assert "cc_number" in text
    await clock.advance(20)
    async with client.post("/hotels/xml/reservations", data="<request/>") as answer:
        assert not list(ElementTree.fromstring(await answer.text()))


async def test_card_data_is_sent_unasked(client: aiohttp.ClientSession) -> None:
    async with client.get(NEW) as answer:
        assert "PaymentCard" in await answer.text()


async def test_another_accounts_hotel_is_refused_in_the_words_of_its_family(client: aiohttp.ClientSession) -> None:
    async with client.get("/rooms-api/properties/1/units") as answer:
        assert (answer.status, (await answer.json())["errors"][0]["message"]) == (403, "Access denied for hotel")
    async with client.post(
        "/hotels/xml/reservationssummary", data="<request><hotel_id>1</hotel_id></request>"
    ) as answer:
        assert (answer.status, ElementTree.fromstring(await answer.text()).tag) == (403, "fault")
    async with client.get("/messaging/properties/8011855/conversations") as answer:
        assert answer.status == 400  # version 1.0 has ended


async def test_a_summary_shows_what_is_to_come_and_not_what_was_called_off(
    partner: Served, client: aiohttp.ClientSession
) -> None:
    simulator = partner.simulator
    of_first = [entry.id for entry in simulator.state["reservations"] if entry.raw["property"] == "8011855"]
    simulator.update("reservations", of_first[0], {"status": "cancelled"})
    async with client.post(
        "/hotels/xml/reservationssummary", data="<request><hotel_id>8011855</hotel_id></request>"
    ) as answer:
        shown = [one.findtext("id") for one in ElementTree.fromstring(await answer.text())]
    assert shown == of_first[1:]
