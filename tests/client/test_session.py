"""The order of a call: retry( gate( auth( http ))), and what each kind of answer leads to."""

from __future__ import annotations

import asyncio
import io
import json
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syncd import log, metrics
from syncd.client import CallStats, Patience, Shut
from syncd.client.addresses import Addresses
from syncd.errors import (
    AuthError,
    BreakerOpenError,
    ConfigError,
    GoneError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from syncd.limits import BreakerPolicy, BreakerState, Gate, OverBudgetError
from syncd.limits.backoff import BackoffPolicy, RetryBudget
from syncd.markup import Markup
from syncd.model import Request, Response
from syncd.testing.clock import FakeClock
from tests.client.parts import BASE, Partner, failure, ok, session_of

GET = Request("/things", params={"q": "private"})
POST = Request("/things", "POST", json={"a": 1})


def status(number: int, **headers: str) -> httpx.Response:
    return httpx.Response(
        number, json={"message": "told"}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_good_call_is_one_request_with_what_was_asked(clock: FakeClock) -> None:
    partner = Partner(ok({"a": 1}))
    session = session_of(partner, clock, headers={"Api-Version": "2026-01"})
    stats = session.stats()
    request = Request("/things", "POST", params={"n": 1}, json={"ü": 1}, headers={"accept": "text/plain", "X-One": "1"})
    response = await session.call(request, stats=stats)
    assert response.json() == {"a": 1}
    assert response.requested_at == clock.now()
    sent = partner.requests[0]
    assert str(sent.url) == f"{BASE}/things?n=1"
    assert json.loads(sent.content) == {"ü": 1}
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers.get_list("accept") == ["text/plain"]
    assert sent.headers["user-agent"].startswith("syncd/")
    assert (sent.headers["x-one"], sent.headers["api-version"]) == ("1", "2026-01")
    assert sent.headers["accept-encoding"] == "gzip, deflate"
    assert stats.calls == session.spent.calls == 1


async def test_xml_is_sent_and_read_as_such_and_what_nobody_may_keep_is_cut_out_first(clock: FakeClock) -> None:
    answer = b'<?xml version="1.0"?><RS><Room>1</Room><PaymentCard Number="4111"/></RS>'
    partner = Partner(httpx.Response(200, content=answer, headers={"content-type": "text/html"}))
    request = Request("/t", "POST", xml={"RQ": {"@Version": 1}}, reads=Markup(frozenset({"Room"}), ("PaymentCard",)))
    response = await session_of(partner, clock).call(request)
    assert partner.requests[0].content.endswith(b'<RQ Version="1"/>')
    assert partner.requests[0].headers["content-type"] == "application/xml"
    assert response.json() == {"RS": {"Room": ["1"]}}
    assert b"4111" not in response.content


async def test_a_page_for_people_where_xml_was_due_is_transient(clock: FakeClock) -> None:
    page = b'<?xml version="1.0"?>\n<!DOCTYPE html><html><body>maintenance</body></html>'
    partner = Partner(httpx.Response(200, content=page, headers={"content-type": "text/xml"}))
    with pytest.raises(TransientError, match="HTML page"):
        await session_of(partner, clock).call(Request("/t", "POST", reads=Markup()))


async def test_the_credential_goes_to_the_partners_other_hosts_and_to_nobody_else(clock: FakeClock) -> None:
    addresses = Addresses("https://one.example/api", ["https://media.example"], ["https://two.example"])
    assert addresses.target(Request("https://two.example/x")).home
    assert not addresses.target(Request("https://media.example/x")).home


async def test_while_it_is_shut_nothing_leaves_also_of_what_stood_in_line_before(clock: FakeClock) -> None:
    partner = Partner(ok())
    session = session_of(partner, clock, gate=Gate("plain/acme", ["1/10s"], clock=clock, share=1.0))
    await session.call(Request("/first"))
    waiting = asyncio.create_task(session.call(Request("/second")))
    await clock.settle()
    until = clock.now() + timedelta(hours=2)
    session.shut = Shut(until, "acme is in maintenance")
    await clock.advance(30)
    with pytest.raises(OverBudgetError, match="nothing is sent: acme is in maintenance") as refused:
        await waiting
    assert refused.value.retry_at == until
    with pytest.raises(OverBudgetError):
        await session.call(Request("/third"))
    assert [each.url.path for each in partner.requests] == ["/v2/first"]
    await clock.advance(2 * 3600)
    await session.call(Request("/fourth"))
    assert len(partner.requests) == 2


async def test_a_form_is_sent_as_one(clock: FakeClock) -> None:
    partner = Partner(ok())
    await session_of(partner, clock).call(Request("/t", "POST", form={"a b": "c&d", "e": "ü"}))
    assert partner.requests[0].content == b"a%20b=c%26d&e=%C3%BC"
    assert partner.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_transient_failures_are_retried_with_growing_jittered_pauses(clock: FakeClock) -> None:
    partner = Partner(status(500), httpx.ReadError("x"), status(503), ok())
    session = session_of(partner, clock, backoff=BackoffPolicy(attempts=4, base_seconds=1, cap_seconds=10))
    stats = session.stats()
    began = clock.monotonic()
    response = await clock.run(session.call(GET, stats=stats))
    assert response.status_code == 200
    assert (stats.calls, stats.retries) == (4, 3)
    assert 0 < clock.monotonic() - began < 1 + 2 + 4


async def test_after_the_last_attempt_the_error_says_so(clock: FakeClock) -> None:
    partner = Partner(status(502, x_request_id="req-7"))
    session = session_of(partner, clock, backoff=BackoffPolicy(attempts=3))
    error = await failure(clock.run(session.call(GET)))
    assert isinstance(error, TransientError)
    assert len(partner.requests) == 3
    assert error.cooled
    assert (error.status, error.request_id) == (502, "req-7")
    assert (error.partner, error.integration) == ("acme", "acme/one")
    assert str(error) == "GET /things: answered 502 (told)"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("x"),
        httpx.ReadError("x"),
        status(408),
        status(500),
        status(504),
        httpx.Response(201, content=b"OK", headers={"Content-Type": "text/html"}),
        httpx.Response(200, content=b"<html><body>made</body></html>", headers={"Content-Type": "text/html"}),
    ],
)
async def test_a_write_whose_answer_was_lost_is_unknown_and_never_repeated(clock: FakeClock, answer: Any) -> None:
    partner = Partner(answer, ok())
    error = await failure(clock.run(session_of(partner, clock).call(POST)))
    assert isinstance(error, TransientError)
    assert error.unknown
    assert len(partner.requests) == 1


