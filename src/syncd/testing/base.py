"""The base of every simulated partner: one aiohttp application that enforces, answers, counts and misbehaves.

A partner's `simulator.py` states routes, tiers, data and error bodies; arrival order is always the same: counted,
limits, credential, handler, headers. `/_sim/*` (see `admin.py`) lies beside the partner's own paths, is never
limited and answers loopback only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import orjson
from aiohttp import web

from syncd.clock import Clock, SystemClock
from syncd.testing import admin
from syncd.testing.account import Account
from syncd.testing.call import Answer, Call
from syncd.testing.collection import Collection, Entry, Raw, World, joined, share_of
from syncd.testing.counters import Counters
from syncd.testing.deliveries import Deliveries, Target
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Enforcer, Refusal, Seats, Tier, never, tiers_from
from syncd.testing.misbehaviour import Misbehaviour, packed, poisoned

__all__ = ["Answer", "Call", "Route", "Simulator"]

Route = tuple[str, str, str]
"""Method, template (`/v1/customers/{id}`), name of the handler method."""


class Simulator(Account):
    """One simulated partner account. `state` is its truth; every change goes through `create`, `update`, `delete`.

    Options common to all: `seed`, `tiers` (list of rates replacing the partner's own), `enforce` (False only counts),
    `concurrency`, `latency` ([min, max] seconds), `compress`, `mutations` ({per_second, total}), `retry_seconds`
    (webhooks), `limit_share` (scale every limit), `published` (files of the partner's specification, or true for those that
    are known: every request and answer is compared with them). The partner's own are listed in its class.
    """

    name: ClassVar[str]
    base_path: ClassVar[str] = "/v1"
    token_route: ClassVar[str] = ""
    consent_route: ClassVar[str] = ""
    """The page where a person allows it (see `consent.py`)."""
    credentials: ClassVar[Mapping[str, str]] = {}
    """By the name of a credential in an integration's file: the option that has what is accepted."""
    id_field: ClassVar[str] = "id"
    routes: ClassVar[tuple[Route, ...]] = ()

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 7,
        tiers: list[Any] | None = None,
        enforce: bool = True,
        concurrency: int | None = None,
        latency: tuple[float, float] | None = None,
        compress: bool = False,
        mutations: Mapping[str, Any] | None = None,
        retry_seconds: list[float] | None = None,
        limit_share: float = 1.0,
        published: Sequence[str] | bool = False,
        **options: Any,
    ) -> None:
        self.clock = clock or SystemClock()
        self.seed = seed
        self.options = {**self.defaults(), **options}
        unknown = set(options) - set(self.defaults())
        if unknown:
            raise TypeError(f"unknown option {sorted(unknown)} for {self.name}; known: {sorted(self.defaults())}")
        self.compress = compress
        self.contract = _watch(self.name, published) if published else None
        self.started_at = self.clock.monotonic()
        self.dice = Dice(f"{self.name}-{seed}-later")
        self.counters = Counters(self.started_at)
        own_tiers, own_seats = self.limits()
        if tiers is not None:
            own_tiers = tiers_from(tiers) + [tier for tier in own_tiers if tier.key is never]
        if concurrency is not None:
            own_seats = [Seats("concurrency", concurrency, reason="concurrency")]
        self.enforcer = Enforcer(own_tiers, own_seats, enforce=enforce)
        if limit_share != 1.0:
            self.enforcer.scale(limit_share)
        self.misbehaviour = Misbehaviour(self.clock, self.token_route)
        if latency is not None:
            self.misbehaviour.add("latency", min=latency[0], max=latency[1])
        self.deliveries = Deliveries(self.clock, self.sign, retry_seconds or (0.5, 2.0, 5.0))
        self.mutated = {"create": 0, "update": 0, "delete": 0}
        self.stream_options = dict(mutations or {})
        self._stream: asyncio.Task[None] | None = None
        self._foreign: World | None = None
        self._thin: tuple[Any, Collection] | None = None
        self._table: dict[tuple[str, int], list[tuple[list[str], str, Callable[[Call], web.Response]]]] = {}
        for method, template, handler in self.routes:
            parts = template.strip("/").split("/")
            self._table.setdefault((method, len(parts)), []).append((parts, template, getattr(self, handler)))
        self.state: World = self.make_world(Dice(f"{self.name}-{seed}"))
        self.app = web.Application(client_max_size=4 * 2**20)
        self.app.router.add_route("*", "/_sim/{tail:.*}", self._admin)
        self.app.router.add_route("*", "/{tail:.*}", self._handle)
        self.app.on_startup.append(self._begin)
        self.app.on_cleanup.append(self._end)

    def now(self) -> float:
        return super().now() - self.deliveries.age_seconds

    # What a partner says of itself

    def needs(self) -> Mapping[str, Any]:
        """Options that an integration's file must give to be of this account, beside the addresses of its calls."""
        return {}

    def defaults(self) -> dict[str, Any]:
        """The partner's own options and their defaults."""
        return {}

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        """The stated limits."""
        return [], []

    def authorise(self, call: Call) -> web.Response | None:
        """The refusal, or None when the credential is good."""
        return None

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        """The partner's 429."""
        return self.reply({"message": "Too many requests"}, 429)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        """The partner's error body for a status; also for those that it is told to answer."""
        return self.reply({"message": message or f"error {status}"}, status)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        """Headers that every answer carries."""

    def budget(self, method: str, route: str) -> str:
        """`read`, `write`, or `token`, which spends from no account-wide tier."""
        if route and route in (self.token_route, self.consent_route):
            return "token"
        return "read" if method == "GET" else "write"

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        """Headers of one webhook delivery."""
        return {}

    def special(self, kind: str, call: Call) -> web.Response | None:
        """An answer for a misbehaviour that only this partner has."""
        return None

    def action(self, name: str, params: Raw) -> Any:
        """A partner's own admin action (`POST /_sim/do/{name}`); None when it has no such thing."""
        return None

    def forced(self, response: web.Response, call: Call) -> None:
        """An answer was forced after the work was done (a partner may keep it for its idempotency key)."""

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        """A webhook subscription made from outside the partner's own API."""
        return Target(f"wh_{self.dice.code(12)}", url, secrets, events)

    # What listing handlers ask for

    def listing(self, call: Call, resource: str) -> Collection:
        """The collection that a listing shows: the truth, unless told to misbehave."""
        return self.shown(call, self.state, resource)

    def shown(self, call: Call, world: World, resource: str) -> Collection:
        if not self.misbehaviour.rules:
            return world[resource]
        if self.misbehaviour.take("empty", call.where) is not None:
            return Collection(resource)
        if self.misbehaviour.take("foreign", call.where) is not None:
            if self._foreign is None:
                self._foreign = self.make_world(Dice(f"{self.name}-{self.seed}-another tenant"))
            return self._foreign[resource]
        rule = self.misbehaviour.take("missing", call.where)
        if rule is not None:
            share = rule.number("share", 0.4)
            wanted = (resource, share, world[resource].version)
            if self._thin is None or self._thin[0] != wanted:
                self._thin = (wanted, world[resource].subset(lambda entry: share_of(entry.id) >= share))
            return self._thin[1]
        return world[resource]

    def looping(self, call: Call) -> bool:
        """True when the pages of a listing are to repeat."""
        return self.misbehaviour.take("loop", call.where) is not None

    def total(self, call: Call, number: int) -> int:
        """A stated total, wrong when told so."""
        rule = self.misbehaviour.take("wrong_total", call.where)
        return number if rule is None else number + int(rule.number("by", 7))

    def page(self, call: Call, entries: list[Entry], encode: Callable[[Entry], bytes] | None = None) -> bytes:
        """The records of one page as the inside of a JSON array, one of them poisoned when told so."""
        rule = self.misbehaviour.take("poison", call.where) if entries else None
        if rule is None:
            return joined(entries) if encode is None else b",".join([encode(entry) for entry in entries])
        how, at = str(rule.params.get("how", "nul")), int(rule.number("at", 2)) % len(entries)
        parts = [entry.encoded if encode is None else encode(entry) for entry in entries]
        parts[at] = poisoned(orjson.loads(parts[at]), how, self.id_field, str(rule.params.get("field", "poison")))
        return b",".join(parts)

    def reply(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
        """A JSON answer; bytes are sent as they are."""
        return web.Response(
            body=body if isinstance(body, bytes) else orjson.dumps(body),
            status=status,
            headers=headers,
            content_type="application/json",
        )

    # One request

    def _match(self, method: str, path: str) -> tuple[str, dict[str, str], Callable[[Call], web.Response] | None]:
        parts = path.strip("/").split("/")
        for template, route, handler in self._table.get((method, len(parts)), ()):
            args = {}
            for wanted, part in zip(template, parts, strict=True):
                if wanted.startswith("{"):
                    args[wanted[1:-1]] = part
                elif wanted != part:
                    break
            else:
                return route, args, handler
        return "/unknown", {}, None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        now = self.clock.monotonic()
        route, args, handler = self._match(request.method, request.path)
        call = Call(request, route, args, self.budget(request.method, route), now)
        number = self.counters.arrived(call.where, now)
        refusal, held = self.enforcer.arrive(call, now)
        status = 0
        try:
            if self.misbehaviour.rules and await self.misbehaviour.before(request, call.where):
                return web.Response()
            if request.can_read_body:
                call.body = await request.read()
            watch = self.contract if call.budget != "token" and not self.misbehaviour.rules else None
            if watch is not None:
                watch.request(call)
            response = self.refuse(refusal, call) if refusal is not None else await self._answer(call, handler)
            self.finish(response, call)
            if watch is not None:
                watch.answer(call, response)
            rule = self.misbehaviour.take("skew", call.where)
            if rule is not None:
                response.headers["Date"] = self.date(rule.number("by", 300))
            if refusal is not None:
                status = response.status
                return response
            body = response.body
            wanted = self.compress and "gzip" in request.headers.get("Accept-Encoding", "")
            if wanted and isinstance(body, bytes) and len(body) > 256:
                response.headers["Content-Encoding"] = "gzip"
                response.body = packed(body)
            sent = await self.misbehaviour.after(request, response, call.where, lambda: self.enforcer.leave(held))
            status = response.status if sent is not None else 0
            if sent is not None and sent is not response and not sent.prepared:
                self.finish(sent, call)
                status = sent.status
            return sent if sent is not None else web.Response()
        finally:
            self.enforcer.leave(held)
            self.counters.answered(number, call.where, status)

    async def _answer(self, call: Call, handler: Callable[[Call], web.Response] | None) -> web.Response:
        if self.misbehaviour.rules:
            await self.misbehaviour.delay(call.where)
            rule = self.misbehaviour.take("status", call.where)
            if rule is not None:
                if rule.params.get("processed"):
                    await self._work(call, handler)
                response = self.failure(int(rule.number("status", 503)), call, str(rule.params.get("message", "")))
                if "body" in rule.params:
                    response.body = str(rule.params["body"]).encode()
                if "retry_after" in rule.params:
                    response.headers["Retry-After"] = str(rule.params["retry_after"])
                if "retry_date" in rule.params:
                    skew = self.misbehaviour.standing("skew", call.where)
                    off = skew.number("by", 300) if skew is not None else 0.0
                    response.headers["Retry-After"] = self.date(rule.number("retry_date", 5) + off)
                    response.headers["Date"] = self.date(off)
                response.headers.update({str(k): str(v) for k, v in rule.params.get("headers", {}).items()})
                self.forced(response, call)
                return response
            if self.misbehaviour.take("lock_timeout", call.where) is not None:
                special = self.special("lock_timeout", call)
                if special is not None:
                    return special
        return await self._work(call, handler)

    async def _work(self, call: Call, handler: Callable[[Call], web.Response] | None) -> web.Response:
        try:
            refused = self.authorise(call) if call.budget != "token" else None
            if refused is not None:
                return refused
            if handler is None:
                return self.failure(404, call, f"Unrecognized request URL ({call.method}: {call.request.path}).")
            return handler(call)
        except Answer as answer:
            return answer.response

    async def _admin(self, request: web.Request) -> web.StreamResponse:
        return await admin.answer(self, request)

    async def _begin(self, app: web.Application) -> None:
        self.deliveries.start()
        if self.stream_options:
            self.stream(**self.stream_options)

    async def _end(self, app: web.Application) -> None:
        self.stop_stream()
        await self.deliveries.aclose()

    def stats(self) -> dict[str, Any]:
        """Everything counted so far."""
        return {
            "name": self.name,
            "uptime_seconds": self.clock.monotonic() - self.started_at,
            "violations": self.enforcer.violations,
            "surprises": self.enforcer.surprises,
            "contract": None if self.contract is None else sum(self.contract.problems.values()),
            "contract_seen": None if self.contract is None else self.contract.view(),
            **self.counters.view(),
            "tiers": self.enforcer.view(),
            "records": {name: len(collection) for name, collection in self.state.collections.items()},
            "mutations": dict(self.mutated),
            "streaming": self.streaming,
            "webhooks": self.deliveries.view(),
            "misbehaviour": self.misbehaviour.view(),
        }


def _watch(name: str, files: Sequence[str] | bool) -> Any:
    """Loaded only where asked for: it brings the whole driver kit along."""
    from syncd.testing.contract_watch import ContractWatch

    return ContractWatch(name, files)
