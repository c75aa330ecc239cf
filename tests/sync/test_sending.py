"""One push and its answers, one after the other: what is sent, what is asked, and what its row says in the end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from syncd import drivers
from syncd.errors import (
    AuthError,
    BreakerOpenError,
    GoneError,
    OwnershipError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    StoreError,
    TransientError,
)
from syncd.kit import Headers, Request, Response
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import NewPush, PushRow, Store
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.flow import Flow
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.proofs import Proofs
from syncd.sync.push_outcomes import may_have_arrived
from syncd.sync.schedule import Schedule
from syncd.sync.sending import Sender
from syncd.sync.target import Target

SCOPE = "plain/acme"
PUSHES: dict[str, Any] = {
    "natural": {"method": "PUT", "path": "/things/{id}", "idempotency": "natural", "record": ""},
    "keyed": {"path": "/things", "idempotency": "header:Key", "remembers": "1h", "record": ""},
    "looked": {
        "path": "/notes",
        "idempotency": "look_up",
        "look_up": {"path": "/notes", "same": {"ref": "{key}"}, "after": "2s"},
    },
    "blind": {"path": "/shouts", "fields": {"text": {"as": "text", "required": True}}},
    "move": {
        "method": "PUT",
        "path": "/things/{id}",
        "fields": {"n": "integer"},
        "transitions": {"field": "n", "allowed": {"1": ["2"], "2": []}},
        "idempotency": "natural",
        "record": "",
    },
    "settle": {
        "method": "PUT",
        "path": "/things/{id}",
        "fields": {"n": {"as": "integer"}, "word": {"words": {"two": "2"}}},
        "transitions": {"field": "n", "allowed": {"1": ["2"], "2": []}},
        "idempotency": "natural",
        "look_first": True,
        "look_up": {"same": {"n": "{data.n}"}},
        "record": "",
    },
    "make": {
        "path": "/things",
        "body": {"title": "{data.title}", "ours": "{key}"},
        "idempotency": "look_up",
        "look_up": {
            "path": "/things",
            "params": {"made_after": "{sent}", "title": "{data.title}"},
            "records": "items",
            "made": "made",
            "each": True,
            "same": {"ours": "{key}"},
            "after": "0s",
        },
        "made": "id",
    },
    "say": {
        "path": "/things",
        "body": {"title": "{data.title}"},
        "idempotency": "look_up",
        "look_up": {"path": "/things", "records": "items", "same": {"title": "{data.title}"}, "after": "0s"},
        "made": "id",
    },
    "cautious": {
        "method": "PUT",
        "path": "/things/{id}",
        "fields": {"word": "text"},
        "expects": {"if_n": "n"},
        "idempotency": "natural",
        "record": "",
    },
    "set_if": {
        "method": "PUT",
        "path": "/things/{id}",
        "body": {"n": "{data.n}"},
        "fields": {"n": "integer"},
        "expects": {"if_n": "n"},
        "idempotency": "natural",
        "look_up": {"same": {"n": "{data.n}"}, "after": "0s"},
    },
    "cautious_note": {
        "path": "/things/{id}/notes",
        "fields": {"word": "text"},
        "expects": {"if_n": "n"},
        "idempotency": "look_up",
        "look_up": {"path": "/notes", "same": {"ref": "{key}"}, "after": "0s"},
    },
    "remove": {"method": "DELETE", "path": "/things/{id}", "empty": True, "idempotency": "natural"},
    "untag": {"method": "DELETE", "path": "/things/{id}/tags/red", "empty": True, "idempotency": "natural"},
    "drop": {
        "path": "/drop",
        "body": {"id": "{id}"},
        "deletes": True,
        "settled": ["no such thing"],
        "idempotency": "natural",
    },
    "strike": {
        "path": "/strike",
        "body": {"id": "{id}"},
        "deletes": True,
        "idempotency": "natural",
        "look_up": {"path": "/things", "records": "items", "same": {"id": "{id}"}, "after": "0s"},
    },
    "said": {"method": "PUT", "path": "/things/{id}", "idempotency": "natural", "settled": [404]},
    "sure": {"method": "PUT", "path": "/things/{id}", "idempotency": "natural", "confirm": {"n": "{data.n}"}},
}

DOUBT = TransientError("the connection broke", unknown=True)
REFUSED = TransientError("refused the connection")
BUSY = TransientError("answered 503", status=503, unknown=True)

Step = Exception | dict[str, Any] | str


class Partner:
    """A session that answers as it was told: an error, a body, or an error before anything left."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.calls: list[Request] = []

    async def call(
        self,
        request: Request,
        *,
        lane: Lane = Lane.NORMAL,
        leaving: Callable[[], Awaitable[None]] | None = None,
        judging: Any = None,
    ) -> Response:
        response = await self._answer(request, lane, leaving)
        if judging is not None:
            async with judging():
                pass
        return response

    async def _answer(self, request: Request, lane: Lane, leaving: Callable[[], Awaitable[None]] | None) -> Response:
        assert lane is Lane.HIGH
        self.calls.append(request)
        step = self.steps.pop(0)
        early = isinstance(step, BreakerOpenError)
        if leaving is not None and not early:
            await leaving()
        if isinstance(step, Exception):
            raise step
        body = step.encode() if isinstance(step, str) else orjson.dumps(step)
        return Response(200, Headers(), body)


