"""Webhooks that a simulator sends: signed by the partner's rules, retried, and told apart in the end.

Told to, it sends them twice, out of order, or not at all; and it attacks: forged, altered, unsigned and stale deliveries,
whose answers are counted apart.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from syncd.clock import Clock

PARALLEL = 16
KEPT = 10_000
"""Finished deliveries remembered for `view` and redelivery."""
ATTACKS = ("forged", "altered", "unsigned", "stale")
STALE_SECONDS = 3600.0
KNOWN = 500_000
"""Ids of acknowledged deliveries remembered."""


@dataclass(slots=True)
class Target:
    """One subscription: where to send which events, signed with which secrets (several during a rotation)."""

    id: str
    url: str
    secrets: list[str]
    events: list[str] = field(default_factory=lambda: ["*"])
    status: str = "active"
    facts: dict[str, Any] = field(default_factory=dict)

    def wants(self, event: str) -> bool:
        """Names may end in `.*`; `*` is every event."""
        return any(
            name in ("*", event) or (name.endswith(".*") and event.startswith(name[:-1])) for name in self.events
        )


@dataclass(slots=True)
class Delivery:
    """One message to one target; `id` stays the same on every attempt."""

    id: str
    target: Target
    event: str
    body: bytes
    attempts: int = 0
    status: int | None = None
    """Of the last answer; 0 when no connection came about."""
    attack: str = ""
    """One of ATTACKS; empty: an honest one."""


Sign = Callable[[Target, bytes, str], Mapping[str, str]]


class Deliveries:
    """Sends what was posted, at most 16 at once, trying again after each of `retry_seconds`."""

    def __init__(self, clock: Clock, sign: Sign, retry_seconds: Sequence[float] = (0.5, 2.0, 5.0)) -> None:
        self.clock = clock
        self.sign = sign
        self.retry_seconds = tuple(retry_seconds)
        self.timeout_seconds = 15.0
        """An answer that takes longer is none; read when sending begins."""
        self.targets: dict[str, Target] = {}
        self.waiting: deque[Delivery] = deque()
        self.done: deque[Delivery] = deque(maxlen=KEPT)
        self.acknowledged: deque[str] = deque(maxlen=KNOWN)
        """Ids of messages that were answered with a 2xx, in the order of the answers; a duplicate stands there again."""
        self.delivered = self.failed = self.attempts = self.retrying = 0
        self.duplicate = 0
        """Send each message so many times more, as partners do."""
        self.lose_every = 0
        """Of so many messages the last is never sent."""
        self.hold_seconds = 0.0
        """Each message waits up to so long, by chance, so that they come out of order."""
        self.age_seconds = 0.0
        """How long ago what is signed just now says it was signed; the partner's `sign` asks its clock through this."""
        self.accepts: Callable[[int, bytes], bool] | None = None
        """What counts as an acknowledgement, for a partner to whom not every 2xx is one."""
        self.before: Callable[[aiohttp.ClientSession, Delivery], Awaitable[None]] | None = None
        """What is done before each delivery leaves, for a partner that fetches a token of the receiver's first."""
        self.lost = 0
        self.attacks: dict[str, Counter[int]] = {}
        """By kind: how many were answered with which status."""
        self._posted = 0
        self._chance = Random(20261122)
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self.rewrite: Callable[[bytes], bytes] = lambda body: body
        """What is sent is put through this first."""
        self._session: aiohttp.ClientSession | None = None

    def post(self, event: str, body: bytes, message_id: str, only: Target | None = None) -> None:
        """Queue one message for every target that wants the event."""
        body = self.rewrite(body)
        for target in [only] if only is not None else list(self.targets.values()):
            if target.status == "active" and target.wants(event):
                self._posted += 1
                if self.lose_every and self._posted % self.lose_every == 0:
                    self.lost += 1
                    continue
                for _ in range(1 + self.duplicate):
                    self.waiting.append(Delivery(message_id, target, event, body))
        self._woken.set()

    def redeliver(self, count: int = 1) -> int:
        """Send the last finished deliveries once more, newest first (so out of order); returns how many."""
        again = list(self.done)[-count:][::-1]
        self.waiting.extend(Delivery(old.id, old.target, old.event, old.body) for old in again)
        self._woken.set()
        return len(again)

    def attack(self, kind: str, count: int = 1) -> int:
        """Send what no honest partner would, to every target, made of what was delivered last; returns how many.

        Raises ValueError for an unknown kind, and for `stale` at a partner that signs no time.
        """
        if kind not in ATTACKS:
            raise ValueError(f"unknown attack {kind!r}; known: {', '.join(ATTACKS)}")
        targets = list(self.targets.values())
        bodies = [old.body for old in self.done if not old.attack] or [b'{"id": "evt_of_nobody", "type": "nothing"}']
        sent = [
            Delivery(f"attack_{kind}_{number}", target, "", bodies[-1 - number % len(bodies)], attack=kind)
            for number in range(count)
            for target in targets
        ]
        if kind == "stale" and sent and self._signed(sent[0], STALE_SECONDS) == self._signed(sent[0]):
            raise ValueError("this partner signs no time: nothing it sends is ever stale")
        self.waiting.extend(sent)
        self._woken.set()
        return len(sent)

    def _signed(self, delivery: Delivery, age_seconds: float = 0.0) -> dict[str, str]:
        self.age_seconds = age_seconds
        try:
            return dict(self.sign(delivery.target, delivery.body, delivery.id))
        finally:
            self.age_seconds = 0.0

    def _headers(self, delivery: Delivery) -> Mapping[str, str]:
        match delivery.attack:
            case "unsigned":
                return {}
            case "stale":
                return self._signed(delivery, STALE_SECONDS)
            case "altered":
                told = self._signed(delivery)
                delivery.body += b" "
                return told
            case "forged":
                # Of the same kind as the right ones, so that what is refused is the signature and not its shape.
                wrong = [secret[:-6] + secret[-6:][::-1].swapcase() for secret in delivery.target.secrets]
                of_nobody = Target(delivery.target.id, delivery.target.url, wrong, facts=delivery.target.facts)
                return self.sign(of_nobody, delivery.body, delivery.id)
        return self._signed(delivery)

    def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout_seconds))
        self._pump = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        for task in [*self._running, *([self._pump] if self._pump else [])]:
            task.cancel()
        await asyncio.gather(*self._running, *([self._pump] if self._pump else []), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _run(self) -> None:
        while True:
            while not self.waiting or len(self._running) - self.retrying >= PARALLEL:
                self._woken.clear()
                await self._woken.wait()
            task = asyncio.get_running_loop().create_task(self._deliver(self.waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.attack:
            status = await self._send(delivery)
            self.attacks.setdefault(delivery.attack, Counter())[status] += 1
            return
        if self.hold_seconds:
            await self._pause(self._chance.random() * self.hold_seconds)
        for pause in (*self.retry_seconds, None):
            delivery.attempts += 1
            self.attempts += 1
            delivery.status = await self._send(delivery)
            if 200 <= delivery.status < 300:
                self.delivered += 1
                self.acknowledged.append(delivery.id)
                self.done.append(delivery)
                return
            if pause is not None:
                await self._pause(pause)
        self.failed += 1
        self.done.append(delivery)

    async def _pause(self, seconds: float) -> None:
        self.retrying += 1  # one that waits keeps no other from being sent
        self._woken.set()
        try:
            await self.clock.sleep(seconds)
        finally:
            self.retrying -= 1

    async def _send(self, delivery: Delivery) -> int:
        assert self._session is not None, "start() comes first"
        try:
            if self.before is not None and not delivery.attack:
                await self.before(self._session, delivery)
            headers = {"Content-Type": "application/json", **self._headers(delivery)}
            async with self._session.post(
                delivery.target.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                said = await answer.read()
                if self.accepts is not None and 200 <= answer.status < 300 and not self.accepts(answer.status, said):
                    return -answer.status
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def view(self) -> dict[str, Any]:
        return {
            "targets": [
                {"id": target.id, "url": target.url, "events": target.events, "status": target.status}
                for target in self.targets.values()
            ],
            "waiting": len(self.waiting),
            "in_flight": len(self._running) - self.retrying,
            "retrying": self.retrying,
            "attempts": self.attempts,
            "delivered": self.delivered,
            "failed": self.failed,
            "lost": self.lost,
            "attacks": {
                kind: {str(status): count for status, count in found.items()} for kind, found in self.attacks.items()
            },
        }
