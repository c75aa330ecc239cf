"""Healthy integrations beside a sick one: the real daemon, measured turn about with and without the neighbour's sickness.

Four integrations do what they do all day, within limits that do not bind: an endless listing each, deliveries that carry a
record, pushes. `alpha_one` and `beta_one` have partners of their own, `twin_one` and `twin_two` share one (its pool of
coroutines, its connections). The sick one is either `lone_sick`, at a partner of its own, or `twin_sick`, at theirs.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import asyncpg
import orjson

from bench.daemon import cpu_seconds
from tests.whole.daemon import Daemon
from tests.whole.flooding import SECRET, delivery

ROOT = Path(__file__).resolve().parents[2]
HEALTHY = {"alpha_one": "alpha", "beta_one": "beta", "twin_one": "twin", "twin_two": "twin"}
SICK = {"lone_sick": "lone", "lone_tls": "lone", "lone_connect": "lone", "twin_sick": "twin"}
HOOKS_A_SECOND, PUSHES_A_SECOND = 25.0, 5.0
"""Of each healthy integration."""
SETTLE_SECONDS = 1.5
"""Between two measurements: what the change of mood itself costs is not counted."""
KEY = "neighbour-key-0123456789"


@dataclass(frozen=True, slots=True)
class Sickness:
    """What the sick one suffers from."""

    name: str
    mood: str = "idle"
    who: str = "lone_sick"
    flood: tuple[str, float] | None = None
    """Kind and deliveries a second."""
    tasks: int = 0
    """Reads by id that wait in its queue when it begins."""
    lane: int = 1
    times: float = 1.0
    """A measurement is so many times as long: what it does comes seldom, and at once."""

    @property
    def partner(self) -> str:
        return SICK[self.who]


SICKNESSES = (
    Sickness("nothing (how far two measurements differ)"),
    Sickness("hangs: takes calls and never answers", "hangs"),
    Sickness("the same, at the partner of two of them", "hangs", "twin_sick"),
    Sickness("drips a byte at a time", "drips"),
    Sickness("hangs in the TLS handshake", "idle", "lone_tls"),
    Sickness("hangs in connecting", "idle", "lone_connect"),
    Sickness("pages of 30 MB, 300 records each", "large records", times=6),
    Sickness("pages of 30 MB, 35,000 records each", "many records", times=6),
    Sickness("the same, at the partner of two of them", "many records", "twin_sick", times=6),
    Sickness("pages of 30 MB, 330,000 records each", "tiny records", times=6),
    Sickness("a listing that never ends, answered at once", "fast"),
    Sickness("the same, at the partner of two of them", "fast", "twin_sick"),
    Sickness("4,000 signed deliveries a second", flood=("whole", 4000)),
    Sickness("4,000 forged deliveries a second", flood=("forged", 4000)),
    Sickness("300 events a second of records that take 3 s to read", "slow", flood=("thin", 300)),
    Sickness("300 events a second of records that are read at once", "reads", flood=("thin", 300)),
    Sickness("a backlog of 200,000 reads", "reads", tasks=200_000),
    Sickness("the same, urgent, at the partner of two of them", "reads", "twin_sick", tasks=200_000, lane=0),
    Sickness("20,000 reads refused: a dead letter each", "422", tasks=20_000),
    Sickness("garbage instead of JSON", "garbage"),
    Sickness("JSON 200,000 levels deep", "deep"),
    Sickness("records too deep to be stored", "nested"),
    Sickness("HTML instead of JSON", "html"),
    Sickness("every record unsound, each in another way", "poison"),
    Sickness("429 to everything", "429"),
    Sickness("503 to everything", "503"),
    Sickness("401 to everything", "401"),
)


@dataclass(slots=True)
class Figures:
    """What the healthy ones got done in one measurement."""

    records: dict[str, float]
    """Records stored a second, by integration."""
    cpu: float
    """Of one core: what the daemon used."""
    began: float
    ended: float
    refused: int = 0
    """Deliveries of theirs that were not taken at once."""
    hooks: list[float] = field(default_factory=list)
    """Seconds from sending a delivery to the row's commit."""
    pushes: list[float] = field(default_factory=list)
    """Seconds from the row of a push to its arrival."""

    @property
    def total(self) -> float:
        return sum(self.records.values())

    @property
    def work(self) -> dict[str, float]:
        """Deliveries stored and pushes arrived a second."""
        seconds = self.ended - self.began
        return {"hooks": len(self.hooks) / seconds, "pushes": len(self.pushes) / seconds}