class Played(SimpleNamespace):
    """An account with no more than a sender asks of it."""

    write = Account.write


class Stage:
    """One integration that owns its scope, and its outbox."""

    def __init__(self, store: Store, fence: int, partner: Partner) -> None:
        self.store = store
        self.partner = partner
        spec = {
            "resources": {
                "things": {
                    "path": "/things",
                    "one": "/things/{id}",
                    "fields": {"n": "n"},
                    "pushes": PUSHES,
                }
            }
        }
        driver = drivers.load("rest", rest=spec, partner="plain")
        resource = driver.spec.resources["things"]
        plan = ResourcePlan(resource, Strategy.FULL, Schedule(every_seconds=900))
        self.account: Any = Played(
            name="acme", partner="plain", scope=SCOPE, fence=fence, driver=driver, plans={"things": plan},
            session=partner, store=store, clock=store._database.clock, health=Health("acme"), flow=Flow(),
            processor=Processor(driver, "acme", {"things": Target(resource)}, store), history={},
            moved=lambda: None, tasks_added=lambda: None, count=lambda *_: None, proofs=Proofs(),
        )  # fmt: skip
        self.sender = Sender(self.account, RetryPolicy(attempts=4, first_seconds=0.001, longest_seconds=0.001))

    @classmethod
    async def open(cls, store: Store, *steps: Step) -> Stage:
        fence = await store.leases.acquire(SCOPE, "one", 3600)
        assert fence is not None
        return cls(store, fence, Partner(*steps))

    async def put(self, kind: str, data: dict[str, Any] | None = None, **more: Any) -> int:
        external_id = more.pop("external_id", "t1")
        push = NewPush("acme", "things", kind, data or {}, external_id=external_id, idempotency_key="k1", **more)
        made, _ = await self.store.outbox.put(push)
        return made

    async def send(self, push_id: int) -> PushRow:
        """Take it, now whatever its time is, send it, and see what became of it."""
        await self.store._database.execute("UPDATE syncd.outbox SET not_before = NULL")
        push = await self.store.outbox.take("acme", push_id, scope=SCOPE, fence=self.account.fence)
        assert push is not None
        await self.sender.send(push)
        found = await self.store.outbox.get("acme", push_id)
        assert found is not None
        return found

    @property
    def methods(self) -> list[str]:
        return [call.method for call in self.partner.calls]


async def test_an_answer_with_the_record_ends_it_and_is_stored(store: Store):
    stage = await Stage.open(store, {"id": "new", "n": 5})
    row = await stage.send(await stage.put("keyed", {"n": 5}, external_id=None, cause="order 7"))
    assert (row.state, row.external_id, row.attempts) == ("done", "new", 1)
    assert row.answer == {"status": 200, "record": "new", "body": {"id": "new", "n": 5}}
    stored = await store.records.get("acme", "things", "new")
    assert stored is not None
    assert (stored.data, stored.cause) == ({"n": 5}, f"push {row.id}: order 7")
    assert stage.partner.calls[0].headers == {"Key": "k1"}


