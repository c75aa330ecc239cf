"""`syncd verify` step by step: what a step that fails leaves behind, what a check before has left, whoever is interrupted."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import drivers
from syncd.cli.exits import Exit
from syncd.cli.link import Unreachable
from syncd.cli.verify_record import KEY, Marked
from syncd.cli.verify_steps import Check, Step
from syncd.errors import StoreError
from syncd.testing.clock import FakeClock


class Daemon:
    """One that does as it is told at once: a push is done, a read brings the record; both its sites, and the copy."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.pushes: list[dict[str, Any]] = []
        self.records: dict[str, SimpleNamespace] = {}
        self.status = "healthy"
        self.test: dict[str, Any] = {"ok": True, "status": 200, "latency_ms": 12.0}
        self.ends = "done"
        """What becomes of the next push that makes a record."""
        self.closes = True
        self.reads = True
        self.records_away = False

    def get(self, path: str, query: Any = None, *, seconds: float = 10.0) -> dict[str, Any]:
        if path == "pushes/one":
            return {"push": next(row for row in self.pushes if row["id"] == query["id"])}
        if path == "pushes":
            return {"pushes": self.pushes[::-1]}
        resource = {"name": "people", "last_success_at": "2026-11-22T00:00:00Z", "records": 7}
        return {"integrations": [{"name": "plant", "resources": [resource]}]}

    def post(self, path: str, said: dict[str, Any], *, seconds: float = 30.0) -> dict[str, Any]:
        if path == "test":
            return {"integration": "plant", **self.test}
        if path == "sync":
            if self.reads:
                self._read(said["id"])
            return {"wishes": [1]}
        known = next((row for row in self.pushes if row["key"] == said["key"]), None)
        return {"push": known or self.push(said), "already": known is not None}

    def push(self, said: dict[str, Any]) -> dict[str, Any]:
        makes = said["kind"] == "create"
        state = self.ends if makes else "done" if self.closes else "buried"
        record = said.get("id") or ("77" if state == "done" else None)
        row = {"id": len(self.pushes) + 1, "key": said["key"], "state": state, "record": record, "reason": None}
        self.pushes.append(row)
        if state == "done" and record is not None:
            self.records.setdefault(record, SimpleNamespace(data={}, row_version=1, deleted_at=None, fetched_at=None))
            self.records[record].data = {"status": "OPEN" if makes else "DONE", "priority": "LOW"}
            self._read(record)
        return row

    def _read(self, record: str) -> None:
        self.clock.set_now(self.clock.now() + timedelta(milliseconds=10))
        self.records[record].fetched_at = self.clock.now()

    def probe(self, path: str, *, seconds: float = 5.0) -> tuple[int, str]:
        if path == "/metrics":
            return 200, "# HELP x\nx 1\n"
        return 200, json.dumps({"services": {"plant": {"status": self.status, "reason": "somebody said so"}}})

    async def record(self, integration: str, resource: str, external_id: str) -> Any:
        if self.records_away:
            raise StoreError("the database is away", hint="pg_isready")
        return self.records.get(external_id)


