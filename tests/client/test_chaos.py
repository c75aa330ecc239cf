"""Faults on purpose: each becomes the error it plays, the same ones come again for a seed, and the rest is left alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from syncd.client import Addresses, CallStats, Chaos, PartnerTransport, token_call
from syncd.client.chaos import TOKEN_ROUTE
from syncd.client.transport import Answer, Outgoing
from syncd.clock import SystemClock
from syncd.config.chaos import FAULTS, ChaosConfig
from syncd.kit import Request
from syncd.limits import Gate
from syncd.testing.clock import FakeClock
from tests.client.parts import BASE, Partner, ok, session_of

BODY = {"items": [{"id": str(number)} for number in range(200)]}
CALLS = 60
GET = Request("/things")


class Hasty(SystemClock):
    """Sleeping takes no time, and is counted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def answers(
    partner: Partner, chaos: Chaos, *, method: str = "GET", route: str = "/things", calls: int = CALLS
) -> list[Answer]:
    transport = PartnerTransport("acme", clock=chaos.clock, transport=partner.transport)
    target = Addresses(BASE).target(Request("/things"))
    try:
        wild = transport.disturbed(chaos)
        return [await wild.exchange(Outgoing(method, route, target, {})) for _ in range(calls)]
    finally:
        await transport.aclose()


def made(**settings: Any) -> Chaos:
    return Chaos("acme", ChaosConfig(**{"rate": 0.8, "seed": 3, **settings}), Hasty())


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_is_what_it_plays(fault: str) -> None:
    partner, chaos = Partner(ok(BODY)), made(faults=[fault], pause="7s")
    found = await answers(partner, chaos)
    met = chaos.met[fault]  # type: ignore[index]
    assert CALLS * 0.6 < met < CALLS
    sound = [one for one in found if one.label == "200"]
    assert all(one.response is not None and one.response.json() == BODY for one in sound)
    labels = Counter(one.label for one in found if one not in sound)
    arrived, slept = len(partner.requests), chaos.clock.slept  # type: ignore[attr-defined]
    match fault:
        case "slow":
            assert (len(sound), arrived, slept) == (CALLS, CALLS, [7.0] * met)
        case "timeout":
            assert (labels, arrived, slept) == ({"timeout": met}, CALLS, [7.0] * met)
        case "reset":
            assert labels == {"reset": met}
            assert CALLS - met < arrived < CALLS
        case "truncated":
            assert (labels, arrived) == ({"reset": met}, CALLS)
        case "error":
            assert set(labels) == {"500", "502", "503", "504"}
            assert arrived == CALLS - met
        case "limited":
            assert (labels, arrived) == ({"429": met}, CALLS - met)
            waits = {one.response.headers["retry-after"] for one in found if one.label == "429" and one.response}
            assert "7" in waits
            assert any(wait.endswith(" GMT") for wait in waits)


@pytest.mark.parametrize("partners", [True, False])
async def test_a_429_on_purpose_pauses_the_scope_and_only_the_partners_own_teaches(partners: bool) -> None:
    clock = FakeClock()
    limited = httpx.Response(429, headers={"retry-after": "1"}, json={})
    gate = Gate("acme", ["100/min"], clock=clock, share=1.0)
    session = session_of(Partner(*[ok()] * 60, limited if partners else ok(), ok()), clock, gate=gate)
    for _ in range(60):
        await clock.run(session.call(GET))
    if not partners:
        settings = ChaosConfig(rate=0.5, seed=2, faults=("limited",))
        session.transport = session.transport.disturbed(Chaos("acme", settings, clock))
    stats = CallStats()
    began = clock.monotonic()
    while not stats.rate_limited:
        await clock.run(session.call(GET, stats=stats))
    assert clock.monotonic() - began >= 1, "it is waited for"
    [tier] = gate.view()["tiers"]
    assert (tier["learned"] is not None) is partners


async def test_what_was_lost_on_the_way_back_may_have_been_done() -> None:
    found = await answers(Partner(ok(BODY)), made(faults=["timeout", "truncated"]), method="POST")
    lost = [one.failure.error for one in found if one.failure is not None]
    assert lost
    assert all(error.unknown for error in lost)


async def test_a_seed_gives_the_same_faults_and_another_seed_others() -> None:
    async def labels(seed: int) -> list[str]:
        return [one.label for one in await answers(Partner(ok(BODY)), made(seed=seed, rate=0.5))]

    first = await labels(1)
    assert await labels(1) == first
    assert await labels(2) != first
    assert len(set(first)) > 4


@pytest.mark.parametrize(
    ("routes", "method", "route", "concerned"),
    [
        ((), "GET", "/things", True),
        ((), "POST", TOKEN_ROUTE, False),
        (("token",), "POST", TOKEN_ROUTE, True),
        (("/things*",), "GET", "/things/{id}", True),
        (("/things",), "GET", "/things/{id}", False),
        (("POST /things",), "GET", "/things", False),
        (("POST /things", "GET /th*"), "GET", "/things", True),
    ],
)
async def test_only_the_routes_that_are_named_are_met_and_tokens_only_by_their_name(
    routes: tuple[str, ...], method: str, route: str, concerned: bool
) -> None:
    chaos = made(routes=routes)
    await answers(Partner(ok(BODY)), chaos, method=method, route=route, calls=30)
    assert (sum(chaos.met.values()) > 0) is concerned


def test_requests_for_tokens_are_known_by_the_route_they_have() -> None:
    assert token_call.ROUTE == TOKEN_ROUTE


def test_it_is_said_in_one_line() -> None:
    assert made(rate=0.2, faults=["reset"], routes=["/a*"]).says == "20% of the calls of /a* meet reset, seed 3"
    assert made(faults=["slow", "error"]).says == "80% of the calls meet slow or error, seed 3"