async def test_without_a_record_in_the_answer_it_is_read_anew(store: Store):
    stage = await Stage.open(store, {"ok": True})
    row = await stage.send(await stage.put("looked"))
    assert row.state == "done"
    [task] = await store.tasks.list("acme")
    assert (task.kind, task.external_id, task.lane) == ("fetch", "t1", Lane.HIGH)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (RateLimitError("429", status=429), False),
        (AuthError("401", status=401), False),
        (REFUSED, True),
        (TransientError("423", status=423), True),
    ],
)
async def test_what_cannot_have_arrived_waits_and_is_sent_again(store: Store, error: Exception, counts: bool):
    stage = await Stage.open(store, error, {"id": "t1", "n": 1})
    number = await stage.put("natural")
    row = await stage.send(number)
    assert (row.state, row.unsure_since, row.attempts) == ("waiting", None, int(counts))
    assert (await stage.send(number)).state == "done"
    assert stage.methods == ["PUT", "PUT"]


def of_one_of_several(stage: Stage) -> None:
    """Its things belong to one of several yards that an option names."""
    plan = stage.account.plans["things"]
    each = Each(param="yard", option="yards", values=("a", "b"))
    stage.account.plans["things"] = dataclasses.replace(
        plan, resource=plan.resource.model_copy(update={"each": (each,)})
    )
    stage.account.options = {}
    stage.account.driver.test = lambda options: Request("/me")


@pytest.mark.parametrize("kind", ["blind", "keyed"])
async def test_a_credential_that_one_of_several_refuses_under_status_200_has_changed_nothing(store: Store, kind: str):
    stage = await Stage.open(store, AuthError("the access token is invalid", status=200), {})
    of_one_of_several(stage)
    row = await stage.send(await stage.put(kind, {"text": "x"}))
    assert (row.state, row.unsure_since) == ("waiting", None)
    assert (row.reason or "").startswith("the access token is invalid (the credential itself is let in)")


async def test_cut_short_while_it_is_asked_whose_a_refused_credential_is_it_goes_back_untouched(store: Store):
    stage = await Stage.open(store, AuthError("401", status=401))
    of_one_of_several(stage)
    asked, call = asyncio.Event(), stage.partner.call

    async def hang(request: Request, **more: Any) -> Response:
        if request.path == "/me":
            asked.set()
            await asyncio.Event().wait()
        return await call(request, **more)

    stage.partner.call = hang  # type: ignore[method-assign]
    number = await stage.put("blind", {"text": "x"})
    sending = asyncio.create_task(stage.send(number))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    row = await store.outbox.get("acme", number)
    assert row is not None
    assert (row.state, row.unsure_since, row.attempts) == ("waiting", None, 0)


@pytest.mark.parametrize(
    ("error", "state"),
    [(GoneError("404", status=404), "done"), (RejectedError("422", status=422), "buried"), (BUSY, "unknown")],
)
async def test_a_refusal_that_leaves_nothing_to_do_ends_it_well(store: Store, error: Exception, state: str):
    stage = await Stage.open(store, error)
    row = await stage.send(await stage.put("said"))
    assert row.state == state
    assert (row.answer or {}).get("settled") == ("404" if state == "done" else None)


async def test_what_could_not_be_noted_as_leaving_never_left(store: Store):
    stage = await Stage.open(store, {"ok": True}, {"ok": True})
    number = await stage.put("blind", {"text": "x"})
    leaving = store.outbox.leaving

    async def away(*_: Any) -> None:
        store.outbox.leaving = leaving  # type: ignore[method-assign]
        raise StoreError("the database is away")

    store.outbox.leaving = away  # type: ignore[method-assign]
    row = await stage.send(number)
    assert (row.state, row.unsure_since, row.attempts) == ("waiting", None, 0)
    assert (await stage.send(number)).state == "done"


