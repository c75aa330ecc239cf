"""What every partner can do, one after the other: it tells us of a change, it takes one of ours, and its tokens end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from syncd.clock import Clock
from syncd.demo.cast import CAST, SIGNED, Push, Role
from syncd.demo.stage import Stage, hook
from syncd.engine import Engine
from syncd.store import Store
from syncd.testing.control import Control

LONGEST_SECONDS = 90.0
"""Something that has not happened by then is no part of the show any more: the story ends with an error."""
LOOK_SECONDS = 0.2


class StoryError(Exception):
    """What should have happened did not; in words."""


class Acts:
    """Pulls each simulator's strings and waits until what comes of it is here."""

    def __init__(
        self, set_up: Stage, engine: Engine, store: Store, clock: Clock, caption: Callable[[str], None]
    ) -> None:
        self._set_up = set_up
        self._engine = engine
        self._store = store
        self._clock = clock
        self._caption = caption
        self._partners = {name: Control(simulator.url) for name, simulator in set_up.simulators.items()}

    async def play(self) -> None:
        """All of it. Raises StoryError where something does not come."""
        await self._subscribe()
        queued = ", ".join(f"{name} of {role.changes} by its queue" for name, role in CAST.items() if role.tells)
        caption = f"a record changes at each of them, and each of them says so: {queued}, of all else by webhook"
        await self._each(caption, self._tells, CAST)
        pushing = {name: role for name, role in CAST.items() if role.push is not None}
        await self._each("a change of ours goes to each of them", self._takes, pushing)
        renewing = {name: role for name, role in CAST.items() if role.renews}
        for name, role in renewing.items():
            self._caption(f"{name}: {role.renews}")
            await self._renews(name, role)

    async def _each(
        self, caption: str, act: Callable[[str, Role], Coroutine[Any, Any, None]], roles: dict[str, Role]
    ) -> None:
        self._caption(caption)
        async with anyio.create_task_group() as all_of_them:
            for name, role in roles.items():
                all_of_them.start_soon(act, name, role)

    async def _subscribe(self) -> None:
        own = [name for name, role in CAST.items() if role.hooks == "registered"]
        told = [name for name, role in CAST.items() if role.hooks == "told"]
        self._caption(f"syncd subscribes to the webhooks of {', '.join(own)}; {', '.join(told)} are told by hand")
        for name in own:
            await self._engine.subscribers.register(CAST[name].integration, dry_run=False, who="the demo")
        for name in told:
            secret = CAST[name].credentials.get(f"{name}_token", SIGNED)
            await self._partners[name].webhooks(hook(self._set_up.public, name), secret)

    async def _tells(self, name: str, role: Role) -> None:
        """A new record is here, by a delivery or by the partner's queue; where there is a queue, one by each of them."""
        control = self._partners[name]
        before = await self._delivered(control)
        await self._comes(name, role, role.changes)
        if role.tells:
            await self._comes(name, role, role.tells)

        async def told() -> bool:
            return await self._delivered(control) > before

        if role.hooks != "none":
            await self._until(told, f"{name} sent no webhook")

    async def _comes(self, name: str, role: Role, resource: str) -> None:
        (created,) = await self._partners[name].create(resource)

        async def here() -> bool:
            return await self._store.records.get(role.integration, resource, created) is not None

        await self._until(here, f"{name} made {resource}/{created}, and it did not come")

    async def _takes(self, name: str, role: Role) -> None:
        """A push is done at the partner."""
        push = role.push
        assert push is not None
        asked = await self._engine.pushes.push(
            role.integration,
            push.resource,
            push.kind,
            push.data,
            external_id=await self._one(role, push),
            key=None,
            cause="the demo",
            expires_at=None,
            who="the demo",
        )
        number = asked["push"]["id"]
        last: dict[str, Any] = {}

        async def done() -> bool:
            told = await self._engine.pushes.one(role.integration, number)
            last.update(told["push"] if told is not None else {})
            return bool(last.get("state") == "done")

        await self._until(done, f"{name} did not take {push.kind} of {push.resource}", last)

    async def _one(self, role: Role, push: Push) -> str | None:
        if push.new:
            return None
        async for record in self._store.records.scan(role.integration, push.resource, limit=1):
            return record.external_id
        raise StoryError(f"{role.integration} has no {push.resource}")

    async def _renews(self, name: str, role: Role) -> None:
        """A call goes through with a new token, and another change is here."""
        control = self._partners[name]
        issued = int((await control.stats())["tokens_issued"])
        await control.do(role.action)

        async def renewed() -> bool:
            if role.action == "rotate":
                noted = await self._store.audit.list(role.integration, limit=20)
                return any(entry.action == "credential_rotated" for entry in noted)
            return int((await control.stats())["tokens_issued"]) > issued

        if role.action != "rotate":
            await self._engine.sync(role.integration, None, None, who="the demo")
        await self._until(renewed, f"{name} issued no new token")
        await self._tells(name, role)

    # -- looking

    @staticmethod
    async def _delivered(control: Control) -> int:
        return int((await control.stats())["webhooks"]["delivered"])

    async def _until(
        self, seen: Callable[[], Awaitable[bool]], else_said: str, last: dict[str, Any] | None = None
    ) -> None:
        ends_at = self._clock.monotonic() + LONGEST_SECONDS
        while not await seen():
            if self._clock.monotonic() > ends_at:
                raise StoryError(f"{else_said}{f': {last}' if last else ''}")
            await self._clock.sleep(LOOK_SECONDS)