async def test_a_write_that_was_never_sent_or_is_declared_repeatable_is_repeated(clock: FakeClock) -> None:
    for first, request in ((httpx.ConnectError("x"), POST), (status(500), Request("/t", "POST", repeatable=True))):
        partner = Partner(first, ok())
        assert (await clock.run(session_of(partner, clock).call(request))).status_code == 200
        assert len(partner.requests) == 2


@pytest.mark.parametrize(("number", "unknown"), [(301, False), (302, True), (303, True), (307, False), (308, False)])
async def test_a_redirect_after_a_write_is_not_followed_and_may_mean_that_it_was_made(
    clock: FakeClock, number: int, unknown: bool
) -> None:
    partner = Partner(httpx.Response(number, headers={"Location": "/v2/t/5"}), ok())
    error = await failure(clock.run(session_of(partner, clock).call(POST)))
    assert isinstance(error, RejectedError)
    assert error.unknown is unknown
    assert len(partner.requests) == 1


@pytest.mark.parametrize(
    ("number", "kind"),
    [(400, RejectedError), (403, RejectedError), (404, GoneError), (410, GoneError), (422, RejectedError)],
)
async def test_refusals_are_not_retried(clock: FakeClock, number: int, kind: type[PartnerError]) -> None:
    partner = Partner(status(number))
    error = await failure(session_of(partner, clock).call(GET))
    assert type(error) is kind
    assert len(partner.requests) == 1


