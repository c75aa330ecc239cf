"""R10: one refresh however many ask, committed before it is used, one replay and never two."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from syncd import metrics
from syncd.client import Session
from syncd.client.auth import OAuth
from syncd.errors import (
    AuthError,
    BreakerOpenError,
    PartnerError,
    RateLimitError,
    RejectedError,
    StoreError,
    TransientError,
)
from syncd.limits import BreakerPolicy, Gate
from syncd.limits.backoff import BackoffPolicy
from syncd.model import Request, Response
from syncd.ports import StoredCredential
from syncd.secrets import fingerprint
from syncd.sync.troubles import explain_error
from syncd.testing.clock import FakeClock
from tests.client.parts import Credentials, Facts, Keeper, Partner, auth_of, failure, session_of

CLIENT = Facts("oauth2_client", token_path="/oauth/token", scope="open-api")
REFRESH = Facts("oauth2_refresh", token_path="/oauth/token")
GET = Request("/things")


class Issuer(Partner):
    """A partner with a token endpoint. Only the newest token is good; old refresh tokens are good for nothing."""

    def __init__(self, clock: FakeClock, *, latency: float = 0.0, life: Any = 3600, rotating: bool = True) -> None:
        super().__init__(self.answer)
        self.clock = clock
        self.latency = latency
        self.life = life
        self.rotating = rotating
        self.issued = 0
        self.asked = 0
        self.good: str | None = None
        self.refresh = "refresh-0"
        self.grants: list[dict[str, str]] = []
        self.token_answers: list[Any] = []
        self.used: list[str] = []
        self.refuse_with = 401
        self.api_latency = 0.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return await self.token(request)
        used = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.used.append(used)
        await self.clock.sleep(self.api_latency)
        if used != self.good:
            return httpx.Response(self.refuse_with, json={"message": "expired"})
        return httpx.Response(200, json={"token": used})

    async def token(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        form = dict(parse_qsl(request.content.decode()))
        self.grants.append(form)
        await self.clock.sleep(self.latency)
        if self.token_answers:
            answer = self.token_answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.issued += 1
        self.good = f"token-{self.issued}"
        body: dict[str, Any] = {"access_token": self.good, "token_type": "Bearer"}
        if self.life is not None:
            body["expires_in"] = self.life
        if form["grant_type"] == "refresh_token" and self.rotating:
            self.refresh = body["refresh_token"] = f"refresh-{self.issued}"
        return httpx.Response(200, json=body)


class Setup:
    def __init__(self, clock: FakeClock, facts: Facts = CLIENT, **more: Any) -> None:
        self.clock = clock
        self.keeper = Keeper()
        self.issuer = Issuer(clock, **more)
        self.facts = facts
        self.gate = Gate("acme", ["100000/s"], clock=clock, concurrency=500)
        self.session, self.secrets = self.another()

    def another(self) -> tuple[Session, Credentials]:
        """A second instance on the same store and partner."""
        auth, secrets = auth_of(
            self.facts,
            self.clock,
            keeper=self.keeper,
            client_id="client-id-1",
            client_secret="client-secret-1",
            refresh_token="refresh-0",
        )
        return session_of(self.issuer, self.clock, auth=auth, gate=self.gate), secrets

    @property
    def stored(self) -> StoredCredential | None:
        return self.keeper.rows.get(("acme/one", self.facts.kind))

    @property
    def source(self) -> Any:
        assert isinstance(self.session.auth, OAuth)
        return self.session.auth.source

    async def call(self, session: Session | None = None) -> Response:
        return await self.clock.run((session or self.session).call(GET))


@pytest.fixture(params=["oauth2_client", "oauth2_refresh"])
def both(request: pytest.FixtureRequest, clock: FakeClock) -> Setup:
    return Setup(clock, CLIENT if request.param == "oauth2_client" else REFRESH, latency=2.0)


async def test_two_hundred_calls_without_a_token_ask_for_one(both: Setup) -> None:
    answers = await both.clock.run(asyncio.gather(*[both.session.call(GET) for _ in range(200)]))
    assert {answer.json()["token"] for answer in answers} == {"token-1"}
    assert (both.issuer.asked, both.keeper.puts) == (1, 1)


async def test_two_hundred_calls_meeting_an_expired_token_refresh_once_and_replay_once(both: Setup) -> None:
    await both.call()
    both.issuer.good, both.issuer.api_latency = "revoked", 0.1  # so that all are on their way when the first is refused
    answers = await both.clock.run(asyncio.gather(*[both.session.call(GET) for _ in range(200)]))
    assert {answer.json()["token"] for answer in answers} == {"token-2"}
    assert both.issuer.asked == 2
    assert len(both.issuer.used) == 1 + 200 + 200
    assert both.session.spent.refreshes == 200


async def test_a_call_is_never_replayed_twice(both: Setup) -> None:
    both.issuer.token_answers = [httpx.Response(200, json={"access_token": f"useless-{n}"}) for n in range(5)]
    error = await failure(both.call())
    assert isinstance(error, AuthError)
    assert error.permanent
    assert both.issuer.used == ["useless-0", "useless-1"]


async def test_a_token_is_used_only_after_it_was_committed(both: Setup) -> None:
    committing = asyncio.Event()

    def before_commit() -> Any:
        assert both.issuer.used == []
        return committing.wait()

    both.keeper.before_commit = before_commit
    call = asyncio.ensure_future(both.session.call(GET))
    await both.clock.advance(10)
    assert both.issuer.asked == 1
    assert both.issuer.used == [] and both.stored is None
    committing.set()
    await both.clock.run(call)
    assert both.stored is not None and both.stored.value["access_token"] == both.issuer.used[0]


async def test_a_refresh_cut_off_by_death_uses_nothing_uncommitted(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH, latency=1.0)
    never = asyncio.Event()
    setup.keeper.before_commit = never.wait
    call = asyncio.ensure_future(setup.session.call(GET))
    await clock.advance(5)
    await clock.run(setup.session.aclose())
    assert isinstance(await failure(call), PartnerError)
    assert isinstance(await failure(clock.run(setup.session.call(GET))), PartnerError)
    assert setup.issuer.used == [] and setup.stored is None and setup.issuer.asked == 1


async def test_the_end_of_a_session_lets_a_refresh_land(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH, latency=3.0)
    call = asyncio.ensure_future(setup.session.call(GET))
    await clock.advance(1)
    await clock.run(setup.session.aclose())
    assert setup.stored is not None and setup.stored.value["refresh_token"] == "refresh-1"
    assert (await clock.run(call)).status_code == 200


async def test_a_reload_amid_a_refresh_does_not_spend_the_refresh_token_twice(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH, latency=3.0)
    session, _ = setup.another()
    both = asyncio.gather(setup.session.call(GET), session.call(GET))
    answers = await clock.run(both)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert setup.issuer.asked == 1


async def test_the_stored_token_of_a_former_life_is_used(both: Setup) -> None:
    await both.call()
    session, _ = both.another()
    await both.call(session)
    assert both.issuer.asked == 1


async def test_somebody_elses_newer_token_is_adopted_instead_of_refreshing(both: Setup) -> None:
    await both.call()
    session, _ = both.another()
    await both.call(session)
    both.issuer.good = "revoked"
    await both.call(session)
    assert both.issuer.asked == 2
    await both.call()
    assert both.issuer.asked == 2
    assert both.issuer.used[-2:] == ["token-1", "token-2"]


async def test_rotating_refresh_tokens_are_stored_with_the_access_token(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH)
    for turn in range(1, 4):
        await setup.call()
        assert setup.stored is not None
        assert setup.stored.value["refresh_token"] == f"refresh-{turn}"
        assert setup.stored.version == turn
        setup.issuer.good = "revoked"
    assert [grant["refresh_token"] for grant in setup.issuer.grants] == ["refresh-0", "refresh-1", "refresh-2"]


async def test_an_endpoint_that_rotates_nothing_keeps_the_refresh_token(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH, rotating=False)
    for _ in range(3):
        await setup.call()
        setup.issuer.good = "revoked"
    assert {grant["refresh_token"] for grant in setup.issuer.grants} == {"refresh-0"}


async def test_an_endpoint_that_rotates_only_sometimes_keeps_the_newest_refresh_token(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH)
    await setup.call()
    setup.issuer.rotating = False
    for _ in range(2):
        setup.issuer.good = "revoked"
        await setup.call()
    assert [grant["refresh_token"] for grant in setup.issuer.grants] == ["refresh-0", "refresh-1", "refresh-1"]


async def test_a_new_refresh_token_from_a_person_ends_the_old_chain(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH)
    await setup.call()
    setup.issuer.refresh, setup.issuer.good = "refresh-by-person", "revoked"
    error = await failure(setup.call())
    assert isinstance(error, AuthError) and error.permanent
    assert "authorise" in error.cause
    setup.secrets.change(refresh_token="refresh-by-person")
    assert (await setup.call()).json() == {"token": "token-2"}
    assert setup.stored is not None
    assert setup.stored.value["made_from"] == fingerprint(setup.secrets("refresh_token"))


async def test_another_client_in_the_configuration_does_not_go_on_with_the_old_ones_token(clock: FakeClock) -> None:
    setup = Setup(clock)
    await setup.call()
    session, secrets = setup.another()
    secrets.change(client_id="client-id-2", client_secret="client-secret-2")
    assert (await setup.call(session)).json() == {"token": "token-2"}
    assert [grant["client_id"] for grant in setup.issuer.grants] == ["client-id-1", "client-id-2"]


async def test_a_token_is_renewed_early_without_anybody_waiting(clock: FakeClock) -> None:
    setup = Setup(clock, latency=20.0, life=3600)
    await setup.call()
    await clock.advance(3600 - 299 - 20)
    began = clock.monotonic()
    assert (await setup.session.call(GET)).json() == {"token": "token-1"}
    assert clock.monotonic() == began
    setup.issuer.latency = 0.0
    await clock.advance(25)
    # The endpoint made token-1 void when it gave token-2 out.
    assert (await setup.session.call(GET)).json() == {"token": "token-2"}
    assert setup.issuer.used[-1] == "token-2"


async def test_the_margin_never_eats_a_short_life(clock: FakeClock) -> None:
    setup = Setup(clock, life=60)
    for _ in range(5):
        await setup.call()
        await clock.advance(8)
    assert setup.issuer.asked == 1
    await clock.advance(10)
    await setup.call()
    await clock.settle()
    assert setup.issuer.asked == 2


async def test_an_expired_token_is_not_tried(clock: FakeClock) -> None:
    setup = Setup(clock, life=600)
    await setup.call()
    await clock.advance(601)
    await setup.call()
    assert setup.issuer.used == ["token-1", "token-2"]


@pytest.mark.parametrize("life", [None, "nonsense", -5, 0, 1e300, True])
async def test_a_life_nobody_can_believe_means_until_refused(clock: FakeClock, life: Any) -> None:
    setup = Setup(clock, life=life)
    await setup.call()
    assert setup.stored is not None and setup.stored.expires_at is None
    await clock.advance(86400 * 30)
    await setup.call()
    assert setup.issuer.asked == 1


async def test_a_life_stated_as_text_counts_from_the_moment_of_asking(clock: FakeClock) -> None:
    setup = Setup(clock, life="3600", latency=30.0)
    began = clock.now()
    await setup.call()
    assert setup.stored is not None
    assert setup.stored.expires_at == began + timedelta(seconds=3600)


async def test_a_stated_moment_is_corrected_by_the_partners_own_clock(clock: FakeClock) -> None:
    setup = Setup(clock)
    theirs = clock.now() + timedelta(hours=2)  # their clock is two hours ahead
    setup.issuer.token_answers = [
        httpx.Response(
            200,
            json={"access_token": "token-x", "expires_at": int((theirs + timedelta(minutes=30)).timestamp())},
            headers={"date": theirs.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")},
        )
    ]
    setup.issuer.good = "token-x"
    await setup.call()
    assert setup.stored is not None
    assert setup.stored.expires_at == clock.now() + timedelta(minutes=30)


async def test_a_cancelled_caller_leaves_the_refresh_to_the_others(both: Setup) -> None:
    calls = [asyncio.ensure_future(both.session.call(GET)) for _ in range(5)]
    await both.clock.advance(1)
    calls[0].cancel()
    calls[3].cancel()
    answers = await both.clock.run(asyncio.gather(*calls, return_exceptions=True))
    assert sum(isinstance(answer, Response) for answer in answers) == 3
    assert both.issuer.asked == 1


async def test_a_refresh_nobody_waits_for_any_more_is_kept(both: Setup) -> None:
    call = asyncio.ensure_future(both.session.call(GET))
    await both.clock.advance(1)
    call.cancel()
    await both.clock.advance(5)
    assert call.cancelled()
    assert both.stored is not None
    assert (await both.call()).json() == {"token": "token-1"}
    assert both.issuer.asked == 1


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), "authorise"),
        (httpx.Response(401, json={"error": "invalid_client"}), "client id"),
        (httpx.Response(403, json={"message": "no"}), "client id or secret"),
        (httpx.Response(200, json={"error": "invalid_client", "error_description": "no"}), "client id"),
        (httpx.Response(404, html="<html>"), "address"),
    ],
)
async def test_a_refusal_of_the_token_endpoint_is_for_a_person_and_costs_one_request(
    clock: FakeClock, answer: httpx.Response, cause: str
) -> None:
    setup = Setup(clock)
    setup.issuer.token_answers = [answer]
    for _ in range(20):
        error = await failure(setup.call())
        assert isinstance(error, AuthError) and error.permanent
        assert cause in error.cause
        assert explain_error("acme", "things", error, clock.now()).action == "syncd credential test acme"
        assert str(error).startswith("GET /things: the token endpoint")
        await clock.advance(10)
    assert setup.issuer.asked == 1
    setup.secrets.change(client_secret="client-secret-2")
    assert (await setup.call()).status_code == 200
    assert setup.issuer.grants[-1]["client_secret"] == "client-secret-2"


async def test_a_refusal_is_asked_again_after_a_while(clock: FakeClock) -> None:
    setup = Setup(clock)
    setup.issuer.token_answers = [httpx.Response(401, json={"error": "invalid_client"})]
    await failure(setup.call())
    await clock.advance(901)
    assert (await setup.call()).status_code == 200


async def test_a_failing_refresh_fails_for_all_who_wait_and_is_not_hammered(clock: FakeClock) -> None:
    setup = Setup(clock, latency=1.0)
    setup.issuer.token_answers = [httpx.Response(503)] * 1000
    errors = await clock.run(asyncio.gather(*[setup.session.call(GET) for _ in range(100)], return_exceptions=True))
    assert all(isinstance(error, TransientError) for error in errors)
    assert len({id(error) for error in errors}) == 100, "one exception object must not be raised in two tasks"
    assert setup.issuer.asked <= 5
    before = setup.issuer.asked
    for _ in range(60):
        await failure(setup.call())
        await clock.advance(1)
    assert setup.issuer.asked - before <= 6
    setup.issuer.token_answers = []
    await clock.advance(130)
    assert (await setup.call()).status_code == 200


async def test_a_429_of_the_token_endpoint_is_honoured(clock: FakeClock) -> None:
    setup = Setup(clock)
    setup.issuer.token_answers = [httpx.Response(429, headers={"retry-after": "1800"})]
    error = await failure(setup.call())
    assert isinstance(error, RateLimitError)
    assert error.retry_at == clock.now() + timedelta(seconds=1800)
    await clock.advance(1000)
    error = await failure(setup.call())
    assert isinstance(error, RateLimitError)
    assert error.retry_at == clock.now() + timedelta(seconds=800)
    assert setup.issuer.asked == 1
    await clock.advance(801)
    assert (await setup.call()).status_code == 200


async def test_a_token_put_there_by_a_person_ends_a_failure_early(clock: FakeClock) -> None:
    setup = Setup(clock)
    setup.issuer.token_answers = [httpx.Response(429, headers={"retry-after": "3000"})]
    await failure(setup.call())
    await setup.keeper.put("acme/one", "oauth2_client", {"access_token": "by-hand"}, expires_at=None, replaces=None)
    setup.issuer.good = "by-hand"
    await clock.advance(6)
    assert (await setup.call()).json() == {"token": "by-hand"}
    assert setup.issuer.asked == 1


async def test_a_token_the_store_could_not_keep_is_kept_and_stored_later_not_asked_again(clock: FakeClock) -> None:
    setup = Setup(clock, REFRESH)
    away = True

    def before_commit() -> None:
        if away:
            raise StoreError("the database is away")

    setup.keeper.before_commit = before_commit
    assert isinstance(await failure(setup.call()), StoreError)
    assert setup.issuer.used == []
    away = False
    assert (await setup.call()).json() == {"token": "token-1"}
    assert setup.issuer.asked == 1
    assert setup.stored is not None and setup.stored.value["refresh_token"] == "refresh-1"


async def test_when_another_instance_stored_first_its_token_counts(both: Setup) -> None:
    async def steal() -> None:
        both.keeper.before_commit = None
        both.issuer.good = "theirs"
        value = {"access_token": "theirs", "made_from": both.source._made_from()}
        await both.keeper.put("acme/one", both.facts.kind, value, expires_at=None, replaces=None)

    both.keeper.before_commit = steal
    assert (await both.call()).json() == {"token": "theirs"}
    assert both.issuer.used == ["theirs"]


async def test_token_requests_spend_from_their_own_budget_through_the_same_gate(clock: FakeClock) -> None:
    setup = Setup(clock)
    tiers = [{"rate": "2/h", "budget": "token", "share": 1}, {"rate": "1000/s", "share": 1}]
    gate = Gate("acme", tiers, clock=clock, concurrency=1, lanes={})
    auth, _ = auth_of(CLIENT, clock, keeper=setup.keeper, client_id="a", client_secret="b")
    session = session_of(setup.issuer, clock, auth=auth, gate=gate)
    for _ in range(2):
        await setup.call(session)
        setup.issuer.good = "revoked"
    error = await failure(setup.call(session))
    assert isinstance(error, RateLimitError)
    assert error.retry_at is not None and error.retry_at > clock.now() + timedelta(minutes=50)
    assert setup.issuer.asked == 2
    used = {tier["name"]: tier["used"] for tier in gate.view()["tiers"]}
    assert used["token 2/3600s"] == 2


async def test_a_sick_token_endpoint_has_a_breaker_of_its_own(clock: FakeClock) -> None:
    setup = Setup(clock)
    gate = Gate("acme", ["1000/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=600))
    auth, _ = auth_of(CLIENT, clock, keeper=setup.keeper, client_id="a", client_secret="b")
    session = session_of(setup.issuer, clock, auth=auth, gate=gate, backoff=BackoffPolicy(attempts=1))
    setup.issuer.token_answers = [httpx.ConnectError("dns")]
    assert isinstance(await failure(setup.call(session)), TransientError)
    await clock.advance(10)
    error = await failure(setup.call(session))
    assert isinstance(error, BreakerOpenError)
    assert "token" in str(error)
    why = "POST token: the name of https://api.acme.example could not be resolved"
    assert [one["error"] for one in gate.view()["breakers"]["token"]["errors"]] == [why]
    assert (
        await clock.run(session_of(setup.issuer, clock, gate=gate, auth=None, classify=lambda r, n: None).call(GET))
    ).status_code == 401


async def test_a_403_that_means_expired_refreshes_and_a_second_one_is_a_missing_permission(clock: FakeClock) -> None:
    def classify(response: Response, now: datetime) -> PartnerError | None:
        return AuthError("answered 403", status=403) if response.status_code == 403 else None

    setup = Setup(clock)
    setup.issuer.refuse_with = 403
    session = session_of(setup.issuer, clock, auth=setup.session.auth, gate=setup.gate, classify=classify)
    await setup.call(session)
    setup.issuer.good = "revoked"
    assert (await setup.call(session)).status_code == 200
    assert setup.issuer.asked == 2
    # Now a route that is forbidden whatever the token: it costs one token, once, and the integration goes on.
    forbidden = Request("/forbidden")
    setup.issuer.answers = [self_forbidding(setup.issuer)]
    for _ in range(3):
        error = await failure(clock.run(session.call(forbidden)))
        assert isinstance(error, RejectedError)
    assert setup.issuer.asked == 3
    assert (await setup.call(session)).status_code == 200


def self_forbidding(issuer: Issuer) -> Any:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/forbidden"):
            return httpx.Response(403, json={"message": "no"})
        return await issuer.answer(request)

    return answer


@pytest.mark.parametrize(
    ("client", "check"),
    [
        (
            "form",
            lambda request, form: form["client_secret"] == "client-secret-1" and "authorization" not in request.headers,
        ),
        (
            "basic",
            lambda request, form: (
                "client_secret" not in form
                and request.headers["authorization"]
                == "Basic " + base64.b64encode(b"client-id-1:client-secret-1").decode()
            ),
        ),
    ],
)
async def test_the_client_proves_itself_as_the_endpoint_wants(clock: FakeClock, client: str, check: Any) -> None:
    setup = Setup(
        clock, Facts("oauth2_client", token_path="/oauth/token", scope="a b", client=client, extra={"audience": "x"})
    )
    await setup.call()
    request = setup.issuer.requests[0]
    form = setup.issuer.grants[0]
    assert check(request, form)
    assert (request.method, str(request.url)) == ("POST", "https://api.acme.example/oauth/token")
    assert (form["grant_type"], form["scope"], form["audience"]) == ("client_credentials", "a b", "x")


async def test_a_token_request_is_never_redirected(clock: FakeClock) -> None:
    setup = Setup(clock)
    setup.issuer.token_answers = [httpx.Response(307, headers={"location": "https://evil.example/"})]
    error = await failure(setup.call())
    assert isinstance(error, AuthError)
    assert [request.url.host for request in setup.issuer.requests] == ["api.acme.example"]


async def test_a_slow_token_endpoint_has_a_timeout_of_its_own(clock: FakeClock) -> None:
    setup = Setup(clock, latency=40.0)
    assert (await setup.call()).status_code == 200, "40 s is within the 45 s of a token request"
    setup = Setup(clock, latency=50.0)
    error = await failure(setup.call())
    assert isinstance(error, TransientError)


async def test_tokens_are_counted(clock: FakeClock) -> None:
    def total(result: str) -> float:
        return (
            metrics.REGISTRY.get_sample_value(
                "syncd_token_refreshes_total", {"integration": "acme/one", "result": result}
            )
            or 0.0
        )

    before = total("ok"), total("refused")
    setup = Setup(clock)
    await setup.call()
    setup.issuer.good, setup.issuer.token_answers = "revoked", [httpx.Response(400, json={"error": "invalid_client"})]
    await failure(setup.call())
    assert (total("ok"), total("refused")) == (before[0] + 1, before[1] + 1)


async def test_a_stored_row_does_not_show_its_token(both: Setup) -> None:
    await both.call()
    assert "token-1" not in repr(both.stored) + repr(both.source.held) + repr(vars(both.source))


async def test_an_endpoint_that_refuses_and_says_so_with_200_wants_a_person(clock: FakeClock) -> None:
    setup = Setup(clock)
    said = {"success": False, "message": "User who approved this connection is not active anymore"}
    setup.issuer.token_answers = [httpx.Response(200, json=said)]
    with pytest.raises(AuthError, match="not active") as found:
        await setup.call()
    assert found.value.permanent


async def test_a_firewall_before_the_endpoint_is_no_word_about_the_credential(clock: FakeClock) -> None:
    setup = Setup(clock)
    page = httpx.Response(
        403, text="<!DOCTYPE html><title>Access denied</title>", headers={"content-type": "text/html"}
    )
    setup.issuer.token_answers = [page]
    await setup.call()
    assert setup.issuer.asked == 2
    setup.issuer.token_answers = [page] * 9
    setup.issuer.good = "another"
    with pytest.raises(TransientError, match="HTML page"):
        await setup.call()
