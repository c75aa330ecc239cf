"""Looks at all surfaces of running daemons every other second, and notes when each of them names a trouble and when no more.

Surfaces: `status` (conditions), `health`, `page` (the front of `/ui`), `alert` (firing in Prometheus, by the shipped rules at
their own pace), `push` (the daemon's own messages).
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks.webhooks import Webhook

from tests.whole.daemon import Daemon

SECRET = "whsec_c3ludGhldGljIGFsZXJ0cyBzZWNyZXQ="  # not-a-secret
SURFACES = ("status", "health", "page", "alert", "push")
LOOK_SECONDS = 2.0
_WHOSE = re.compile(r"^syncd \S+: |^.*? API: integration \S+ \(company: .*?\): ")
"""What an alert's summary says before the reason."""
Key = tuple[str, str, str]
"""Daemon, integration ("": the daemon itself), code."""


@dataclass
class Trouble:
    """One that was planted."""

    daemon: str
    integration: str
    codes: tuple[str, ...]
    """Any of these is its right name."""
    at: float = 0.0
    """When it was planted; monotonic."""
    healed_at: float = 0.0
    named: dict[str, float] = field(default_factory=dict)
    """Seconds until each surface named it."""
    cleared: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    """Its condition, as the status had it last."""
    said: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """By surface, reasons and actions while it lasted."""

    def plant(self) -> None:
        self.at = time.monotonic()

    def heal(self) -> None:
        self.healed_at = time.monotonic()