async def test_html_where_data_was_due_is_transient(clock: FakeClock) -> None:
    partner = Partner(httpx.Response(200, html="<html>maintenance</html>"), ok())
    assert (await clock.run(session_of(partner, clock).call(GET))).status_code == 200
    assert len(partner.requests) == 2


async def test_the_deadline_covers_all_tries_and_their_pauses(clock: FakeClock) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await clock.sleep(3600)
        return ok()

    partner = Partner(status(500), hang)
    session = session_of(partner, clock, patience=Patience(deadline_seconds=30))
    began = clock.monotonic()
    error = await failure(clock.run(session.call(GET)))
    assert isinstance(error, TransientError)
    assert "deadline" in str(error)
    assert clock.monotonic() - began == pytest.approx(30, abs=0.1)
    began = clock.monotonic()
    await failure(clock.run(session.call(Request("/things", deadline_seconds=2))))
    assert clock.monotonic() - began == pytest.approx(2, abs=0.1)


async def test_waiting_for_our_own_limits_does_not_eat_the_deadline(clock: FakeClock) -> None:
    partner = Partner(ok())
    gate = Gate("acme", ["1/60s"], clock=clock, share=1)
    session = session_of(partner, clock, gate=gate, patience=Patience(deadline_seconds=5, gate_seconds=90))
    stats = CallStats()
    await clock.run(session.call(GET, stats=stats))
    assert (await clock.run(session.call(GET, stats=stats))).status_code == 200
    assert stats.waited_seconds == pytest.approx(60, abs=1)


async def test_a_wait_for_our_limits_that_is_too_long_is_refused_at_once(clock: FakeClock) -> None:
    partner = Partner(ok())
    session = session_of(partner, clock, gate=Gate("acme", ["1/h"], clock=clock, share=1))
    await clock.run(session.call(GET))
    began = clock.monotonic()
    error = await failure(clock.run(session.call(GET)))
    assert isinstance(error, OverBudgetError)
    assert error.retry_at is not None
    assert clock.monotonic() == began
    assert len(partner.requests) == 1


async def test_a_short_429_pauses_the_scope_and_is_waited_for(clock: FakeClock) -> None:
    partner = Partner(status(429, retry_after="3"), ok())
    gate = Gate("acme-429", ["100/s"], clock=clock)
    session = session_of(partner, clock, gate=gate)
    stats = CallStats()
    first = asyncio.ensure_future(session.call(GET, stats=stats))
    await clock.settle()
    assert gate.paused_until is not None
    second = asyncio.ensure_future(session.call(GET))
    await clock.advance(2.5)
    assert len(partner.requests) == 1, "the pause holds every call of the scope"
    await clock.advance(1)
    assert (await first).status_code == (await second).status_code == 200
    assert (stats.rate_limited, stats.calls) == (1, 2)
    assert stats.waited_seconds == pytest.approx(3, abs=0.5)
    assert counted("syncd_rate_limited_total", scope="acme-429") == 1


async def test_a_long_429_goes_back_with_its_time(clock: FakeClock) -> None:
    partner = Partner(status(429, retry_after="600"))
    gate = Gate("acme", ["100/s"], clock=clock)
    error = await failure(clock.run(session_of(partner, clock, gate=gate).call(POST)))
    assert isinstance(error, RateLimitError)
    assert error.retry_at == clock.now() + timedelta(seconds=600)
    assert gate.paused_until == error.retry_at
    assert len(partner.requests) == 1


async def test_a_partner_that_says_429_for_ever_ends_the_call(clock: FakeClock) -> None:
    partner = Partner(status(429, retry_after="0"))
    error = await failure(clock.run(session_of(partner, clock, patience=Patience(limited=3)).call(GET)))
    assert isinstance(error, RateLimitError)
    assert error.retry_at is not None
    assert len(partner.requests) == 4


async def test_a_429_costs_no_attempt(clock: FakeClock) -> None:
    partner = Partner(status(429, retry_after="1"), status(500), status(429, retry_after="1"), ok())
    session = session_of(partner, clock, backoff=BackoffPolicy(attempts=2))
    assert (await clock.run(session.call(GET))).status_code == 200