@pytest.mark.parametrize("now", [True, False])
async def test_a_suspect_whose_answer_meets_a_database_that_is_away_is_not_sent_on_a_guess(store: Store, now: bool):
    stage = await Stage.open(store, {"ref": "k1"}, {"ref": "k1"})
    number = await stage.put("looked")
    await store._database.execute("UPDATE syncd.outbox SET suspicion = 2, lost = 2, attempts = 2")
    handles = store.outbox.handles
    times = [2]

    async def away(push: PushRow, *, now: bool) -> None:
        row = await store.outbox.get("acme", push.id)
        assert row is not None
        if row.sent_at is not None and times[0] and now is away_when:
            times[0] -= 1
            raise StoreError("the database is away")
        await handles(push, now=now)

    away_when, clock = now, store._database.clock

    async def no_time(_: float) -> None:
        return

    stage.account.clock = SimpleNamespace(now=clock.now, random=clock.random, sleep=no_time)
    store.outbox.handles = away  # type: ignore[method-assign]
    row = await stage.send(number)
    if row.state != "done":
        assert (row.state, row.unsure_since is not None) == ("unknown", True)
        await store._database.execute("UPDATE syncd.outbox SET sent_at = sent_at - interval '3 s'")
        row = await stage.send(number)
    assert row.state == "done"
    assert times == [0]
    assert stage.methods.count("POST") == 1


async def test_what_is_no_longer_ours_is_said_to_whoever_has_to_free_it(store: Store):
    stage = await Stage.open(store, {"id": "t1"})
    number = await stage.put("natural")
    push = await store.outbox.take("acme", number, scope=SCOPE, fence=stage.account.fence)
    assert push is not None
    assert await store.leases.acquire(SCOPE, "one", 3600) == stage.account.fence + 1
    with pytest.raises(OwnershipError):
        await stage.sender.send(push)
    found = await store.outbox.get("acme", number)
    assert found is not None
    assert (found.state, found.sent_at) == ("taken", None)


async def test_an_answer_is_stored_while_the_lease_is_believed_to_have_run_out(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 7})
    number = await stage.put("natural")
    push = await store.outbox.take("acme", number, scope=SCOPE, fence=stage.account.fence)
    assert push is not None

    class Ousted(Played):
        @property
        def fence(self) -> int:
            raise OwnershipError("this instance does not own the scope")

    known = {name: each for name, each in vars(stage.account).items() if name != "fence"}
    await Sender(Ousted(**known)).send(push)  # type: ignore[arg-type]
    found = await store.outbox.get("acme", number)
    assert found is not None
    assert found.state == "done"
    stored = await store.records.get("acme", "things", "t1")
    assert stored is not None
    assert stored.data == {"n": 7}


async def test_a_state_that_is_not_known_here_is_read_before_it_is_judged(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2}, {"id": "t2", "n": 1}, {"id": "t2", "n": 2})
    row = await stage.send(await stage.put("move", {"n": 1}))
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, ["GET"])
    stored = await store.records.get("acme", "things", "t1")
    assert stored is not None
    assert stored.data == {"n": 2}
    push = NewPush("acme", "things", "move", {"n": 2}, external_id="t2", idempotency_key="k2")
    number, _ = await store.outbox.put(push)
    assert (await stage.send(number)).state == "done"
    assert stage.methods == ["GET", "GET", "PUT"]


async def test_of_a_record_the_partner_does_not_have_no_state_is_sent(store: Store):
    stage = await Stage.open(store, GoneError("404", status=404))
    row = await stage.send(await stage.put("move", {"n": 2}))
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, ["GET"])
    assert row.reason is not None
    assert "plain has no such record" in row.reason


async def test_a_push_waits_until_the_state_it_needs_can_be_read(store: Store):
    stage = await Stage.open(store, REFUSED, {"id": "t1", "n": 1}, {"id": "t1", "n": 2})
    number = await stage.put("move", {"n": 2})
    row = await stage.send(number)
    assert (row.state, row.sent_at) == ("waiting", None)
    assert (await stage.send(number)).state == "done"
    assert stage.methods == ["GET", "GET", "PUT"]