def described(name: str, url: str, silent: int, full: int) -> dict[str, Any]:
    """A partner's file. No breaker to speak of: what it would spare the others is not to be counted on here."""
    integrations = {}
    for integration, partner in (HEALTHY | SICK).items():
        if partner != name:
            continue
        base = f"{url}/{integration}"
        if integration == "lone_tls":
            base = f"https://127.0.0.1:{silent}"
        elif integration == "lone_connect":
            base = f"http://127.0.0.1:{full}"
        integrations[integration] = {
            "base_url": base, "credentials": {"api_key": KEY}, "webhook": {"secrets": [SECRET]}, "accept_risk": True,
        }  # fmt: skip
    fields = {"name": "name", "number": {"from": "number", "as": "integer"}}
    return {
        "driver": "rest",
        "base_url": f"{url}/{name}",
        "rest": {
            "auth": {"kind": "api_key", "header": "X-Api-Key"},
            "test": "/me",
            "limits": {"tiers": ["100000/s"], "share": 1.0, "breaker": {"failures": 1_000_000}},
            "resources": {
                "records": {
                    "path": "/records", "records": "items", "one": "/records/{id}", "strategy": "full", "fields": fields,
                    "pages": {"kind": "cursor", "param": "after", "next": "next"},
                },
                "told": {
                    "path": "/told", "records": "items", "updated": "at", "fields": {"mark": "mark"},
                    "pages": {"kind": "cursor", "param": "after", "next": "next"},
                    "pushes": {"note": {"path": "/told/{id}/note", "idempotency": "header:Idempotency-Key", "extra": True}},
                },
            },
            "webhooks": {
                "verify": "standard", "event_id": "header:webhook-id", "type": "type", "id": "told.id", "at": "told.at",
                "record": "record", "routes": {"told.updated": "told", "record.updated": "records"},
            },
        },
        "resources": {"records": {"every": "1s", "jitter": "0s"}, "told": {"every": "12h"}},
        "integrations": integrations,
    }  # fmt: skip