async def test_a_hopeless_call_neither_waits_nor_pauses(clock: FakeClock) -> None:
    gate = Gate("acme", ["100/s"], clock=clock)
    partner = Partner(status(429))
    session = session_of(
        partner, clock, gate=gate, classify=lambda response, now: RateLimitError("too expensive", hopeless=True)
    )
    error = await failure(session.call(GET))
    assert isinstance(error, RateLimitError) and error.hopeless
    assert gate.paused_until is None


async def test_a_503_with_a_long_retry_after_is_left_to_the_row(clock: FakeClock) -> None:
    partner = Partner(status(503, retry_after="120"))
    error = await failure(clock.run(session_of(partner, clock).call(GET)))
    assert isinstance(error, TransientError)
    assert error.retry_at == clock.now() + timedelta(seconds=120)
    assert len(partner.requests) == 1
    partner = Partner(status(503, retry_after="2"), ok())
    began = clock.monotonic()
    await clock.run(session_of(partner, clock).call(GET))
    assert clock.monotonic() - began >= 2
    partner = Partner(status(503, retry_after="10"), ok())
    await failure(clock.run(session_of(partner, clock).call(GET)))
    assert len(partner.requests) == 1, "10 s are within the deadline, but too long to hold a worker"


async def test_the_retry_budget_is_the_partners_and_ends(clock: FakeClock) -> None:
    partner = Partner(status(500))
    budget = RetryBudget(clock, floor=2, ratio=0.2)
    session = session_of(partner, clock, retries=budget, gate=Gate("b", ["100/s"], clock=clock,
                         breaker=BreakerPolicy(failures=1000)))  # fmt: skip
    before = counted("syncd_retry_budget_exhausted_total", partner="acme")
    for _ in range(10):
        await failure(clock.run(session.call(GET)))
    assert 12 <= len(partner.requests) <= 16
    earned = RetryBudget(clock, floor=0, ratio=0.5)
    session = session_of(partner, clock, retries=earned, backoff=BackoffPolicy(attempts=2), gate=session.gate)
    asked = len(partner.requests)
    for _ in range(4):
        await failure(clock.run(session.call(GET)))
    assert len(partner.requests) - asked == 4 + 2, "two calls earn one retry"
    assert counted("syncd_retry_budget_exhausted_total", partner="acme") > before


async def test_the_breaker_counts_what_says_that_the_partner_is_sick_and_nothing_else(clock: FakeClock) -> None:
    gate = Gate("acme", ["1000/s"], clock=clock, breaker=BreakerPolicy(failures=2, cooldown_seconds=30))
    once = BackoffPolicy(attempts=1)
    for harmless in (status(429, retry_after="9999"), status(401), status(404), status(422), status(408)):
        for _ in range(3):
            await clock.run(failure(session_of(Partner(harmless), clock, gate=gate, backoff=once).call(GET)))
            gate.resume()
    assert gate.breaker_state() is BreakerState.CLOSED
    for sick in (status(500), httpx.ConnectError("x")):
        await clock.run(failure(session_of(Partner(sick), clock, gate=gate, backoff=once).call(GET)))
    partner = Partner(ok())
    error = await failure(session_of(partner, clock, gate=gate).call(GET))
    assert isinstance(error, BreakerOpenError)
    assert not partner.requests