async def test_where_no_record_can_be_read_its_state_is_left_to_the_partner(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    plan = stage.account.plans["things"]
    blind = plan.resource.model_copy(update={"one": None})
    stage.account.plans["things"] = dataclasses.replace(plan, resource=blind)
    assert (await stage.send(await stage.put("move", {"n": 2}))).state == "done"
    assert stage.methods == ["PUT"]


async def test_a_kind_without_states_needs_no_read(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    assert (await stage.send(await stage.put("natural", {"n": 2}))).state == "done"
    assert stage.methods == ["PUT"]


async def test_while_a_breaker_is_open_nothing_leaves_and_nothing_is_counted(store: Store):
    clock = store._database.clock
    stage = await Stage.open(store, BreakerOpenError("open", retry_at=clock.now() + timedelta(seconds=9)))
    row = await stage.send(await stage.put("blind", {"text": "x"}))
    assert (row.state, row.attempts, row.sent_at) == ("waiting", 0, None)


@pytest.mark.parametrize("error", [DOUBT, BUSY, TransientError("408", status=408), PayloadError("odd")])
async def test_a_lost_answer_is_answered_by_the_same_again_where_that_is_harmless(store: Store, error: Exception):
    for kind in ("natural", "keyed"):
        stage = await Stage.open(store, error, {"id": "t1", "n": 1})
        await store._database.execute("DELETE FROM syncd.outbox")
        number = await stage.put(kind)
        row = await stage.send(number)
        assert row.state == "unknown"
        assert row.unsure_since is not None
        assert (await stage.send(number)).state == "done"
        assert stage.partner.calls[0] == stage.partner.calls[1]
        await store.leases.release(SCOPE, "one", stage.account.fence)


async def test_where_it_is_not_it_is_looked_up_but_not_too_soon(store: Store):
    stage = await Stage.open(store, DOUBT, GoneError("404", status=404), {"ok": True})
    number = await stage.put("looked")
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, row.attempts, stage.methods) == ("unknown", 1, ["POST"]), "it may still be on its way"
    await store._database.execute("UPDATE syncd.outbox SET sent_at = sent_at - interval '3 s'")
    row = await stage.send(number)
    assert (row.state, stage.methods) == ("done", ["POST", "GET", "POST"])


async def test_what_is_found_there_is_not_sent_again(store: Store):
    stage = await Stage.open(store, DOUBT, {"ref": "k1"})
    number = await stage.put("looked")
    await stage.send(number)
    await store._database.execute("UPDATE syncd.outbox SET sent_at = sent_at - interval '3 s'")
    row = await stage.send(number)
    assert (row.state, stage.methods) == ("done", ["POST", "GET"])
    assert row.answer == {"status": 200, "record": "t1", "looked_up": True}


@pytest.mark.parametrize("trouble", ["no JSON", RejectedError("400", status=400), TransientError("503", status=503)])
async def test_a_look_up_that_fails_is_made_again_and_nothing_is_sent_meanwhile(store: Store, trouble: Step):
    stage = await Stage.open(store, DOUBT, trouble, trouble, trouble)
    number = await stage.put("looked")
    await stage.send(number)
    await store._database.execute("UPDATE syncd.outbox SET sent_at = sent_at - interval '3 s'")
    states = [(await stage.send(number)).state for _ in range(3)]
    assert states == ["unknown", "unknown", "buried"]
    assert stage.methods == ["POST", "GET", "GET", "GET"]
    row = await store.outbox.get("acme", number)
    assert row is not None
    assert row.unsure_since is not None, "a replay looks first, too"


async def test_where_nothing_tells_it_is_a_letter_that_says_so(store: Store):
    stage = await Stage.open(store, BUSY)
    row = await stage.send(await stage.put("blind", {"text": "x"}))
    assert (row.state, row.unsure_since) == ("buried", None)
    [letter] = await store.dead_letters.list("acme")
    assert letter.error_class == "UnknownOutcomeError"
    assert "nobody knows whether it arrived" in letter.message
    assert letter.origin_id == str(row.id)


async def test_a_key_the_partner_has_forgotten_is_not_repeated(store: Store):
    stage = await Stage.open(store, DOUBT)
    number = await stage.put("keyed")
    await stage.send(number)
    await store._database.execute("UPDATE syncd.outbox SET unsure_since = unsure_since - interval '2 hours'")
    row = await stage.send(number)
    assert (row.state, stage.methods) == ("buried", ["POST"])
    assert "nobody knows" in (row.reason or "")


async def test_a_refusal_is_a_letter_at_once_unless_an_earlier_try_may_be_why(store: Store):
    refusal = RejectedError("422: no such status", status=422)
    stage = await Stage.open(store, refusal)
    row = await stage.send(await stage.put("natural"))
    assert (row.state, row.unsure_since, row.attempts) == ("buried", None, 1)
    await store._database.execute("DELETE FROM syncd.outbox")
    await store.leases.release(SCOPE, "one", stage.account.fence)
    stage = await Stage.open(store, DOUBT, RejectedError("409: in progress", status=409), {"id": "t1"})
    number = await stage.put("keyed")
    assert [(await stage.send(number)).state for _ in range(3)] == ["unknown", "unknown", "done"]


async def test_what_the_driver_refuses_is_never_sent(store: Store):
    stage = await Stage.open(store)
    row = await stage.send(await stage.put("blind", {"text": 5}))
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, [])
    assert row.reason == "field text: expected text, got an integer"


