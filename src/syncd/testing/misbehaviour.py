"""What a simulator can be told to do wrong, and the wire tricks it takes to do it.

A rule stands until it was used `count` times (None: until cleared) and applies to calls whose `METHOD /route` contains
`match`. Rules about the listing's content (`empty`, `missing`, `foreign`, `loop`, `wrong_total`, `poison`) are asked
for by the listing handlers; the rest is done here, around the handler.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from aiohttp import web

from syncd.clock import Clock

KINDS = {
    "latency": "wait `min` to `max` seconds before the answer",
    "status": "answer `status` (`retry_after`, or `retry_date`: the HTTP date so many seconds from now by the partner's own "
    "clock; `body`, `headers`); `processed: true` does the work first",
    "lock_timeout": "the partner's 429 that is no rate limit",
    "html": "200 with an HTML page",
    "cut": "full Content-Length, half the body, connection closed",
    "half_json": "sound HTTP around JSON that stops in the middle",
    "drop_before": "close the connection, nothing done",
    "drop_after": "do the work, then close the connection",
    "stall": "answer nothing for `seconds`, then drop the connection",
    "slow_body": "spread the body over `seconds`",
    "huge": "a body of `bytes` (default 100 MB)",
    "gzip_bomb": "a small gzip body that becomes `bytes` (default 256 MB)",
    "empty": "listings are empty",
    "missing": "listings lack a `share` (default 0.4) of their records, always the same ones",
    "foreign": "listings are another tenant's",
    "loop": "the listing's pages repeat for ever",
    "wrong_total": "stated totals are off `by` so many",
    "poison": "one record of each page is `how`: nul, surrogate, huge_number, infinity, missing_id, wrong_types, deep",
    "token_slow": "the token endpoint takes `seconds`",
    "token_fail": "the token endpoint answers `status`",
    "skew": "the Date header is off `by` so many seconds",
}

PAGE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>We will be right back</h1></body></html>"


@dataclass(slots=True)
class Rule:
    """One instruction. `share` is the chance that a matching call meets it, `after` how many it lets pass first."""

    kind: str
    match: str = ""
    count: int | None = None
    share: float = 1.0
    after: int = 0
    used: int = 0
    params: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        return float(self.params.get(name, default))


class Misbehaviour:
    """The standing rules of one simulator."""

    def __init__(self, clock: Clock, token_route: str = "") -> None:
        self.clock = clock
        self.token_route = token_route
        self.rules: list[Rule] = []

    def add(
        self, kind: str, *, match: str = "", count: int | None = None, share: float = 1.0, after: int = 0, **params: Any
    ) -> Rule:
        """Begin to misbehave. Raises ValueError for a kind nobody knows."""
        if kind not in KINDS:
            raise ValueError(f"unknown misbehaviour {kind!r}; known: {', '.join(KINDS)}")
        if kind == "token_slow":
            kind, match = "latency", self.token_route
            seconds = params.pop("seconds", 30.0)
            params = {"min": seconds, "max": seconds, **params}
        elif kind == "token_fail":
            kind, match = "status", self.token_route
            params.setdefault("status", 503)
        elif kind == "missing":  # here the share is of the records, not of the calls
            params["share"] = share if share < 1.0 else 0.4
            share = 1.0
        rule = Rule(kind, match, count, share, after, 0, params)
        self.rules.append(rule)
        return rule

    def clear(self, kind: str = "") -> None:
        """Behave again: altogether, or in one respect."""
        self.rules = [rule for rule in self.rules if kind and rule.kind != kind]

    def view(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self.rules]

    def take(self, kind: str, where: str) -> Rule | None:
        """The first rule of that kind for a call to `METHOD /route`, used up by one; None when all is well."""
        if not self.rules:
            return None
        for rule in self.rules:
            if rule.kind != kind or rule.match not in where:
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            if rule.share < 1.0 and self.clock.random() >= rule.share:
                continue
            rule.used += 1
            if rule.count is not None:
                rule.count -= 1
                if rule.count <= 0:
                    self.rules.remove(rule)
            return rule
        return None

    def standing(self, kind: str, where: str) -> Rule | None:
        """The rule of that kind that such a call would meet; nothing is used up."""
        return next((rule for rule in self.rules if rule.kind == kind and rule.match in where), None)

    async def delay(self, where: str) -> None:
        rule = self.take("latency", where)
        if rule is not None:
            low = rule.number("min", 0.01)
            high = max(rule.number("max", low), low)
            await self.clock.sleep(low + (high - low) * self.clock.random())

    async def before(self, request: web.Request, where: str) -> bool:
        """True when the connection was dropped and nothing is to be done."""
        rule = self.take("stall", where)
        if rule is not None:
            await self.clock.sleep(rule.number("seconds", 60.0))
            return abort(request)
        return abort(request) if self.take("drop_before", where) is not None else False

    async def after(
        self, request: web.Request, response: web.Response, where: str, leaving: Callable[[], None]
    ) -> web.StreamResponse | None:
        """What to send instead of `response`: itself mostly; None when the connection is closed already.

        `leaving` is called before the last byte leaves, so that a client that has the whole answer is off the books.
        """
        if not self.rules:
            return response
        if self.take("drop_after", where) is not None:
            abort(request)
            return None
        if self.take("html", where) is not None:
            return web.Response(body=PAGE, content_type="text/html")
        body = response.body if isinstance(response.body, bytes) else b""
        if self.take("half_json", where) is not None:
            return web.Response(status=response.status, body=body[: len(body) // 2], content_type="application/json")
        if self.take("cut", where) is not None:

            async def half(out: web.StreamResponse) -> None:
                await out.write(body[: len(body) // 2])
                leaving()
                if request.transport is not None:
                    request.transport.close()

            return await streamed(request, half, length=max(len(body), 2))
        rule = self.take("slow_body", where)
        if rule is not None:
            pause = rule.number("seconds", 5.0) / 20
            step = max(len(body) // 20, 1)

            async def slowly(out: web.StreamResponse) -> None:
                for start in range(0, len(body), step):
                    await self.clock.sleep(pause)
                    if start + step >= len(body):
                        leaving()
                    await out.write(body[start : start + step])

            return await streamed(request, slowly, length=len(body), status=response.status)
        rule = self.take("huge", where)
        if rule is not None:
            size = int(rule.number("bytes", 100e6))

            async def much(out: web.StreamResponse) -> None:
                await out.write(b'{"data":[')
                block = b" " * 65536
                for _ in range(size // len(block)):
                    await out.write(block)
                leaving()
                await out.write(b"]}")

            return await streamed(request, much)
        rule = self.take("gzip_bomb", where)
        if rule is not None:
            return web.Response(
                body=bomb(int(rule.number("bytes", 256e6))),
                headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
            )
        return response


def abort(request: web.Request) -> bool:
    """Close the connection without an answer. Always True."""
    if request.transport is not None:
        request.transport.abort()
    return True


async def streamed(
    request: web.Request,
    write: Callable[[web.StreamResponse], Awaitable[None]],
    *,
    length: int | None = None,
    status: int = 200,
) -> web.StreamResponse | None:
    """Send a body piece by piece; None when the client went away or the piece-writer closed the connection."""
    out = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    if length is not None:
        out.content_length = length
    try:
        await out.prepare(request)
        await write(out)
    except (ConnectionError, OSError):
        return None
    if request.transport is None or request.transport.is_closing():
        return None
    return out


def bomb(size: int) -> bytes:
    """A gzip body that inflates to about `size` bytes of JSON white space."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b" " * 1_000_000
    parts = [packer.compress(b"[")]
    parts += [packer.compress(block) for _ in range(max(size // len(block), 1))]
    parts += [packer.compress(b"]"), packer.flush()]
    return b"".join(parts)


def packed(body: bytes) -> bytes:
    """An honest gzip body."""
    return gzip.compress(body, 1)


def poisoned(raw: dict[str, Any], how: str, id_field: str, name: str = "poison") -> bytes:
    """One record's JSON text with something in it that breaks careless readers, under the key `name`."""
    if how == "missing_id":
        return orjson.dumps({key: value for key, value in raw.items() if key != id_field})
    if how == "wrong_types":
        twisted: dict[str, Any] = {}
        for key, value in raw.items():
            twisted[key] = value if key == id_field else ([value] if isinstance(value, str | int) else "unexpected")
        return orjson.dumps(twisted)
    values = {
        "nul": b'"before\\u0000after"',
        "surrogate": b'"\\ud800 alone"',
        "huge_number": b"9" * 400,
        "infinity": b"1e999",
        "deep": b"[" * 3000 + b"]" * 3000,
        "nan": b"NaN",
    }
    if how not in values:
        raise ValueError(f"unknown poison {how!r}; known: missing_id, wrong_types, {', '.join(values)}")
    rest = orjson.dumps({key: value for key, value in raw.items() if key != name})
    return rest[:-1] + b"," + orjson.dumps(name) + b":" + values[how] + b"}"
