"""A runner whose tables and calls are made up: what it takes, offers and gives back, without a database or a partner."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from syncd.clock import Clock
from syncd.kit import Resource
from syncd.limits import BreakerPolicy, Gate
from syncd.model import Lane
from syncd.store import PULL, Peril, Task
from syncd.sync.flow import Flow
from syncd.sync.health import Health
from syncd.sync.inflight import Inflight
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.runner import Runner
from syncd.sync.schedule import Schedule
from syncd.sync.unit import Unit

BEGINNING = datetime(2024, 5, 1, tzinfo=UTC)
NAMES = [f"r{number}" for number in range(20)]


async def _none(_: object) -> dict[Any, Any]:
    return {}


class Tasks:
    """The table, as far as the feeder asks it: remembers what was taken."""

    def __init__(self, *waiting: Task) -> None:
        self.waiting = list(waiting)
        self.asked: list[Any] = []
        self.freed: list[tuple[str, int | None]] = []
        self.held: list[list[int]] = []
        """What was in hand at each look for strays."""
        self.parks: set[tuple[str, str]] = set()
        self.back: list[int] = []
        self.dropped: list[int] = []

    async def free(self, name: str, *, fence: int | None, scope: str | None = None) -> int:
        self.freed.append((name, fence))
        return 0

    async def free_strays(self, name: str, *, fence: int, held: Sequence[int]) -> int:
        self.held.append(sorted(held))
        return 0

    async def poison(self, name: str) -> list[Task]:
        return []

    async def parked(self, names: list[str]) -> set[tuple[str, str]]:
        return self.parks

    async def give_back(self, task: Task) -> bool:
        self.back.append(task.id)
        return True

    async def done(self, task: Task) -> bool:
        return True

    async def drop(self, task: Task) -> bool:
        self.dropped.append(task.id)
        return True

    async def expire(self, name: str, *, limit: int) -> int:
        return 0

    async def newest(self, name: str) -> int | None:
        return None

    async def ready(self, names: list[str], *, resources: list[str] | None = None) -> list[str]:
        return [name for name in names if self._fit([name], resources)]

    async def take(
        self,
        names: list[str],
        *,
        fence: int,
        limit: int,
        lanes: Any,
        resources: list[str] | None = None,
        without: Any = (),
    ) -> list[Task]:
        found = [task for task in self._fit(names, resources) if (task.integration, task.lane) not in without][:limit]
        self.asked.append((limit, resources))
        self.waiting = [task for task in self.waiting if task not in found]
        return found

    def _fit(self, names: list[str], resources: list[str] | None) -> list[Task]:
        return [
            task
            for task in self.waiting
            if task.integration in names and (resources is None or f"{task.integration}/{task.resource}" in resources)
        ]


class Checkpoints:
    """The table, as far as the runner asks it. `began` is when each resource last ran."""

    def __init__(self) -> None:
        self.began: dict[str, datetime] = {}
        self.passed = True
        """Was each of them read whole once?"""
        self.asked = 0

    async def list(self, name: str) -> Sequence[Any]:
        self.asked += 1
        return [
            SimpleNamespace(
                checkpoint=SimpleNamespace(
                    integration=name, resource=resource, run_id=None, cursor=None, watermark=None
                ),
                updated_at=at,
                passed_at=at if self.passed else None,
                good_at=None,
                held=None,
            )
            for resource, at in self.began.items()
        ]


def task(number: int, resource: str, *, kind: str = "fetch", lane: Lane = Lane.NORMAL) -> Task:
    known = dict.fromkeys(Task.__slots__)
    known |= {"integration": "acme", "id": number, "kind": kind, "resource": resource, "payload": {}, "lane": lane}
    known |= {"lost": 0, "suspicion": 0, "attempts": 1, "history": ()}
    return Task(**known)


class Stage:
    def __init__(self, clock: Clock, *waiting: Task) -> None:
        self.clock = clock
        self.gate = Gate("s", ["1000/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=60))
        self.tasks = Tasks(*waiting)
        plans = {
            name: ResourcePlan(
                Resource(name=name, path=f"/{name}", group="reports" if name == "r19" else ""),
                Strategy.FULL,
                Schedule(every_seconds=900),
            )
            for name in NAMES
        }
        account: Any = SimpleNamespace(
            name="acme", partner="plain", scope="s", gate=self.gate, plans=plans, fence=1, may_call=lambda: True,
            ownership=SimpleNamespace(held=True), needs=lambda name: (plans[name].resource.group,),
            health=Health("acme"), moved=lambda: None, flow=Flow(), processor=SimpleNamespace(watch=None),
            inflight=Inflight().share(),
        )  # fmt: skip
        self.account = account
        self.checkpoints = Checkpoints()
        self.perils = Perils()
        store: Any = SimpleNamespace(
            tasks=self.tasks, losses=self.tasks, checkpoints=self.checkpoints, runs=SimpleNamespace(drifts=_none),
            dead_letters=SimpleNamespace(healed=_no_letter), perils=self.perils, postponed=SimpleNamespace(bound=_none),
        )  # fmt: skip
        account.store = store
        self.runner = Runner("plain", {"acme": account}, store, clock)
        for number, name in enumerate(NAMES):
            unit = self.runner.units["acme", name] = Unit("acme", plans[name], clock.now())
            unit.last_started_at = clock.now() - timedelta(seconds=1000 + 7 * number % 11)

    def offered(self) -> list[str]:
        """Runs that wait for a seat."""
        return [key.partition("/")[2] for key in self.runner.pool._keys if key.startswith("run:")]

    def begun(self) -> list[str]:
        return [key for key in self.runner.pool._keys if key.startswith("task:")]

    async def breaks(self, group: str = "") -> None:
        async with self.gate.admit(group=group) as slot:
            slot.failure("answered 503")

    async def heals(self) -> None:
        async with self.gate.admit() as slot:
            assert slot.probe
            slot.success()


class Perils:
    """The table, as far as the runner asks it: `suspects` by resource."""

    def __init__(self) -> None:
        self.suspects: dict[str, dict[str, int]] = {}

    async def list(self, names: Sequence[str]) -> list[Peril]:
        return [
            Peril(name, resource, PULL, 1, None, suspects, BEGINNING)
            for name in names
            for resource, suspects in self.suspects.items()
        ]

    async def relieve(self, names: Sequence[str], *, most: int) -> list[tuple[str, str]]:
        over = [name for name, suspects in self.suspects.items() if names and max(suspects.values()) > most]
        for name in over:
            self.suspects[name] = dict.fromkeys(self.suspects[name], most)
        return [("acme", name) for name in over]


async def _no_letter(integration: str, resource: str, *, by: str) -> int:
    return 0
