"""What a letter says of failed work, and that one bad record of a batch is buried alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.errors import GoneError, PayloadError, RejectedError, TransientError
from syncd.model import Lane
from syncd.redaction import KNOWN
from syncd.store import PushRow, Task
from syncd.store.inbox import Taken
from syncd.sync.decide import RetryPolicy
from syncd.sync.letters import fingerprint, letter_of_delivery, letter_of_push, letter_of_run, letter_of_task
from syncd.sync.task_outcomes import TaskOutcomes, blames_one
from syncd.sync.work import SPLIT_CALLS, Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def task(number: int = 1, **more: Any) -> Task:
    known = dict.fromkeys(Task.__slots__)
    known |= {"integration": "acme", "id": number, "kind": "fetch", "resource": "things", "external_id": f"r{number}"}
    known |= {"payload": {"events": True}, "lane": Lane.HIGH, "dedupe_key": f"fetch:things:r{number}", "attempts": 3}
    known |= {"history": [{"attempt": 1, "at": "t", "error": "503"}], "letter_id": 9, "lost": 0, "suspicion": 0}
    return Task(**{**known, **more})


def told(error: RejectedError | TransientError) -> Any:
    error.evidence = {"request": {"method": "GET", "path": "/things/r1"}, "response": {"status": 422, "body": "{}"}}
    return error


def test_a_letter_of_a_task_holds_the_call_the_attempts_and_the_way_back():
    error = told(RejectedError("GET /things/{id}: answered 422", status=422, code="bad", request_id="req_1"))
    letter = letter_of_task(task(), error)
    assert letter.request == {"work": "fetch", "resource": "things", "method": "GET", "path": "/things/r1"}
    assert letter.response == {"status": 422, "code": "bad", "request_id": "req_1", "body": "{}"}
    assert letter.traceback is None, "a refusal needs no stack"
    assert (letter.former_id, letter.attempts, len(letter.history)) == (9, 3, 1)
    assert letter.payload == {
        "kind": "fetch",
        "resource": "things",
        "external_id": "r1",
        "parent_id": None,
        "payload": {"events": True},
        "lane": 0,
        "dedupe_key": "fetch:things:r1",
    }


def test_a_fault_of_ours_has_its_traceback_and_no_secret_in_it():
    KNOWN.add("known-secret-in-a-trace-01")
    try:
        raise KeyError("known-secret-in-a-trace-01")
    except KeyError as error:
        letter = letter_of_task(task(), error)
    assert letter.traceback is not None
    assert "test_letters.py" in letter.traceback
    assert "known-secret" not in f"{letter}"


def test_a_letter_of_a_run_is_a_wish_for_one():
    letter = letter_of_run("acme", "things", 7, RejectedError("no", status=403), 2, former_id=4)
    assert (letter.origin, letter.origin_id, letter.former_id) == ("run", "7", 4)
    assert letter.payload == {"kind": "sync", "resource": "things"}


def test_a_letter_of_a_delivery_shows_it_masked_and_leaves_its_body_in_the_inbox():
    headers = {"content-type": "application/json", "x-signature": "fine", "authorization": "Bearer abcdefgh12345"}
    delivery = Taken(5, "e1", "", "thing.gone", headers, b'{"token": "abcdefgh12345", "id": 1}', NOW, 2, 0)
    letter = letter_of_delivery("acme", delivery, PayloadError("no id"))
    assert letter.request is not None
    assert "abcdefgh12345" not in str(letter)
    assert letter.request["body"] == '{"token":"****","id":1}'
    assert (letter.origin, letter.origin_id, letter.attempts) == ("inbox", "5", 3)
    assert letter.payload == {"event_id": "e1", "event_type": "thing.gone"}


def test_a_letter_of_a_push_names_its_key_and_masks_its_data():
    known = dict.fromkeys(PushRow.__slots__)
    push = PushRow(**{**known, "integration": "acme", "id": 8, "resource": "things", "external_id": "r1", "attempts": 1,
                      "operation": "upsert", "payload": {"name": "x", "password": "abcdefgh12345"},
                      "idempotency_key": "k1"})  # fmt: skip
    letter = letter_of_push(push, RejectedError("no", status=422))
    assert "abcdefgh12345" not in str(letter)
    assert letter.payload == {"operation": "upsert", "idempotency_key": "k1"}
    assert (letter.origin, letter.origin_id) == ("outbox", "8")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /things/{id}: answered 422 ('r17' is unknown)", "GET /things/{id}: answered 422 ('r99' is unknown)"),
        ("record 7f3b0c9e-0000-4000-8000-000000000001 is bad", "record 0a000000-1111-4222-8333-000000000009 is bad"),
    ],
)
def test_troubles_that_differ_by_an_id_only_are_of_one_cause(one: str, other: str):
    assert fingerprint(RejectedError(one, status=422), "things") == fingerprint(
        RejectedError(other, status=422), "things"
    )


def test_troubles_of_another_status_resource_or_kind_are_of_another_cause():
    found = {
        fingerprint(RejectedError("no", status=422), "things"),
        fingerprint(RejectedError("no", status=403), "things"),
        fingerprint(RejectedError("no", status=422), "notes"),
        fingerprint(TransientError("no", status=422), "things"),
    }
    assert len(found) == 4


class Batches(Worker):
    """A worker whose partner refuses every call that names a bad record."""

    def __init__(self, bad: set[str], error: Exception) -> None:
        account: Any = SimpleNamespace(
            plans={"things": SimpleNamespace(resource=None)}, moved=lambda: None, store=None, name="acme",
            driver=SimpleNamespace(one=lambda resource, external_id: object()),
        )  # fmt: skip
        super().__init__(account, RetryPolicy())
        outcomes: Any = self._outcomes
        outcomes.ended_badly = self._bury
        self.bad, self.error = bad, error
        self.calls: list[int] = []
        self.done: list[str] = []
        self.buried: list[str] = []

    async def _worth(self, plan: Any, tasks: Sequence[Task]) -> list[Task]:
        return list(tasks)

    async def _fetch(self, plan: Any, tasks: Sequence[Task]) -> None:
        self.calls.append(len(tasks))
        names = [str(task.external_id) for task in tasks]
        if self.bad & set(names):
            raise self.error
        self.done += names

    async def _bury(self, tasks: Sequence[Task], error: Exception) -> None:
        self.buried += [str(task.external_id) for task in tasks]


@pytest.mark.parametrize("number", [0, 1, 24, 49])
async def test_one_bad_record_of_a_batch_is_buried_alone(number: int):
    worker = Batches({f"r{number}"}, RejectedError("bad id", status=400))
    await worker.run([task(each) for each in range(50)])
    assert worker.buried == [f"r{number}"]
    assert len(worker.done) == 49
    assert len(worker.calls) <= SPLIT_CALLS + 1


async def test_looking_for_bad_ones_costs_no_more_than_so_many_calls():
    worker = Batches({f"r{each}" for each in range(50)}, RejectedError("bad ids", status=422))
    await worker.run([task(each) for each in range(50)])
    assert len(worker.buried) == 50
    assert len(worker.calls) <= SPLIT_CALLS + 1


@pytest.mark.parametrize("error", [RejectedError("bad ids", status=422), GoneError("no such ids", status=404)])
async def test_bad_records_among_many_bury_none_of_the_others(error: Exception):
    bad = {"r3", "r40", "r77"}
    worker = Batches(bad, error)
    await worker.run([task(each) for each in range(100)])
    assert set(worker.buried) == bad
    assert len(worker.done) == 97
    assert len(worker.calls) <= SPLIT_CALLS + 1 + 100, "never more than one for each beside the search"


async def test_where_the_call_for_many_is_not_to_be_had_each_is_read_by_itself():
    worker = Batches({f"r{each}" for each in range(100)}, GoneError("no such path", status=404))
    await worker.run([task(each) for each in range(100)])
    assert worker.calls.count(1) >= 97
    worker = Batches({f"r{each}" for each in range(100)}, GoneError("no such path", status=404))
    worker._account.driver.one = lambda resource, external_id: None  # type: ignore[method-assign]
    await worker.run([task(each) for each in range(100)])
    assert len(worker.calls) <= SPLIT_CALLS + 1, "where there is no other call, no more is spent on it now"


@pytest.mark.parametrize("error", [RejectedError("no scope", status=403), TransientError("away", status=503)])
async def test_what_is_nobodys_fault_is_asked_once(error: Exception):
    worker = Batches({"r3"}, error)
    await worker.run([task(each) for each in range(50)])
    assert worker.calls == [50]
    assert not blames_one(error)


async def test_the_log_hears_of_a_cause_once_however_many_letters_it_makes(monkeypatch: pytest.MonkeyPatch):
    said: list[tuple[str, str]] = []
    known = {
        level: lambda event, *, _level=level, **_: said.append((_level, event))
        for level in ("debug", "info", "warning")
    }
    monkeypatch.setattr("syncd.sync.task_outcomes.log", SimpleNamespace(**known))

    async def bury(task: Task, letter: Any) -> bool:
        return True

    account: Any = SimpleNamespace(
        name="acme", partner="plain", clock=SimpleNamespace(now=lambda: NOW, random=lambda: 0.5), plans={},
        store=SimpleNamespace(tasks=SimpleNamespace(bury=bury)),
        health=SimpleNamespace(task_failed=lambda *_: None), flow=SimpleNamespace(buried=lambda *_: None),
    )  # fmt: skip
    outcomes = TaskOutcomes(account, RetryPolicy())
    for number in range(1000):
        await outcomes.ended_badly([task(number)], RejectedError(f"answered 403 ('r{number}')", status=403))
    await outcomes.ended_badly([task(1)], RejectedError("answered 422", status=422))
    assert [event for level, event in said if level == "warning"] == ["task_buried"] * 2
    assert len(said) == 1001
