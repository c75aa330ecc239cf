"""localstripe, a Stripe-like server nobody here wrote, as a process of its own that tests seed, change and read back.

Only two things about it are set from outside, because its own start-up gives no choice: it listens on loopback alone
(by itself it binds every IPv6 address of the machine), and it keeps its data in memory (by itself it pickles all of it
into one file shared by the whole machine, again on every write). Its routes and answers are its own. How they differ
from Stripe's is written down in docs/decisions/0002-localstripe.md.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

LAUNCH = """
import socket, sys
from aiohttp import web
from localstripe import resources
resources.Store.dump_to_disk = lambda store: None
from localstripe.server import app
listener = socket.create_server(("127.0.0.1", 0))
async def say_where(app):
    print(listener.getsockname()[1], flush=True)
app.on_startup.append(say_where)
web.run_app(app, sock=listener, access_log=None, print=None)
"""
CUSTOMERS = "customers"
PRODUCTS = "products"
INVOICES = "invoices"


class LocalStripe:
    """One running server and a client for it. `async with LocalStripe.started() as stripe:` or start() and stop()."""

    KEY = "sk_test_localstripe"  # any key that begins like this is let in

    def __init__(self) -> None:
        self.base_url = ""
        """What a configuration file's `base_url` has to say, once it runs."""
        self._process: Process | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> LocalStripe:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the process on a free port and return when it answers."""
        self._process = await asyncio.create_subprocess_exec(sys.executable, "-c", LAUNCH, stdout=PIPE, stderr=DEVNULL)
        assert self._process.stdout is not None
        port = int(await asyncio.wait_for(self._process.stdout.readline(), 60))
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.KEY}"})

    async def stop(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def call(self, method: str, path: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One call. Raises aiohttp.ClientResponseError for anything but a 200."""
        assert self._http is not None, "start() first"
        async with self._http.request(method, f"{self.base_url}/{path}", data=form) as answer:
            answer.raise_for_status()
            body: dict[str, Any] = await answer.json()
            return body

    async def seed(self, *, customers: int = 2000, products: int = 500, invoices: int = 500) -> dict[str, list[str]]:
        """Create that many of each through the API, and return their ids in the order of creation.

        An invoice cannot be made alone here: it is what a new subscription of a customer to a free plan leaves behind.
        So at most one a customer, and one product more than asked for stands behind the plan; it is counted in.
        """
        assert invoices <= customers
        plan = {"id": "free", "amount": "0", "currency": "eur", "interval": "month", "product[name]": "Free of charge"}
        made = {PRODUCTS: [(await self.call("POST", "plans", plan))["product"]]}
        made[PRODUCTS] += await self._many(PRODUCTS, (_product(n) for n in range(1, products)))
        made[CUSTOMERS] = await self._many(CUSTOMERS, (_customer(n) for n in range(customers)))
        orders = ({"customer": customer, "items[0][plan]": "free"} for customer in made[CUSTOMERS][:invoices])
        made[INVOICES] = await self._many("subscriptions", orders, key="latest_invoice")
        return made

    async def seed_more(self, *, customers: int = 0, products: int = 0) -> None:
        """A few more after the seed."""
        await self._many(PRODUCTS, (_product(n) for n in range(1000, 1000 + products)))
        await self._many(CUSTOMERS, (_customer(n) for n in range(1000, 1000 + customers)))

    async def _many(self, resource: str, forms: Iterable[dict[str, str]], *, key: str = "id") -> list[str]:
        return [(await self.call("POST", resource, form))[key] for form in forms]

    async def list(self, resource: str, *, page: int = 100) -> list[dict[str, Any]]:
        """Everything the server itself lists, in its own order, by its own pages."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            after = f"&starting_after={found[-1]['id']}" if found else ""
            answer = await self.call("GET", f"{resource}?limit={page}{after}")
            found += answer["data"]
            more = answer["has_more"]
        return found

    async def update(self, resource: str, external_id: str, **fields: str) -> dict[str, Any]:
        return await self.call("POST", f"{resource}/{external_id}", fields)

    async def send_webhooks(self, url: str, secret: str) -> None:
        """Have every event posted there from now on, signed with the secret."""
        assert self._http is not None, "start() first"
        place = self.base_url.removesuffix("/v1") + "/_config/webhooks/all"
        async with self._http.post(place, data={"url": url, "secret": secret}) as answer:
            answer.raise_for_status()

    async def delete(self, resource: str, external_id: str) -> None:
        await self.call("DELETE", f"{resource}/{external_id}")


def _customer(n: int) -> dict[str, str]:
    return {
        "name": f"Customer {n}",
        "email": f"customer{n}@example.com",
        "description": "Straße 7 · 東京 · 🧾" if n % 50 == 0 else f"Number {n}",
        "phone": f"+4930{n:07d}",
        "address[city]": "Berlin",
        "address[line1]": f"Lane {n % 97}",
        "metadata[number]": str(n),
    }


def _product(n: int) -> dict[str, str]:
    return {"name": f"Product {n}", "description": f"The {n}th thing", "metadata[number]": str(n)}