class Stage:
    """`async with Stage(folder, database) as stage:` starts partners and daemon, and waits until all healthy ones pull."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self._stack = AsyncExitStack()
        self._load: list[asyncio.Task[None]] = []
        self.sent: dict[str, tuple[str, float]] = {}
        """Deliveries by the id of their record: integration and moment."""
        self.wanted: dict[str, float] = {}
        """Pushes, by integration and mark."""
        self.refusals: list[float] = []
        self.flooded: Counter[str] = Counter()

    async def __aenter__(self) -> Stage:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._load:
            task.cancel()
        await asyncio.gather(*self._load, return_exceptions=True)
        await self.daemon.kill()  # what hangs would be waited for
        await self._stack.aclose()

    async def _start(self) -> None:
        self.well, self.ill = await self._partners(), await self._partners()
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self.mood(dict.fromkeys(SICK, "idle"))
        files = {
            "alpha": described("alpha", self.well[0], *self.well[1:]),
            "beta": described("beta", self.well[0], *self.well[1:]),
            "twin": described("twin", self.well[0], *self.well[1:]),
            "lone": described("lone", self.ill[0], *self.ill[1:]),
        }
        files["twin"]["integrations"]["twin_sick"]["base_url"] = f"{self.ill[0]}/twin_sick"
        self.daemon = Daemon(self.folder, self.database, files, main={"log": {"level": "warning"}}, cold=True)
        await self._stack.enter_async_context(self.daemon)
        self.rows = await asyncpg.connect(self.database)
        self._stack.push_async_callback(self.rows.close)
        self.applications = await asyncpg.connect(self.database)
        self._stack.push_async_callback(self.applications.close)
        for one in SICK:
            await self.pause(one)

        async def all_pull() -> bool:
            return len(await self.stored()) == len(HEALTHY)

        await self.daemon.until(all_pull)
        self._load = [asyncio.create_task(self._deliver()), asyncio.create_task(self._push())]

    async def _partners(self) -> tuple[str, int, int]:
        process = subprocess.Popen([sys.executable, "-m", "tests.whole.neighbours"], cwd=ROOT, stdout=subprocess.PIPE)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        port, silent, full = map(int, (await asyncio.to_thread(process.stdout.readline)).split())
        return f"http://127.0.0.1:{port}", silent, full

    # -- what the healthy ones have to do ----------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Deliveries at an even rate, whatever becomes of those before."""
        async with asyncio.TaskGroup() as under_way:
            began, number = time.monotonic(), 0
            while True:
                for name, partner in HEALTHY.items():
                    number += 1
                    under_way.create_task(self._one_delivery(name, partner, f"w{number}"))
                await asyncio.sleep(max(0.0, began + number / len(HEALTHY) / HOOKS_A_SECOND - time.monotonic()))

    async def _one_delivery(self, name: str, partner: str, mark: str) -> None:
        sent_at = time.time()
        told = {"id": mark, "at": f"{datetime.fromtimestamp(sent_at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}
        path = f"/webhooks/{partner}/{name}"
        said = {"type": "told.updated", "told": told, "record": {**told, "mark": mark}}
        head, _, body = delivery(path, f"evt_{name}_{mark}", said).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[2:])
        del headers["Content-Length"]
        self.sent[mark] = name, sent_at
        try:
            async with self.http.post(
                f"http://127.0.0.1:{self.daemon.port}{path}", data=body, headers=headers
            ) as answer:
                taken = answer.status == 202
        except aiohttp.ClientError:
            taken = False
        if not taken:
            self.refusals.append(sent_at)

    async def _push(self) -> None:
        began, number = time.monotonic(), 0
        while True:
            number += 1
            mark = f"p{number}"
            now = time.time()
            for name in HEALTHY:
                self.wanted[f"{name}/{mark}"] = now
            await self.applications.execute(
                "SELECT syncd.push(i.name, 'told', 'note', jsonb_build_object('mark', $2::text), external_id => $2)"
                " FROM unnest($1::text[]) AS i(name)",
                list(HEALTHY),
                mark,
            )
            await asyncio.sleep(max(0.0, began + number / PUSHES_A_SECOND - time.monotonic()))

    # -- the sick one ------------------------------------------------------------------------------------------------

    async def mood(self, moods: dict[str, str]) -> None:
        async with self.http.post(f"{self.ill[0]}/_moods", data=orjson.dumps(moods)) as answer:
            await answer.read()

    async def pause(self, integration: str) -> None:
        status, said = await self.daemon.post("pause", {"integration": integration, "reason": "well again"})
        assert status == 200, said

    async def fall_ill(self, sickness: Sickness) -> list[subprocess.Popen[bytes]]:
        """Begin; returns the processes to end."""
        await self.mood({sickness.who: sickness.mood})
        status, said = await self.daemon.post("resume", {"integration": sickness.who})
        assert status == 200, said
        if sickness.flood is None:
            return []
        kind, rate = sickness.flood
        command = [
            sys.executable, "-m", "tests.whole.flooding", "--port", str(self.daemon.port), "--kind", kind,
            "--path", f"/webhooks/{sickness.partner}/{sickness.who}", "--per-second", str(rate),
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)  # it is under way
        return [process]

    async def _queue(self, sickness: Sickness) -> None:
        left = await self.rows.fetchval("SELECT count(*) FROM syncd.tasks WHERE integration = $1", sickness.who)
        await self.rows.execute(
            "INSERT INTO syncd.tasks (integration, kind, resource, external_id, lane, dedupe_key, created_at, cause)"
            " SELECT $1, 'fetch', 'records', 'q' || n, $3, 'fetch:records:q' || n, now(), 'backlog'"
            " FROM generate_series(1, $2::integer) n ON CONFLICT DO NOTHING",
            sickness.who,
            max(sickness.tasks - left, 0),
            sickness.lane,
        )
        await self.rows.execute("VACUUM (ANALYZE) syncd.tasks")
        await self.rows.execute("CHECKPOINT")

    async def recover(self, sickness: Sickness, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
            out, _ = await asyncio.to_thread(process.communicate)
            lines = [line for line in out.splitlines() if line.endswith(b"}")]
            if lines:
                self.flooded.update(json.loads(lines[-1]))
        await self.pause(sickness.who)
        await self.mood({sickness.who: "idle"})

    # -- measuring ---------------------------------------------------------------------------------------------------

    async def stored(self) -> dict[str, int]:
        """Records of the listings stored so far."""
        found = await self.rows.fetch(
            "SELECT integration, sum(added) AS added FROM syncd.runs"
            " WHERE resource = 'records' AND integration = ANY($1::text[]) AND added > 0 GROUP BY integration",
            list(HEALTHY),
        )
        return {row["integration"]: int(row["added"]) for row in found}

    async def measure(self, seconds: float) -> Figures:
        before, cpu, began, at = await self.stored(), cpu_seconds(self.daemon.pid), time.monotonic(), time.time()
        await asyncio.sleep(seconds)
        after, used, took = await self.stored(), cpu_seconds(self.daemon.pid) - cpu, time.monotonic() - began
        return Figures(
            {name: (after.get(name, 0) - before.get(name, 0)) / took for name in HEALTHY}, used / took, at, time.time()
        )

    async def turns(
        self, sickness: Sickness, seconds: float, rounds: int, settle: float = SETTLE_SECONDS
    ) -> list[tuple[Figures, Figures]]:
        """So often the healthy ones alone, then beside the sick one."""
        found = []
        for _ in range(rounds):
            if sickness.tasks:  # they wait beside the healthy alone, too: what is measured is working on them
                await self._queue(sickness)
                await asyncio.sleep(settle)
            await asyncio.sleep(settle)
            alone = await self.measure(seconds * sickness.times)
            processes = await self.fall_ill(sickness)
            try:
                await asyncio.sleep(settle)
                beside = await self.measure(seconds * sickness.times)
            finally:
                await self.recover(sickness, processes)
            found.append((alone, beside))
        return found

    async def arrived(self, figures: Sequence[Figures], *, patience: float = 30.0) -> None:
        """Fill in the times of deliveries and pushes that were begun while these were measured."""
        first, last = min(one.began for one in figures), max(one.ended for one in figures)
        marks = [mark for mark, (_, at) in self.sent.items() if first <= at <= last]
        exact = await self.rows.fetchval("SELECT current_setting('track_commit_timestamp') = 'on'")
        at = "pg_xact_commit_timestamp(xmin)" if exact else "synced_at"
        keys = [key for key, at in self.wanted.items() if any(one.began <= at < one.ended for one in figures)]
        deadline = time.monotonic() + patience
        while True:
            rows = await self.rows.fetch(
                f"SELECT external_id, extract(epoch FROM {at})::float8 AS at FROM syncd.records"
                " WHERE integration = ANY($1::text[]) AND resource = 'told' AND external_id = ANY($2::text[])",
                list(HEALTHY),
                marks,
            )
            async with self.http.get(f"{self.well[0]}/_stats") as answer:
                pushed: dict[str, float] = orjson.loads(await answer.read())["pushed"]
            if (len(rows) >= len(marks) and pushed.keys() >= set(keys)) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        stored = {row["external_id"]: row["at"] for row in rows}
        for one in figures:
            one.hooks = sorted(
                stored.get(mark, math.inf) - at for mark, (_, at) in self.sent.items() if one.began <= at < one.ended
            )
            one.pushes = sorted(
                pushed.get(key, math.inf) - at for key, at in self.wanted.items() if one.began <= at < one.ended
            )
            one.refused = sum(one.began <= at < one.ended for at in self.refusals)


def quantile(values: Sequence[float], share: float) -> float:
    """Of values in order; NaN of none."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else math.nan


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sickness, all rounds of it."""

    sickness: str
    kept: float
    """Median over the rounds of what the healthy ones stored beside it, against alone in the same round."""
    worst: float
    """The same of the integration that kept least."""
    alone: float
    """Records a second, median."""
    beside: float
    hooks: tuple[float, float, float, float]
    """Seconds from delivery to row: p50 and p99 alone, p50 and p99 beside."""
    pushes: tuple[float, float, float, float]
    refused: int
    cpu: tuple[float, float]
    lost: int
    """Deliveries and pushes that never arrived."""


def judged(sickness: str, turns: Sequence[tuple[Figures, Figures]]) -> Verdict:
    def times(which: str) -> tuple[float, float, float, float]:
        sides = [sorted(at for turn in turns for at in getattr(turn[side], which)) for side in (0, 1)]
        return tuple(quantile(side, share) for side in sides for share in (0.5, 0.99))  # type: ignore[return-value]

    return Verdict(
        sickness,
        median(beside.total / max(alone.total, 1e-9) for alone, beside in turns),
        min(
            median(beside.records[name] / max(alone.records[name], 1e-9) for alone, beside in turns) for name in HEALTHY
        ),
        median(alone.total for alone, _ in turns),
        median(beside.total for _, beside in turns),
        times("hooks"),
        times("pushes"),
        sum(beside.refused for _, beside in turns),
        (median(alone.cpu for alone, _ in turns), median(beside.cpu for _, beside in turns)),
        sum(math.isinf(at) for turn in turns for one in turn for at in (*one.hooks, *one.pushes)),
    )


__all__ = ["HEALTHY", "SICK", "SICKNESSES", "Figures", "Sickness", "Stage", "Verdict", "judged", "quantile"]