@pytest.fixture
def daemon(clock: FakeClock) -> Daemon:
    return Daemon(clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def check_of(daemon: Daemon, *, mark: str = "c0ffee", makes: bool = True, **canary: Any) -> Check:
    link: Any = daemon
    store: Any = SimpleNamespace(records=SimpleNamespace(get=daemon.record))
    described = drivers.load("maintainx").spec.verify
    assert described is not None
    described = described.model_copy(update=canary)
    marked = Marked(link, store, daemon.clock, "plant", described, mark) if makes else None
    return Check(link, link, daemon.clock, "plant", marked)


async def steps(check: Check) -> dict[str, Step]:
    async def each() -> dict[str, Step]:
        return {step.name: step async for step in check.run()}

    clock = check.clock
    assert isinstance(clock, FakeClock)
    return await clock.run(each())


def keys(daemon: Daemon) -> list[str]:
    return [row["key"].removeprefix(KEY + ":") for row in daemon.pushes]


async def test_all_goes_well_and_what_was_made_is_ended(daemon: Daemon) -> None:
    found = await steps(check_of(daemon))
    assert all(step.ok for step in found.values()), found
    assert list(found) == ["health", "partner", "left over", "create", "read back", "copy", "close", "metrics"]
    assert keys(daemon) == ["c0ffee:create", "c0ffee:close:1"]


async def test_where_the_read_brings_nothing_it_is_ended_all_the_same(daemon: Daemon) -> None:
    daemon.reads = False
    found = await steps(check_of(daemon))
    assert not found["read back"].ok and "no read of it came back" in found["read back"].detail
    assert found["close"].ok and "copy" not in found
    assert keys(daemon)[-1] == "c0ffee:close:1"


async def test_where_the_database_goes_away_the_record_is_asked_to_be_ended(daemon: Daemon) -> None:
    daemon.records_away = True
    found = await steps(check_of(daemon))
    assert found["read back"].exit is Exit.TRY_LATER
    assert found["read back"].do == "pg_isready"
    assert "close" in found


async def test_a_refused_record_leaves_nothing_to_end(daemon: Daemon) -> None:
    daemon.ends = "buried"
    found = await steps(check_of(daemon))
    assert (found["create"].ok, found["create"].exit) == (False, Exit.FAILURES)
    assert found["close"].ok and "nothing was made" in found["close"].detail
    assert keys(daemon) == ["c0ffee:create"]


async def test_one_that_waits_for_a_limit_is_later_and_no_failure(daemon: Daemon) -> None:
    daemon.ends = "waiting"
    found = await steps(check_of(daemon))
    assert {found["create"].exit, found["close"].exit} == {Exit.TRY_LATER}
    daemon.pushes[0]["state"] = "dropped"  # it expired: the next check is not held up by it
    daemon.ends = "done"
    assert all(step.ok for step in (await steps(check_of(daemon, mark="decade"))).values())


async def test_a_check_before_that_was_cut_off_is_ended_first(daemon: Daemon) -> None:
    daemon.push({"kind": "create", "key": f"{KEY}:dead:create"})
    found = await steps(check_of(daemon))
    assert "77" in found["left over"].detail
    assert keys(daemon) == ["dead:create", "dead:close:1", "c0ffee:create", "c0ffee:close:1"]


async def test_one_that_somebody_deleted_is_looked_for_no_more(daemon: Daemon) -> None:
    daemon.push({"kind": "create", "key": f"{KEY}:dead:create"})
    daemon.records["77"].deleted_at = daemon.clock.now()
    daemon.records["77"].data = {}
    found = await steps(check_of(daemon))
    assert found["left over"].detail == "none"


async def test_one_that_cannot_be_ended_says_how_to_find_out_and_makes_no_other(daemon: Daemon) -> None:
    daemon.push({"kind": "create", "key": f"{KEY}:dead:create"})
    daemon.closes = False
    found = await steps(check_of(daemon))
    assert list(found) == ["health", "partner", "left over"]
    assert "syncd sync plant/work_orders --id 77" in found["left over"].do


async def test_whoever_stops_listening_leaves_the_wish_to_end_it(daemon: Daemon) -> None:
    async with aclosing(check_of(daemon).run()) as running:
        async for step in running:
            if step.name == "create":
                break
    assert keys(daemon) == ["c0ffee:create", "c0ffee:close:1"]


@pytest.mark.parametrize(
    ("test", "exit"),
    [
        (
            {"ok": False, "status": 401, "refused": True, "explanation": {"reason": "refused", "action": "x"}},
            Exit.REFUSED,
        ),
        ({"ok": False, "status": 503}, Exit.TRY_LATER),
    ],
)
async def test_a_partner_that_does_not_let_us_in_ends_it_before_anything_is_made(
    daemon: Daemon, test: dict[str, Any], exit: Exit
) -> None:
    daemon.test = test
    found = await steps(check_of(daemon))
    assert list(found) == ["health", "partner"]
    assert found["partner"].exit is exit
    assert not daemon.pushes


async def test_a_paused_integration_is_not_woken_for_it(daemon: Daemon) -> None:
    daemon.status = "paused"
    found = await steps(check_of(daemon))
    assert (found["health"].exit, found["health"].do) == (Exit.TRY_LATER, "syncd resume plant")


async def test_a_daemon_that_goes_away_in_between_is_69(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: Any, **named: Any) -> Any:
        raise Unreachable("no daemon answers", "refused", "syncd run", exit=Exit.UNREACHABLE)

    monkeypatch.setattr(daemon, "post", away)
    found = await steps(check_of(daemon))
    assert found["partner"].exit is Exit.UNREACHABLE


async def test_what_is_kept_out_of_the_copy_is_not_waited_for(daemon: Daemon) -> None:
    found = await steps(check_of(daemon, kept_out="tests are no work orders of ours"))
    assert not found["copy"].ok  # it came in all the same
    assert found["close"].ok


async def test_of_a_partner_that_is_only_read_the_age_of_its_data_is_told(daemon: Daemon) -> None:
    found = await steps(check_of(daemon, makes=False))
    assert list(found) == ["health", "partner", "data", "metrics"]
    assert all(step.ok for step in found.values())
    assert not daemon.pushes