async def test_what_is_not_configured_any_more_is_a_letter_too(store: Store):
    stage = await Stage.open(store)
    stage.account.plans.clear()
    row = await stage.send(await stage.put("natural"))
    assert row.state == "buried"
    assert "has no resource 'things'" in (row.reason or "")


async def test_tries_end_and_then_it_is_a_letter(store: Store):
    stage = await Stage.open(store, *[REFUSED] * 4)
    number = await stage.put("natural")
    assert [(await stage.send(number)).state for _ in range(4)] == ["waiting", "waiting", "waiting", "buried"]
    await store._database.execute("DELETE FROM syncd.outbox")
    await store.leases.release(SCOPE, "one", stage.account.fence)
    stage = await Stage.open(store, *[DOUBT] * 4)
    number = await stage.put("natural")
    rows = [await stage.send(number) for _ in range(4)]
    assert [row.state for row in rows] == ["unknown", "unknown", "unknown", "buried"]
    assert rows[-1].unsure_since is not None


async def test_an_answer_that_shows_another_state_proves_nothing(store: Store):
    stage = await Stage.open(store, {"n": 4}, {"n": 5})
    number = await stage.put("sure", {"n": 5})
    row = await stage.send(number)
    assert row.state == "unknown"
    assert "does not show the change" in (row.reason or "")
    assert (await stage.send(number)).state == "done"


async def test_an_answer_in_pieces_is_asked_for_again_and_in_the_end_taken_for_what_it_is(store: Store):
    stage = await Stage.open(store, *['{"id": '] * 10)
    number = await stage.put("natural")
    assert [(await stage.send(number)).state for _ in range(3)] == ["unknown", "unknown", "done"]
    [task] = await store.tasks.list("acme")
    assert task.kind == "fetch"


async def test_a_whole_answer_that_is_not_as_described_ends_it_and_the_record_is_read_anew(store: Store):
    stage = await Stage.open(store, {"no id": 1})
    row = await stage.send(await stage.put("natural"))
    assert (row.state, row.attempts) == ("done", 1)
    [task] = await store.tasks.list("acme")
    assert (task.kind, task.external_id) == ("fetch", "t1")


async def test_its_time_is_over_before_it_left_or_while_nobody_knew(store: Store):
    past = store._database.clock.now() - timedelta(seconds=1)
    stage = await Stage.open(store)
    row = await stage.send(await stage.put("natural", expires_at=past))
    assert (row.state, stage.methods) == ("dropped", [])
    await store._database.execute("DELETE FROM syncd.outbox")
    await store.leases.release(SCOPE, "one", stage.account.fence)
    for answer, ended in (({"ref": "k1"}, "done"), ({"ref": "other"}, "dropped")):
        stage = await Stage.open(store, DOUBT, answer)
        number = await stage.put("looked")
        await stage.send(number)
        await store._database.execute(
            "UPDATE syncd.outbox SET expires_at = created_at, sent_at = sent_at - interval '3 s'"
        )
        assert (await stage.send(number)).state == ended
        await store._database.execute("DELETE FROM syncd.outbox")
        await store.leases.release(SCOPE, "one", stage.account.fence)


