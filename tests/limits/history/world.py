"""Lives one history: processes with a real gate one after the other, workers, a partner, and what befalls them."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from datetime import timedelta
from typing import Any

from syncd.errors import BreakerOpenError, TransientError
from syncd.limits import BreakerPolicy, Gate, OverBudgetError, Slot
from syncd.limits.bucket import Bucket
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.history.keeper import Keeper, Storage
from tests.limits.history.ledger import Call, Ledger
from tests.limits.history.plan import Config, Event, Plan, Worker
from tests.limits.history.witness import Witness


def told(config: Config) -> str:
    """A configuration in a line."""
    tiers = ", ".join(
        f"{tier.name} {tier.kind}{f' of {tier.burst:g}' if tier.burst else ''}{' weighted' if tier.weighted else ''}"
        f"{f' share {tier.share:g}' if tier.share else ''}"
        for tier in config.tiers
    )
    return f"{tiers}; share {config.share:g}, lanes {config.lanes}, seats {config.concurrency}"


def short_lived(spec: TierSpec) -> bool:
    """Waited out after a kill instead of remembered."""
    filled = (spec.burst or spec.limit) / spec.per_second if spec.kind == "bucket" else spec.window_seconds
    return filled <= 2.0


class Process:
    """One life of the daemon, as far as this scope is concerned."""

    def __init__(self, gate: Gate, keeper: Keeper | None) -> None:
        self.gate = gate
        self.keeper = keeper
        self.tasks: dict[asyncio.Task[None], Worker] = {}
        self.asking: dict[Slot, float] = {}
        """At the gate, and when they were let go, where they wait for nothing but their commit."""
        self.calls: set[Call] = set()
        """On their way."""
        self.dead = False
        self.ending = False


class World:
    """See `live`; afterwards `ledger`, `witness.wrongs` and `seen` tell what there was."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = random.Random(f"world {plan.seed}")
        self.clock = FakeClock(seed=plan.seed, boot="first")
        self.ledger = Ledger()
        self.witness = Witness(self.ledger, self.clock, plan)
        self.storage = Storage()
        self.config = plan.config
        self.seen: Counter[str] = Counter()
        """What happened how often."""
        self.story: list[str] = []
        self.end_at = self.clock.monotonic() + plan.seconds
        self.process: Process
        self._timers: list[asyncio.Task[None]] = []

    async def live(self) -> None:
        """From the first start to the end of the last wait."""
        began = self.clock.monotonic()
        await self._start()
        for event in self.plan.events:
            await self._until(min(began + event.after_seconds, self.end_at))
            if self.clock.monotonic() < self.end_at:
                await self._befall(event)
        await self._until(self.end_at)
        self.process.gate.resume()
        self.process.gate.release()
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        await self._drained()
        self.process.gate.close()

    # -- time

    async def _until(self, moment: float) -> None:
        """Let time pass from one wake-up to the next; the witness looks at each."""
        clock = self.clock
        await clock.settle()
        while True:
            self.witness.look(self.process.gate)
            due = clock.next_due
            if due is None or due > min(moment, self.end_at):
                break
            clock._ring()
            await clock.settle()
        await clock.advance(max(min(moment, self.end_at) - clock.monotonic(), 0.0))

    async def _drained(self) -> None:
        """Nobody begins anew; whoever waits must get through in the time the slowest tier needs for them all."""
        process = self.process
        tiers = process.gate.book.tiers
        waiting = len(process.tasks) + 1
        heaviest = max((worker.weight for worker in process.tasks.values()), default=1)
        each = max(
            (1 / t.pace if isinstance(t, Bucket) else t.hold_seconds / min(t.budget, t.ceiling)) * heaviest
            + t.hold_seconds
            for t in tiers
        )
        limit = self.clock.monotonic() + waiting * (each + self.plan.latency[1] + self.plan.outlier_seconds) + 120
        while process.tasks:
            await self.clock.settle()
            self.witness.look(process.gate)
            due = self.clock.next_due
            if process.tasks and (due is None or due > limit):
                self.witness.wrongs.append(f"{len(process.tasks)} callers never came through ({due=}, {limit=})")
                break
            if due is not None:
                self.clock._ring()
                await self.clock.settle()
        await self._end_tasks(process)

    # -- lives

    async def _start(self) -> None:
        plan, config = self.plan, self.config
        keeper = Keeper(self.storage, self.clock, self.dice, plan.commit_seconds) if plan.keeps else None
        gate = Gate(
            "s",
            config.tiers,
            clock=self.clock,
            concurrency=config.concurrency,
            share=config.share,
            lanes=config.lanes,
            breaker=BreakerPolicy(failures=4, cooldown_seconds=2.0),
            keeper=keeper,
            members=plan.members,
            lost_seconds=plan.lost_seconds,
        )
        self.process = Process(gate, keeper)
        first = self.storage.row is None
        stored = json.loads(self.storage.row)["tiers"] if self.storage.row else {}
        await self.clock.run(gate.open())
        short = {spec.key for spec in config.tiers if short_lived(spec)}  # never stored, waited out
        self.ledger.tell(self.clock.monotonic(), config.tiers, fresh=True, stored=stored.keys() | short)
        self.witness.started(config, first=first)
        for worker in plan.workers:
            self._engage(worker)
        self._tell(f"started: {told(config)}")

    def _engage(self, worker: Worker) -> None:
        process = self.process
        task = asyncio.create_task(self._work(process, worker))
        process.tasks[task] = worker
        task.add_done_callback(lambda done: process.tasks.pop(done, None))

    async def _end_tasks(self, process: Process) -> None:
        tasks = list(process.tasks)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _work(self, process: Process, worker: Worker) -> None:
        clock, dice, plan, gate = self.clock, self.dice, self.plan, process.gate
        while clock.monotonic() < self.end_at and not process.ending:
            if worker.think_seconds > 0:
                await clock.sleep(dice.expovariate(1 / worker.think_seconds))
            asked_at = clock.monotonic()
            if asked_at >= self.end_at or process.ending:
                break
            deadline = None if worker.patience_seconds is None else asked_at + worker.patience_seconds
            try:
                admission = gate.admit(
                    lane=Lane(worker.lane),
                    member=worker.member,
                    weight=float(worker.weight),
                    group=worker.group,
                    deadline_at=deadline,
                    budgets=(worker.budget,),
                )
                process.asking[admission] = math.inf
                async with admission as slot:
                    if process.dead:
                        return
                    let_go_at = process.asking.pop(admission)
                    await self._exchange(process, worker, slot, clock.monotonic() - asked_at, let_go_at)
            except OverBudgetError as error:
                if error.hopeless:
                    return
                self.seen["refused by deadline"] += 1
                await clock.sleep(dice.uniform(0.5, 2.0) * max(5.0, plan.seconds / 40))
            except BreakerOpenError:
                self.seen["breaker open"] += 1
                await clock.sleep(dice.uniform(0.1, 3.0))
            except TransientError:
                await clock.sleep(dice.uniform(0.0, 0.5))
            finally:
                process.asking.pop(admission, None)

    async def _exchange(self, process: Process, worker: Worker, slot: Slot, waited: float, let_go_at: float) -> None:
        plan, dice, clock = self.plan, self.dice, self.clock
        took = dice.uniform(*plan.latency)
        if plan.outlier_seconds and dice.random() < 0.02:
            took += plan.outlier_seconds
        cost = float(dice.randint(1, worker.weight))  # the partner may ask less than was expected, never more
        now = clock.monotonic()
        call = Call(now, worker.lane, worker.member, worker.budget, cost, float(worker.weight), let_go_at, waited)
        share = {"early": 0.0, "late": 1.0, "edges": dice.choice((0.0, 1.0)), "any": dice.random()}[plan.nature]
        call.arrives_at = now + took * share
        call.life = self.ledger.life
        self.ledger.calls.append(call)
        process.calls.add(call)
        if len(self.ledger.calls) >= plan.calls:
            self.end_at = min(self.end_at, now)
        outcome = self._outcome()
        self.seen[outcome] += 1
        try:
            await clock.sleep(took)
            if outcome in ("lost", "refused"):
                if outcome == "refused":
                    slot.failure()
                raise TransientError("no answer")
            if cost != worker.weight:
                slot.cost(cost)
            call.ended_at, call.ended = clock.monotonic(), True
            if outcome == "body":
                slot.answered()
                slot.success()
                await clock.sleep(dice.uniform(0.0, 10.0))
            elif outcome == "sick":
                slot.failure()
            elif outcome == "limited":
                process.gate.limited(
                    dice.choice((None, 0.3, 2.0)),
                    "told to wait",
                    call=slot,
                    about=dice.choice(("calls", "object", "object", "seats")),
                )
                slot.success()
            else:
                slot.success()
        finally:
            if not process.dead:
                process.calls.discard(call)
                if call.ended_at == math.inf:
                    self._lost(call, clock.monotonic() + plan.lost_seconds)

    def _lost(self, call: Call, arrives_by: float) -> None:
        """No answer came: it may arrive until then."""
        call.ended = call.lost = True
        call.ended_at = arrives_by
        call.arrives_at = min(call.arrives_at, arrives_by) if self.plan.nature != "late" else arrives_by

    def _outcome(self) -> str:
        chance = self.dice.random()
        for name, part in self.plan.faults.items():
            chance -= part
            if chance < 0:
                return name
        return "good"

    # -- what happens

    async def _befall(self, event: Event) -> None:
        self.seen[event.kind] += 1
        self._tell(f"{event.kind} {event.amount:g}")
        gate = self.process.gate
        match event.kind:
            case "reload":
                assert event.config is not None
                self._reload(event.config)
            case "pause":
                gate.pause(event.amount, "asked to")
            case "resume":
                gate.resume()
            case "hold":
                gate.hold("by hand", self.dice.choice((None, "", "slow")))
                self._later(event.amount, gate.release, gate.release, lambda: gate.release("slow"))
            case "jump":
                self.clock.set_now(self.clock.now() + timedelta(seconds=event.amount))
            case "jump_back":
                self.clock.set_now(FakeClock().now() + timedelta(seconds=self.clock.monotonic() - 1000.0))
            case "cancel":
                for task, worker in list(self.process.tasks.items()):
                    if self.dice.random() < event.amount:
                        task.cancel()
                        self._engage(worker)
            case "kill":
                await self._kill(event.amount)
            case "stop":
                await self._stop(event.amount)
            case "return":
                await self._return()

    def _later(self, seconds: float, *steps: Any) -> None:
        async def wait() -> None:
            await self.clock.sleep(seconds)
            for step in steps:
                step()

        self._timers.append(asyncio.create_task(wait()))

    def _reload(self, config: Config) -> None:
        now = self.clock.monotonic()
        before = math.nextafter(now, 0.0)
        for call in reversed(self.ledger.calls):
            if call.sent_at < now:
                break
            call.let_go_at = before
        for admission, let_go_at in self.process.asking.items():
            if admission.number:  # by the old numbers, and it may be sent only when it is recorded
                self.process.asking[admission] = min(let_go_at, before)
        self.process.gate.reconfigure(
            config.tiers,
            concurrency=config.concurrency,
            share=config.share,
            lanes=config.lanes,
            breaker=BreakerPolicy(failures=4, cooldown_seconds=2.0),
            members=self.plan.members,
        )
        self.config = config
        self.ledger.tell(self.clock.monotonic(), config.tiers)
        self.witness.reloaded(config)
        self._tell(f"reloaded: {told(config)}")

    async def _kill(self, gap: float) -> None:
        """Power off, now; after the gap the next one starts."""
        process = self.process
        process.dead = process.ending = True
        if process.keeper is not None:
            process.keeper.kill()
        now = self.clock.monotonic()
        for call in process.calls:
            if call.ended_at == math.inf:
                self._lost(call, now + self.plan.lost_seconds)
        process.calls.clear()
        await self._end_tasks(process)
        process.gate.close()
        await self.clock.advance(gap)
        await self._start()

    async def _stop(self, gap: float) -> None:
        """An orderly end: who waits goes home, what is under way has a moment, the rest is cut off."""
        process = self.process
        process.ending = True
        await self.clock.advance(self.dice.choice((0.0, 0.2, 5.0)))
        await self._end_tasks(process)
        await self.clock.run(process.gate.persist(clean=True))
        process.dead = True
        if process.keeper is not None:
            process.keeper.kill()
        process.gate.close()
        await self.clock.advance(gap)
        await self._start()

    async def _return(self) -> None:
        """The lease was lost and got back: the state is read again by the same gate."""
        gate = self.process.gate
        assert self.process.keeper is not None
        state = await self.process.keeper.load("s")
        await self.clock.run(gate.restore(state))
        self.witness.blinded()

    def _tell(self, text: str) -> None:
        self.story.append(f"{self.clock.monotonic() - 1000:9.3f}  {text}")