async def test_a_cancelled_probe_leaves_the_breaker_half_open(clock: FakeClock) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await clock.sleep(3600)
        return ok()

    gate = Gate("acme", ["1000/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=30))
    partner = Partner(status(500), hang, ok())
    session = session_of(partner, clock, gate=gate, backoff=BackoffPolicy(attempts=1))
    await failure(session.call(GET))
    await clock.advance(31)
    probe = asyncio.ensure_future(session.call(GET))
    await clock.settle()
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert probe.cancelled()
    assert gate.breaker_state() is BreakerState.HALF_OPEN
    assert (await session.call(GET)).status_code == 200
    assert gate.breaker_state() is BreakerState.CLOSED
    assert counted("integration_api_calls_total", partner="acme", endpoint="/things", status_code="cut") >= 1


async def test_redirects_of_reads_are_followed_three_times_each_through_the_gate(clock: FakeClock) -> None:
    def moved(where: str) -> httpx.Response:
        return httpx.Response(302, headers={"location": where})

    partner = Partner(moved("/v2/b"), moved("c?x=1"), moved(f"{BASE}/d"), ok())
    stats = CallStats()
    response = await session_of(partner, clock).call(GET, stats=stats)
    assert partner.paths == ["/v2/things?q=private", "/v2/b", "/v2/c?x=1", "/v2/d"]
    assert (stats.calls, response.url) == (4, f"{BASE}/d")
    error = await failure(session_of(Partner(moved("/v2/loop")), clock).call(GET))
    assert isinstance(error, RejectedError)
    partner = Partner(moved("/v2/b"))
    error = await failure(session_of(partner, clock).call(POST))
    assert isinstance(error, RejectedError) and len(partner.requests) == 1


@pytest.mark.parametrize(
    "where", ["https://evil.example/x?k=TOPSECRET", "http://api.acme.example/v2/x", "//evil.example", "ftp://x/"]
)
async def test_a_redirect_elsewhere_is_refused(clock: FakeClock, where: str) -> None:
    partner = Partner(httpx.Response(301, headers={"location": where}), ok())
    error = await failure(session_of(partner, clock).call(GET))
    assert isinstance(error, RejectedError)
    assert error.status == 301
    assert "TOPSECRET" not in str(error)
    assert len(partner.requests) == 1


async def test_a_refused_address_is_told_and_costs_nothing(clock: FakeClock) -> None:
    partner = Partner(ok())
    session = session_of(partner, clock)
    error = await failure(session.call(Request("https://evil.example/x", route="/things")))
    assert isinstance(error, RejectedError)
    assert str(error).startswith("GET /things: ")
    assert error.partner == "acme"
    for headers in ({"X-A": "b\r\nHost: evil"}, {"X A": "b"}, {"X-A": "ü"}):
        assert isinstance(await failure(session.call(Request("/t", headers=headers))), RejectedError)
    assert (session.spent.calls, len(partner.requests)) == (0, 0)


async def test_a_header_that_cannot_be_sent_is_a_configuration_error(clock: FakeClock) -> None:
    with pytest.raises(ConfigError):
        session_of(Partner(ok()), clock, headers={"X-Tenant": "a\nb"})


async def test_what_a_driver_stumbles_over_is_a_payload_error(clock: FakeClock) -> None:
    def stumble(response: Response, now: datetime) -> PartnerError | None:
        raise KeyError("TOPSECRET")

    error = await failure(session_of(Partner(ok()), clock, classify=stumble).call(GET))
    assert isinstance(error, PayloadError)
    assert "KeyError" in str(error)
    assert error.__context__ is None


async def test_a_drivers_own_word_counts(clock: FakeClock) -> None:
    def busy(response: Response, now: datetime) -> PartnerError | None:
        if response.json().get("error") == "busy":
            return RateLimitError("busy inside a 200", retry_at=now + timedelta(seconds=1))
        return None

    partner = Partner(ok({"error": "busy"}), ok({"fine": 1}))
    response = await clock.run(session_of(partner, clock, classify=busy).call(POST))
    assert response.json() == {"fine": 1}


async def test_the_cost_told_by_an_answer_corrects_the_book_and_is_expected_of_the_routes_next_call(
    clock: FakeClock,
) -> None:
    gate = Gate("acme", [{"rate": "200/10s", "weighted": True, "share": 1}], clock=clock, lanes={})
    partner = Partner(ok(x_cost="60"), ok(x_cost="nonsense"), ok(x_cost="20"), ok())
    session = session_of(partner, clock, gate=gate, cost_header="x_cost")
    used = []
    for path in ("/q", "/q", "/other", "/q"):
        await session.call(Request(path, weight=5))
        used.append(gate.view()["tiers"][0]["used"])
    assert used == [60, 120, 140, 200]


async def test_a_call_counts_as_its_class_its_method_its_route_and_its_own_budget(clock: FakeClock) -> None:
    tiers = ["10/h", *({"rate": "10/h", "budget": name} for name in ("read", "write", "POST", "/a", "own"))]
    gate = Gate("acme", tiers, clock=clock, share=1, lanes={})
    session = session_of(Partner(*(ok() for _ in range(4))), clock, gate=gate)
    await session.call(Request("/a"))
    await session.call(Request("/a/1", route="/a/{id}", budget="own"))
    await session.call(Request("/b", "POST", budget="read"))
    await session.call(Request("/b", "POST"))
    assert [tier["used"] for tier in gate.view()["tiers"]] == [4, 3, 1, 2, 1, 1]


async def test_what_an_answer_says_of_the_limit_lowers_it_and_others_spending_is_seen(clock: FakeClock) -> None:
    gate = Gate("acme", ["100/min"], clock=clock, share=1, lanes={})
    headers = {"x-ratelimit-limit-minute": "50", "x-ratelimit-remaining-minute": "9", "x-ratelimit-reset": "30"}
    session = session_of(Partner(ok(**headers)), clock, gate=gate)
    await session.call(Request("/a"))
    tier = gate.view()["tiers"][0]
    assert (tier["limit"], tier["left"], tier["foreign"]) == (50, 9, 40)
    assert (tier["learned"]["source"], tier["learned"]["yaml"]) == ("headers", "limits: {tiers: [50/min]}")


async def test_a_429_teaches_the_scope_and_a_lock_on_one_object_does_not(clock: FakeClock) -> None:
    gate = Gate("acme", ["100/min"], clock=clock, share=1, lanes={})
    partner = Partner(*(ok() for _ in range(20)), httpx.Response(429, headers={"retry-after": "60"}))
    session = session_of(partner, clock, gate=gate)
    for _ in range(20):
        await session.call(Request("/a"))
    with pytest.raises(RateLimitError):
        await session.call(Request("/a"))
    tier = gate.view()["tiers"][0]
    assert tier["budget"] == tier["learned"]["limit"] == 50
    assert gate.view()["pause_reason"].startswith("GET /a answered 429")
    gate.resume()

    def locked(response: Response, now: datetime) -> PartnerError | None:
        return RateLimitError("locked", about="object", status=429) if response.status_code == 429 else None

    other = session_of(Partner(httpx.Response(429)), clock, gate=gate, classify=locked)
    with pytest.raises(RateLimitError) as caught:
        await clock.run(other.call(Request("/a")))
    assert caught.value.retry_at is not None
    assert gate.paused_until is None


async def test_a_body_shorter_than_announced_is_noticed_whatever_the_transport(clock: FakeClock) -> None:
    short = httpx.Response(200, content=b"[1, 2", headers={"content-length": "500", "content-type": "application/json"})
    partner = Partner(short, ok())
    assert (await clock.run(session_of(partner, clock).call(GET))).status_code == 200
    assert len(partner.requests) == 2


async def test_the_windows_run_from_the_head_of_an_answer_not_from_the_end_of_its_body(clock: FakeClock) -> None:
    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            await clock.sleep(10)
            yield b"{}"

    gate = Gate("acme", ["1/s"], clock=clock, share=1)
    partner = Partner(httpx.Response(200, stream=Slow()), ok())
    session = session_of(partner, clock, gate=gate)
    began = clock.monotonic()
    first = asyncio.ensure_future(session.call(GET))
    await clock.settle()
    await clock.run(session.call(GET))
    assert clock.monotonic() - began == pytest.approx(1, abs=0.1)
    assert (await clock.run(first)).elapsed_seconds == pytest.approx(10)


async def test_an_error_is_raised_from_the_top_alone(clock: FakeClock) -> None:
    """The frames below hold headers and URLs, and some printers of tracebacks show the locals of each."""
    for answer in (status(500), status(422), httpx.ReadError("x"), status(429, retry_after="900")):
        error = await failure(clock.run(session_of(Partner(answer), clock).call(GET)))
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/syncd/client/" in frame.filename]
        assert [frame.name for frame in frames] == ["call"]


async def test_metrics_name_the_route_and_never_the_path(clock: FakeClock) -> None:
    labels = {"partner": "acme", "endpoint": "/things/{id}", "status_code": "200"}
    before = counted("integration_api_calls_total", **labels)
    session = session_of(Partner(ok()), clock)
    await session.call(Request("/things/4711?key=1", route="/things/{id}"))
    await session.call(Request(f"{BASE}/link?page=secret"))
    assert counted("integration_api_calls_total", **labels) == before + 1
    exposition = metrics.exposition().decode()
    assert "/4711" not in exposition and "page=secret" not in exposition
    for number in range(300):
        await session.call(Request(f"/flood/{number}"))
    assert sum(b"/flood/" in line for line in metrics.exposition().splitlines() if b"calls_total" in line) <= 100


async def test_a_lost_answer_keeps_its_slot_longer_than_a_complete_one(clock: FakeClock) -> None:
    """R6: as long as the request may still be on its way, the partner may still count it."""
    for answer, expected in ((ok(), 1.0), (httpx.ReadError("x"), 1.0 + 5.0)):
        gate = Gate("acme", ["1/s"], clock=clock, share=1, lost_seconds=5.0)
        session = session_of(Partner(answer, ok()), clock, gate=gate, backoff=BackoffPolicy(attempts=1))
        began = clock.monotonic()
        await clock.run(asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(session.call(POST))])))
        await clock.run(session.call(GET))
        assert clock.monotonic() - began == pytest.approx(expected, abs=0.1)