async def test_a_state_that_may_be_stale_is_read_before_it_is_held_against_a_push(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    assert (await stage.send(await stage.put("natural", {"n": 2}))).state == "done"
    await store._database.execute("DELETE FROM syncd.outbox")
    # Somebody has moved it back at the partner; the copy has not heard of it.
    stage.partner.steps += [{"id": "t1", "n": 1}, {"id": "t1", "n": 2}]
    row = await stage.send(await stage.put("move", {"n": 3}))
    assert (row.state, row.sent_at) == ("buried", None)
    assert row.reason == "field n: 1 cannot become 3"
    stored = await store.records.get("acme", "things", "t1")
    assert stored is not None
    assert stored.data == {"n": 1}, "what was read is kept"
    await store._database.execute("DELETE FROM syncd.outbox")
    assert (await stage.send(await stage.put("move", {"n": 2}))).state == "done"
    assert stage.methods == ["PUT", "GET", "PUT"]


async def test_a_state_is_read_anew_though_a_poll_came_after_the_push(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    assert (await stage.send(await stage.put("natural", {"n": 2}))).state == "done"
    await store._database.execute("DELETE FROM syncd.outbox")
    number = await stage.put("move", {"n": 1})
    await store._database.execute("UPDATE syncd.records SET fetched_at = now() + interval '1 s'")
    stage.partner.steps += [{"id": "t1", "n": 7}, {"id": "t1", "n": 1}]
    assert (await stage.send(number)).state == "done", "only our copy was in a state that refuses it"
    assert stage.methods == ["PUT", "GET", "PUT"]


async def test_what_is_so_already_is_not_sent_and_what_is_not_is_judged_by_what_was_just_read(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    row = await stage.send(await stage.put("settle", {"n": 2}))
    assert (row.state, row.sent_at, stage.methods) == ("done", None, ["GET"])
    assert row.answer == {"status": 200, "record": "t1", "looked_up": True}
    # Our copy would let it become 2: at the partner it is 2 already, and then it stays so.
    await store._database.execute("DELETE FROM syncd.outbox")
    await store._database.execute("UPDATE syncd.records SET data = '{\"n\": 1}'")
    stage.partner.steps += [{"id": "t1", "n": 2}]
    row = await stage.send(await stage.put("settle", {"n": 3}))
    assert (row.state, row.reason, row.sent_at) == ("buried", "field n: 2 cannot become 3", None)
    await store._database.execute("DELETE FROM syncd.outbox")
    stage.partner.steps += [{"id": "t1", "n": 1}, {"id": "t1", "n": 2}]
    assert (await stage.send(await stage.put("settle", {"n": 2}))).state == "done"
    assert stage.methods == ["GET", "GET", "GET", "PUT"], "one reading serves both questions"


async def test_what_may_be_repeated_and_leaves_a_trace_is_looked_up_before_it_is(store: Store):
    for shown, methods in ((2, ["GET", "PUT", "GET"]), (1, ["GET", "PUT", "GET", "PUT"])):
        stage = await Stage.open(store, {"id": "t1", "n": 1}, DOUBT, {"id": "t1", "n": shown}, {"id": "t1", "n": 2})
        await store._database.execute("DELETE FROM syncd.outbox")
        number = await stage.put("settle", {"n": 2})
        assert (await stage.send(number)).state == "unknown"
        assert (await stage.send(number)).state == "done"
        assert stage.methods == methods
        await store.leases.release(SCOPE, "one", stage.account.fence)


async def test_what_was_made_is_known_by_its_id_alone_and_read(store: Store):
    stage = await Stage.open(store, {"id": 17})
    row = await stage.send(await stage.put("make", {"title": "x"}, external_id=None))
    assert (row.state, row.external_id) == ("done", "17")
    [task] = await store.tasks.list("acme")
    assert (task.kind, task.external_id) == ("fetch", "17")
    assert await store.records.get("acme", "things", "17") is None, "an id is no record"


async def test_one_that_a_list_does_not_tell_apart_is_looked_for_among_those_that_may_be_it(store: Store):
    stage = await Stage.open(store, DOUBT)
    number = await stage.put("make", {"title": "x"}, external_id=None)
    assert (await stage.send(number)).state == "unknown"
    listed = [
        {"id": "old", "made": "2026-01-01T00:00:00Z"},
        {"id": "other", "made": "2999-01-01T00:00:00Z"},
        {"id": "ours", "made": "2999-01-01T00:00:00Z", "n": 1},
    ]
    stage.partner.steps += [{"items": listed}, {"id": "other", "ours": "k9"}, {"id": "ours", "ours": "k1", "n": 5}]
    row = await stage.send(number)
    assert (row.state, row.external_id, row.answer) == (
        "done",
        "ours",
        {"status": 200, "record": "ours", "looked_up": True},
    )
    assert [call.path for call in stage.partner.calls] == ["/things", "/things", "/things/other", "/things/ours"]
    asked = dict(stage.partner.calls[1].params)
    assert asked["title"] == "x" and asked["made_after"] < f"{store._database.clock.now():%Y-%m-%dT%H:%M:%S}.000Z"
    stored = await store.records.get("acme", "things", "ours")
    assert stored is not None
    assert stored.data == {"n": 5}


async def test_too_many_that_may_be_it_are_left_to_a_person_and_none_lets_it_be_sent(store: Store):
    for count, state in ((21, "buried"), (0, "done")):
        stage = await Stage.open(store, DOUBT)
        await store._database.execute("DELETE FROM syncd.outbox")
        number = await stage.put("make", {"title": "x"}, external_id=None)
        assert (await stage.send(number)).state == "unknown"
        stage.partner.steps += [{"items": [{"id": str(one)} for one in range(count)]}, {"id": "new"}]
        row = await stage.send(number)
        assert row.state == state, row.reason
        assert stage.methods == (["POST", "GET"] if count else ["POST", "GET", "POST"])
        await store.leases.release(SCOPE, "one", stage.account.fence)


async def test_what_another_push_of_the_same_words_made_is_not_what_this_one_made(store: Store):
    stage = await Stage.open(store, {"id": "a"}, DOUBT)
    first = await stage.send(await stage.put("say", {"title": "twice"}, external_id=None))
    push = NewPush("acme", "things", "say", {"title": "twice"}, idempotency_key="k2")
    second, _ = await store.outbox.put(push)
    assert (first.external_id, (await stage.send(second)).state) == ("a", "unknown")
    stage.partner.steps += [{"items": [{"id": "a", "title": "twice"}]}, {"id": "b"}]
    row = await stage.send(second)
    assert (row.state, row.external_id) == ("done", "b"), "two were asked for, and two are there"
    assert stage.methods == ["POST", "POST", "GET", "POST"]


async def test_a_driver_that_crashes_costs_its_push_and_nobody_elses(store: Store):
    stage = await Stage.open(store, {"id": "t1"})

    def crash(*_: Any) -> None:
        raise ZeroDivisionError("a fault of the driver's")

    stage.account.driver.check = crash
    row = await stage.send(await stage.put("natural"))
    assert row.state == "buried"
    [letter] = await store.dead_letters.list("acme")
    assert "ZeroDivisionError" in (letter.traceback or "")


async def test_a_fault_of_ours_after_it_left_does_not_make_it_a_push_that_never_did(store: Store):
    stage = await Stage.open(store, DOUBT, {"id": "t1"})
    number = await stage.put("natural")

    def broken(*_: Any) -> None:
        raise KeyError("a fault of ours")

    stage.account.health = SimpleNamespace(task_failed=broken)
    row = await stage.send(number)
    assert row.state == "unknown"
    assert "a fault of syncd's" in (row.reason or "")
    assert (await stage.send(number)).state == "done"


async def test_an_echo_that_came_first_keeps_what_it_brought(store: Store):
    """The partner's webhook was faster than its answer: whatever was asked for later stays."""
    stage = await Stage.open(store, {"id": "t1", "n": 1})
    number = await stage.put("natural")
    await stage.send(number)
    before = await store.records.get("acme", "things", "t1")
    assert before is not None
    stage.partner.steps.append({"id": "t1", "n": 1})
    await store._database.execute("DELETE FROM syncd.outbox")
    await stage.send(await stage.put("natural"))
    after = await store.records.get("acme", "things", "t1")
    assert after is not None
    assert (after.row_version, after.cause) == (before.row_version, before.cause), "the same content writes nothing"


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (DOUBT, True),
        (REFUSED, False),
        (BUSY, True),
        (TransientError("408", status=408), True),
        (TransientError("409", status=409), False),
        (TransientError("HTML", status=200), True),
        (RateLimitError("429"), False),
        (AuthError("401"), False),
        (RejectedError("400", status=400), False),
        (RejectedError("303", status=303, unknown=True), True),
        (GoneError("404"), False),
        (PartnerError("odd"), True),
        (PayloadError("odd"), True),
        (ValueError("odd"), True),
        (StoreError("away"), True),
    ],
)
def test_what_may_have_arrived_is_told_from_what_cannot(error: Exception, may: bool):
    assert may_have_arrived(error) is may