class Watch:
    """`messages`, `seen` and the troubles' times, kept by `run`."""

    def __init__(self) -> None:
        self.prometheus: str | None = None
        """Its address, where there is one."""
        self.daemons: dict[str, Daemon] = {}
        self.troubles: list[Trouble] = []
        self.messages: dict[str, list[tuple[float, dict[str, Any]]]] = {}
        self.seen: dict[Key, dict[str, Any]] = {}
        """Every condition that was met, as it was first."""
        self.firing: list[dict[str, Any]] = []

    @property
    def surfaces(self) -> tuple[str, ...]:
        """Without Prometheus there is no alert to look at; its rules are tested by themselves."""
        return tuple(one for one in SURFACES if one != "alert" or self.prometheus is not None)

    @asynccontextmanager
    async def receiver(self, daemon: str) -> AsyncIterator[str]:
        """The address this daemon is to tell."""
        heard = self.messages.setdefault(daemon, [])

        async def take(request: web.Request) -> web.Response:
            text = await request.read()
            Webhook(SECRET).verify(text, {key.lower(): value for key, value in request.headers.items()})
            heard.append((time.monotonic(), orjson.loads(text)))
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/hook", take)
        hook = TestServer(app)
        await hook.start_server()
        try:
            yield str(hook.make_url("/hook"))
        finally:
            await hook.close()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, what: str, troubles: Iterable[Trouble], seconds: float) -> None:
        """Until each surface has `named` or `cleared` each of them, or the time is over."""
        troubles = list(troubles)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(set(self.surfaces) <= getattr(one, what).keys() for one in troubles):
                return
            await asyncio.sleep(0.2)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as http, asyncio.TaskGroup() as group:
            if self.prometheus is not None:
                group.create_task(self._again(lambda: self._ask_prometheus(http)))
            for name, daemon in self.daemons.items():
                group.create_task(self._again(partial(self._look, http, name, daemon)))

    @staticmethod
    async def _again(look: Callable[[], Awaitable[None]]) -> None:
        while True:
            began = time.monotonic()
            await look()
            await asyncio.sleep(max(LOOK_SECONDS - (time.monotonic() - began), 0.1))

    async def _ask_prometheus(self, http: aiohttp.ClientSession) -> None:
        try:
            async with http.get(f"{self.prometheus}/api/v1/alerts") as answer:
                found = (await answer.json())["data"]["alerts"] if answer.status == 200 else []
        except (aiohttp.ClientError, TimeoutError):
            return
        self.firing = [one for one in found if one["state"] == "firing"]

    async def _look(self, http: aiohttp.ClientSession, name: str, daemon: Daemon) -> None:
        public, admin = f"http://127.0.0.1:{daemon.port}", f"http://127.0.0.1:{daemon.admin_port}"

        async def ask(url: str) -> bytes:
            async with http.get(url) as answer:
                return await answer.read()

        try:
            status, health, page = await asyncio.gather(
                ask(f"{admin}/api/v1/status"), ask(f"{public}/health"), ask(f"{admin}/ui")
            )
        except (aiohttp.ClientError, TimeoutError):
            return
        conditions = orjson.loads(status)["conditions"]
        for one in conditions:
            self.seen.setdefault((name, one["integration"], one["code"]), one)
        text = " ".join(re.sub(r"<[^>]*>", "", html.unescape(page.decode())).split())
        for trouble in self.troubles:
            if trouble.daemon == name and trouble.at:
                self._compare(trouble, conditions, orjson.loads(health), text)

    def _compare(self, one: Trouble, conditions: list[Any], health: Mapping[str, Any], page: str) -> None:
        for each in conditions:
            if each["integration"] == one.integration and each["code"] in one.codes:
                one.told = each
                one.said.setdefault("status", set()).add((each["reason"], each["action"]))
        now, known = time.monotonic(), one.said.get("status", set())
        there = {
            "status": any(each["integration"] == one.integration and each["code"] in one.codes for each in conditions),
            "health": self._in_health(one, health),
            "page": any(" ".join(reason.split()) in page for reason, _ in known),
            "alert": self._in_prometheus(one),
        }
        for surface, is_there in there.items():
            if is_there and not one.healed_at:
                one.named.setdefault(surface, now - one.at)
            elif not is_there and one.healed_at and surface in one.named:
                one.cleared.setdefault(surface, now - one.healed_at)
            elif is_there and one.healed_at:
                one.cleared.pop(surface, None)  # it came back
        if any(reason in page and " ".join(action.split()) in page for reason, action in known):
            one.said["page"] = known
        self._in_messages(one)

    @staticmethod
    def _in_health(one: Trouble, health: Mapping[str, Any]) -> bool:
        of_it = (
            [*health.get("conditions", ())] if not one.integration else [health["services"].get(one.integration, {})]
        )
        found = [each for each in of_it if each.get("runbook") in {f"syncd runbook {code}" for code in one.codes}]
        one.said.setdefault("health", set()).update((each["reason"], each["next_action"]) for each in found)
        return bool(found)

    def _in_prometheus(self, one: Trouble) -> bool:
        mine = f"127.0.0.1:{self.daemons[one.daemon].port}"
        found = [
            each
            for each in self.firing
            if each["labels"]["alertname"].startswith("SyncdCondition")
            and (each["labels"].get("instance"), each["labels"].get("integration", "")) == (mine, one.integration)
            and each["labels"]["code"] in one.codes
        ]
        for each in found:
            told = each["annotations"]
            action = re.search(r"^Action: (.*)$", told["description"], re.MULTILINE)
            reason = _WHOSE.sub("", told["summary"])
            one.said.setdefault("alert", set()).add((reason, action[1] if action else ""))
        return bool(found)

    def _in_messages(self, one: Trouble) -> None:
        for at, message in self.messages.get(one.daemon, ()):
            for kind, times, since in (("began", one.named, one.at), ("ended", one.cleared, one.healed_at)):
                for each in message[kind]:
                    if each["integration"] == one.integration and each["code"] in one.codes and since and at >= since:
                        times.setdefault("push", at - since)
                        one.said.setdefault("push", set()).add((each["reason"], each["action"]))

    def table(self, troubles: Mapping[str, Trouble]) -> str:
        """Seconds until each surface named a trouble, and until it no longer did, as Markdown."""
        lines = [
            "| trouble | " + " | ".join(f"{one} names it" for one in self.surfaces) + " | "
            + " | ".join(f"{one} clear" for one in self.surfaces) + " |",
            "|---|" + "---:|" * 2 * len(self.surfaces),
        ]  # fmt: skip
        for name, one in troubles.items():
            figures = [_seconds(one.named.get(each)) for each in self.surfaces]
            figures += [_seconds(one.cleared.get(each)) for each in self.surfaces]
            lines.append(f"| {name} | {' | '.join(figures)} |")
        return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
