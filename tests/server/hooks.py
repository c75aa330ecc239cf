"""A partner that signs as Stripe does, its receivers, and a keeper that does what the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from syncd.kit import Receiver, RestDriver, Secret, signatures
from syncd.kit.reading import parse
from syncd.server.app import Server
from syncd.server.webhooks import Keeper, Receivers, Webhooks
from syncd.store.intake import Arrival
from tests.server.fakes import FakeStatus, settings

KEY = "whsec_c3ludGhldGljLXdlYmhvb2sta2V5LTAwMDAwMDAx"
RULES: dict[str, Any] = {"verify": "stripe", "event_id": "id", "type": "type"}


def receiver(integration: str = "one", *, partner: str = "acme", key: str = KEY, **more: Any) -> Receiver:
    spec = more.pop("spec", None) or {"webhooks": more.pop("rules", RULES)}
    driver = RestDriver(parse({"name": partner, **spec}))
    return Receiver(partner, integration, driver, [Secret(key)], **more)


def by_name(*found: Receiver) -> Receivers:
    return {(one.partner, one.integration): one for one in found}


def seal(body: bytes, clock: Any, *, key: str = KEY) -> dict[str, str]:
    """The headers of a delivery sent now."""
    return {"Stripe-Signature": signatures.sign_stamped(body, str(int(clock.now().timestamp())), key)}


class FakeKeeper:
    """Remembers what it was given; `says` makes it answer otherwise."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Arrival] = {}
        self.told: list[str] = []
        self.says: Callable[[Arrival], bool | str] | None = None

    def offer(self, arrival: Arrival, caller: Callable[[bool | str], None]) -> None:
        key = arrival[:2]
        outcome = self.says(arrival) if self.says is not None else key not in self.rows
        self.rows.setdefault(key, arrival)
        asyncio.get_running_loop().call_soon(caller, outcome)

    def tell(self, integration: str) -> None:
        self.told.append(integration)


@asynccontextmanager
async def hooked(
    receivers: Callable[[], Receivers], keeper: Keeper, *, clock: Any, more: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[str]:
    """A public site with webhooks; yields its address. `more` is for `Webhooks`."""
    webhooks = Webhooks(receivers, keeper, clock=clock, **(more or {}))
    server = Server(settings(**config), FakeStatus(), clock=clock, webhooks=webhooks)
    running = asyncio.create_task(server.run())  # a fixture begins in one task and ends in another: no task group
    try:
        while not server.public.port and not running.done():
            await asyncio.sleep(0)
        yield f"http://{server.public}"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
