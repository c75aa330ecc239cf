"""The script: webhooks, pushes and new tokens; then a partner tightens a limit, one answers 429 with a date, one goes down.

It pulls the simulators' strings and says what it did; what comes of it is told by the daemon alone. Each act goes on as
soon as the daemon has noticed, and in any case after a while, so the story ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from syncd.clock import Clock
from syncd.demo.acts import Acts
from syncd.demo.cast import CAST
from syncd.demo.stage import Stage
from syncd.engine import Engine
from syncd.store import Store
from syncd.testing.control import Control

NOTICED_SECONDS = 15.0
"""An act waits so long for the daemon to notice, and then goes on all the same."""
SETTLED_SECONDS = 75.0
"""The end waits so long for everybody to be well: a minute is the longest window that the story fills."""
READ_SECONDS = 2.5
"""How long something new stands on the screen before the next thing happens."""
LOOK_SECONDS = 0.1

TIGHTENED = 0.2
SLOW_SECONDS = 7 * 60
WAIT_SECONDS = 6
OUTAGE_SECONDS = 4.0

BUSY: dict[str, tuple[str, ...]] = {name: role.busy for name, role in CAST.items() if role.busy}
"""Resources that are asked for every second to three, so that these partners are called all the time."""

Overview = Mapping[str, Any]


class Story:
    """Plays once. `overview` is what the daemon said last; `caption` is told what the script just did, `forced` how many
    429s a partner was made to answer."""

    def __init__(
        self,
        set_up: Stage,
        engine: Engine,
        store: Store,
        clock: Clock,
        overview: Callable[[], Overview],
        caption: Callable[[str], None],
        forced: dict[str, int],
    ) -> None:
        self._partners = {name: Control(simulator.url) for name, simulator in set_up.simulators.items()}
        self._engine = engine
        self._clock = clock
        self._overview = overview
        self._caption = caption
        self._forced = forced
        self._acts = Acts(set_up, engine, store, clock, caption)

    async def play(self) -> None:
        """All acts, and then quiet: what the partners hold from here on stays as it is."""
        await self._acts.play()
        async with self._changes():
            self._caption("records change all the time at three of them, and each is asked every few seconds")
            await self._clock.sleep(READ_SECONDS)
            await self._tightens()
            await self._names_a_date()
            await self._goes_down()
        await self._quiet()

    # -- the acts

    async def _tightens(self) -> None:
        """Guesty allows a fifth of the calls a second, and its headers go on stating the old figure."""
        guesty = self._partners["guesty"]
        stated = (await guesty.stats())["tiers"]["second"]["limit"]
        await guesty.tighten(TIGHTENED, "second", silent=True)
        self._caption(f"guesty now allows {stated * TIGHTENED:g} calls a second instead of {stated:g}, without a word")
        await self._engine.sync("rentals", "listings", None, who="the demo")
        await self._until(lambda: bool(_learned(self._scope("guesty"))))
        await self._clock.sleep(READ_SECONDS)

    async def _names_a_date(self) -> None:
        """Attio says 429 and until when, by a clock that is minutes behind ours."""
        attio = self._partners["attio"]
        await attio.misbehave("skew", by=-SLOW_SECONDS)
        await attio.misbehave("status", status=429, retry_date=WAIT_SECONDS, count=1, match="/records/query")
        self._caption(f"attio answers 429 with a date, by a clock that is {SLOW_SECONDS // 60} minutes slow")
        await self._until(lambda: self._state("attio") == "waiting")
        await self._until(lambda: self._state("attio") == "healthy")
        await attio.behave("skew")
        unused = any(rule["kind"] == "status" for rule in (await attio.stats())["misbehaviour"])
        await attio.behave("status")
        self._forced["attio"] = 0 if unused else 1
        await self._clock.sleep(READ_SECONDS)

    async def _goes_down(self) -> None:
        """Stripe answers nothing but 503 for a while, and then is well again."""
        stripe = self._partners["stripe"]
        await stripe.misbehave("status", status=503)
        self._caption("stripe answers 503 to everything")
        await self._until(lambda: _is_broken(self._scope("stripe")))
        await self._clock.sleep(OUTAGE_SECONDS)
        await stripe.behave("status")
        self._caption("stripe is back")
        await self._until(lambda: self._state("stripe") == "healthy" and not _is_broken(self._scope("stripe")))
        await self._clock.sleep(READ_SECONDS)

    async def _quiet(self) -> None:
        """Nothing changes any more; every busy resource has been read once since, and nobody is in trouble."""
        stopped_at = self._clock.now()
        self._caption("the partners stop changing")
        await self._until(
            lambda: (
                all(self._is_fresh(partner, stopped_at) for partner in BUSY)
                and all(one["state"] == "healthy" for one in self._overview()["integrations"])
            ),
            SETTLED_SECONDS,
        )

    # -- changes at the partners

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[None]:
        """Meanwhile records change at every partner, twice a second altogether."""
        changing = asyncio.create_task(self._change())
        try:
            yield
        finally:
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing

    async def _change(self) -> None:
        while True:
            for partner, body in (
                ("attio", {"op": "create", "resource": "people", "count": 1}),
                ("guesty", {"op": "random", "resource": "reservations", "creations": 0, "deletions": 0}),
                ("stripe", {"op": "random", "resource": "customers", "deletions": 0}),
            ):
                await self._partners[partner].ask("POST", "mutate", body)
                await self._clock.sleep(0.5)

    # -- looking

    async def _until(self, seen: Callable[[], bool], seconds: float = NOTICED_SECONDS) -> None:
        ends_at = self._clock.monotonic() + seconds
        while not seen() and self._clock.monotonic() < ends_at:
            await self._clock.sleep(LOOK_SECONDS)

    def _scope(self, partner: str) -> Mapping[str, Any]:
        return next((scope for scope in self._overview()["scopes"] if scope["partner"] == partner), {})

    def _state(self, partner: str) -> str:
        return next(str(one["state"]) for one in self._overview()["integrations"] if one["partner"] == partner)

    def _is_fresh(self, partner: str, since: datetime) -> bool:
        integration = next(one for one in self._overview()["integrations"] if one["partner"] == partner)
        read = {resource["name"]: resource["last_run"] or {} for resource in integration["resources"]}
        begun = [read[name].get("started_at") for name in BUSY[partner]]
        ended = all(read[name].get("outcome") == "done" for name in BUSY[partner])
        return ended and integration["state"] == "healthy" and all(at is not None and at > since for at in begun)


def _learned(scope: Mapping[str, Any]) -> list[Any]:
    return [tier for tier in scope.get("tiers", []) if tier.get("learned")]


def _is_broken(scope: Mapping[str, Any]) -> bool:
    return any(told["state"] != "closed" for told in scope.get("breakers", {}).values())