async def test_a_partner_that_is_down_for_long_is_two_log_lines(clock: FakeClock) -> None:
    down = True
    partner = Partner(lambda request: status(500) if down else ok())
    gate = Gate("down", ["1000/s"], clock=clock, breaker=BreakerPolicy(failures=1000))
    stream = io.StringIO()
    log.configure("debug", "json", stream)
    session = session_of(partner, clock, gate=gate)
    for _ in range(20):
        await failure(clock.run(session.call(GET)))
    down = False
    for _ in range(20):
        await session.call(GET)
    lines = [json.loads(line) for line in stream.getvalue().splitlines() if '"call_answered"' in line]
    told = [(line["event"], line["status"], line["level"]) for line in lines if line["level"] != "debug"]
    assert told == [("call_answered", 500, "info"), ("call_answered", 200, "info")]
    assert len(lines) == len(partner.requests)
    assert {"partner", "integration", "method", "route", "status", "duration_ms", "attempt", "request_id"} <= set(
        lines[0]
    )


async def test_a_call_granted_more_time_may_also_be_silent_for_longer(clock: FakeClock) -> None:
    partner = Partner(ok())
    session = session_of(partner, clock)
    await session.call(GET)
    await session.call(Request("/export", deadline_seconds=600))
    assert [one.extensions["timeout"]["read"] for one in partner.requests] == [25.0, 600]


async def test_time_in_line_counts_even_when_it_was_in_vain(clock: FakeClock) -> None:
    gate = Gate("acme", ["1/300s"], clock=clock, share=1)
    session = session_of(Partner(ok()), clock, gate=gate, patience=Patience(gate_seconds=400))
    await session.call(GET)
    stats = CallStats()
    call = asyncio.ensure_future(session.call(GET, stats=stats))
    await clock.advance(50)
    gate.pause(3600)
    await clock.advance(1)
    assert isinstance(await failure(call), OverBudgetError)
    assert stats.waited_seconds == pytest.approx(50, abs=1.5)
    assert stats.calls == 0


async def test_times_of_an_answer_are_taken_from_the_one_clock() -> None:
    clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC))

    async def slow(request: httpx.Request) -> httpx.Response:
        await clock.sleep(2.5)
        return ok()

    response = await clock.run(session_of(Partner(slow), clock).call(GET))
    assert response.requested_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert response.elapsed_seconds == pytest.approx(2.5)


async def test_a_401_without_another_credential_is_for_a_person(clock: FakeClock) -> None:
    partner = Partner(status(401))
    error = await failure(session_of(partner, clock).call(GET))
    assert isinstance(error, AuthError)
    assert error.permanent
    assert error.hint == "syncd credential test acme/one"
    assert len(partner.requests) == 1
