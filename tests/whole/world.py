"""A small world in which every command the documents name finds what it speaks of.

Seven partners, each read whole: `acme` (Guesty), `crm` (Attio), `plant` (MaintainX), `inn` (Cloudbeds), `stay` (Airbnb),
`stripe`, and a `boatyard` that only its file describes. orders.py says what is asked of them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from syncd.testing.control import Control
from syncd.testing.process import Served, serve
from tests.whole import plain
from tests.whole.daemon import Daemon, Rows

SIMULATED: dict[str, dict[str, Any]] = {
    "guesty": {"listings": 30, "reservations": 12, "guests": 6, "tiers": ["1000/60s"], "tokens": None},
    "attio": {"people": 8, "companies": 4, "deals": 2, "notes": 2, "tasks": 2, "entries": 2},
    "maintainx": {
        "work_orders": 5, "work_order_comments": 1, "assets": 3, "parts": 2, "purchase_orders": 1, "work_requests": 1,
        "locations": 1, "users": 2, "teams": 2, "team_members": 1, "vendors": 1, "categories": 1, "meters": 1,
        "tiers": ["1000/60s"],
    },
    "cloudbeds": {"reservations": 6, "guests": 4, "rooms": 2, "room_types": 1, "room_blocks": 1, "rate_plans": 1},
    "airbnb": {"listings": 2, "reservations": 4, "threads": 1, "alterations": 0, "past": 0},
    "stripe": {"customers": 12, "products": 2, "invoices": 3, "charges": 4, "key": "sk_live_simulated_key_1"},
}  # fmt: skip
SECRETS = {
    "guesty_id": "simulated-client", "guesty_secret": "simulated-secret",
    "guesty_webhook": "whsec_c3ludGhldGljLWd1ZXN0eS13ZWJob29rLWtleS0zMmI=",  # not-a-secret
    "attio_token": "simulated-attio-token", "maintainx_key": "simulated-maintainx-key",
    "cloudbeds_id": "simulated-client", "cloudbeds_secret": "simulated-secret", "cloudbeds_refresh": "simulated-refresh",
    "airbnb_id": "simulated-client", "airbnb_secret": "simulated-secret", "airbnb_refresh": "simulated-refresh-token",
    "stripe_key": "sk_live_simulated_key_1", "stripe_webhook": "whsec_of_a_simulated_account_1",
    "boatyard_key": plain.KEY,
}  # fmt: skip
READ = {
    "acme/listings", "acme/reservations", "crm/people", "plant/work_orders", "plant/teams", "inn/reservations", "stay/hosts",
    "stripe/customers", "boatyard/boats",
}  # fmt: skip
"""What has to be there before the first command."""
LOOSE = {"tiers": ["1000/60s"], "accept_risk": True}
SELDOM = {"every": "12h", "jitter": "0s"}
BOATS = {
    "path": "/things", "records": "items", "updated": "updated_at", "total": "total", "one": "/things/{id}",
    "pages": {"kind": "offset", "param": "offset", "size": "limit"}, "since": {"param": "updated_since"},
    "fields": {"name": "name", "number": {"from": "number", "as": "integer"}},
}  # fmt: skip
BOATYARD = {
    "auth": {"kind": "api_key", "header": "X-Api-Key"}, "test": "/me", "page_size": 100,
    "limits": {"tiers": ["2000/s"], "share": 1.0}, "resources": {"boats": BOATS},
}  # fmt: skip
THING = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "number": {"type": "integer"}},
}
ANSWER = {"type": "object", "properties": {"items": {"type": "array", "items": THING}, "total": {"type": "integer"}}}
PUBLISHED = {
    "openapi": "3.0.3",
    "info": {"title": "Boats", "version": "1"},
    "servers": [{"url": "https://api.boatyard.example/v1"}],
    "paths": {
        "/things": {
            "get": {"responses": {"200": {"description": "all", "content": {"application/json": {"schema": ANSWER}}}}}
        }
    },
}
"""What a partner publishes, as far as commands want a file of that kind."""


def partners(at: Mapping[str, str]) -> dict[str, Any]:
    """The partners' files; `at` has the base_url of each."""

    def one(partner: str, integration: str, webhook: Any = None, **more: Any) -> dict[str, Any]:
        names = {
            "id": "client_id",
            "secret": "client_secret",
            "refresh": "refresh_token",
            "key": "api_key",
            "token": "token",
        }
        files = [name for name in SECRETS if name.startswith(f"{partner}_") and name.partition("_")[2] in names]
        account: dict[str, Any] = {"credentials": {names[name.partition("_")[2]]: {"file": name} for name in files}}
        if webhook is not None:
            account["webhook"] = webhook
        return {"driver": partner, "base_url": at[partner], "integrations": {integration: account}, **more}

    houses = ["900000000101"]
    inn = import_module("syncd.drivers").load("cloudbeds").resources({"auth": "oauth", "properties": houses})
    return {
        "guesty": one(
            "guesty", "acme", {"secrets": [{"file": "guesty_webhook"}]}, limits=LOOSE,
            resources=dict.fromkeys(("listings", "reservations", "guests"), SELDOM),
        ),
        "attio": one("attio", "crm", {}),
        "maintainx": one("maintainx", "plant", {}, limits=LOOSE),
        "cloudbeds": one(
            "cloudbeds", "inn", {}, options={"auth": "oauth", "properties": houses},
            resources={name: {"enabled": name in {"hotels", "reservations"}} for name in inn},
        ),
        "airbnb": one("airbnb", "stay", options={"future_days": 365}),
        "stripe": one("stripe", "stripe", {"secrets": [{"file": "stripe_webhook"}]}),
        "boatyard": {**one("boatyard", "boatyard"), "driver": "rest", "rest": BOATYARD, "resources": {"boats": SELDOM}},
    }  # fmt: skip


def founded(folder: Path, database: str, at: Mapping[str, str], **main: Any) -> Daemon:
    """A daemon with all of its files, not started."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    for name, value in SECRETS.items():
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(value)
    for name in ("boats.json", "acme-openapi.json"):
        (folder / name).write_bytes(orjson.dumps(PUBLISHED))
    daemon = Daemon(folder, database, partners(at))
    public = f"127.0.0.1:{daemon.port}"
    server = {"listen": public, "admin": f"127.0.0.1:{daemon.admin_port}", "public_url": f"http://{public}"}
    daemon.write_main({"server": server, "secrets": {"directory": str(secrets)}, **main})
    return daemon


class World:
    """The daemon, its partners, and what a word in capitals of a command stands for."""

    def __init__(self, daemon: Daemon, rows: Rows, simulators: Mapping[str, Served]) -> None:
        self.daemon, self._rows, self._simulators = daemon, rows, simulators
        self._guesty, self._boatyard = (Control(simulators[name].url) for name in ("guesty", "boatyard"))
        self._secrets = 0

    async def _all(self, query: str, *values: Any) -> list[Any]:
        return [row[0] for row in await self._rows.connection.fetch(query, *values)]

    async def letters(self, wanted: int = 3) -> list[int]:
        """Open dead letters of acme's listings, reads that the partner refused; made where there are too few."""
        query = "SELECT id FROM syncd.dead_letters WHERE state = 'open' AND integration = 'acme' ORDER BY id"
        if len(found := await self._all(query)) >= wanted:
            return found
        await self._guesty.misbehave("status", match="/v1/listings", status=422)
        tasks = [
            {
                "kind": "fetch",
                "resource": "listings",
                "external_id": each,
                "dedupe_key": f"fetch:listings:{each}",
                "lane": 1,
            }
            for each in (await self._guesty.truth_ids("listings"))[:wanted]
        ]
        await self._rows.connection.execute("SELECT syncd.put_tasks('acme', now(), $1::text::jsonb)", json.dumps(tasks))

        async def buried() -> bool:
            return len(await self._all(query)) >= wanted

        await self.daemon.until(buried, seconds=60)
        await self._guesty.behave()
        return await self._all(query)

    async def _records(self, integration: str, resource: str) -> list[Any]:
        query = (
            "SELECT external_id FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL"
            " ORDER BY 1 LIMIT 1"
        )
        return await self._all(query, integration, resource)

    async def filled(self, words: str) -> str:
        """A command with what stands for its words in capitals at this moment."""
        deliveries = "SELECT id FROM syncd.inbox WHERE integration = 'acme' ORDER BY id"
        for word in sorted(set(re.findall(r"\b[A-Z]{4,}2?\b", words)), reverse=True):
            match word:
                case "LETTER":
                    value = (await self.letters())[0]
                case "LETTER2":
                    value = (await self.letters())[1]
                case "CAUSE":
                    await self.letters()
                    code, out, err = await self.daemon.cli("dlq", "list", "acme", "--json")
                    assert code == 0, out + err
                    value = orjson.loads(out)["causes"][0]["cause"]
                case "DELIVERY" | "DELIVERY2":
                    value = (await self._all(deliveries))[word == "DELIVERY2"]
                case "PUSH":
                    await self.daemon.until(self._pushed, seconds=60)
                    query = "SELECT id FROM syncd.outbox WHERE integration = $1 AND state = 'done' ORDER BY id LIMIT 1"
                    [value] = await self._all(query, words.split()[2])
                case "LISTING":
                    [value] = await self._records("acme", "listings")
                case "RESERVATION":
                    [value] = await self._records("acme", "reservations")
                case "TEAM":
                    [value] = await self._records("plant", "teams")
                case "KEYFILE":
                    value = self.daemon.folder / "state" / "syncd.key"
                case _:
                    continue
            words = re.sub(rf"\b{word}\b", str(value), words)
        return words

    async def prepared(self, words: str) -> bytes:
        """What has to be so before a command; what it is given on stdin."""
        if words.startswith("dlq list") or "'acme 422'" in words:
            await self.letters()
        elif "--cancel" in words:
            await self._under_way([word for word in words.split() if word.isdigit()])
        elif words.startswith("new driver"):
            shutil.rmtree(self.daemon.folder / words.split()[2], ignore_errors=True)
        elif words.startswith("reconcile boatyard") and "--confirm" in words:
            await self._gone()
        elif words.startswith(("credential rotate", "credential set")):
            return self._renewed(words)
        return b""

    async def _under_way(self, letters: list[str]) -> None:
        """A replay of these has begun, and the partner takes its time over the canary: the others wait behind it."""
        await self._guesty.misbehave("latency", match="/v1/listings", min=15, max=15, count=1)
        code, out, err = await self.daemon.cli("dlq", "replay", *letters, "--yes", "--no-wait")
        assert code == 0 and "begun" in out, out + err

    async def _pushed(self) -> bool:
        return not await self._all("SELECT id FROM syncd.outbox WHERE state <> 'done'")

    def _renewed(self, words: str) -> bytes:
        """A secret nobody has had yet; the partner takes it."""
        self._secrets += 1
        secret = f"the-secret-number-{self._secrets:04d}-of-a-partner"
        if "client_id" in words:
            return SECRETS["guesty_id"].encode()
        if "client_secret" in words:
            self._simulators["guesty"].simulator.options["client_secret"] = secret
        elif " crm" in words:
            self._simulators["attio"].simulator.issued.add(secret)  # type: ignore[attr-defined]
        return secret.encode()

    async def _gone(self) -> None:
        """Half of the boats are gone at the partner: two complete passes miss them, and the guard holds what would follow."""
        for boat in (await self._boatyard.truth_ids("things"))[:10]:
            await self._boatyard.delete("things", boat)

        async def held() -> bool:
            await self.daemon.post("reconcile", {"integration": "boatyard", "resource": "boats"})
            return bool((await self.daemon.integration("boatyard"))["resources"][0]["held_deletions"])

        await self.daemon.until(held, seconds=60, every=0.5)


@asynccontextmanager
async def world(folder: Path, database: str, rows: Rows) -> AsyncIterator[World]:
    """All of it, read once."""
    async with AsyncExitStack() as stack:
        made = {
            name: import_module(f"syncd.drivers.{name}.simulator").create(**options)
            for name, options in SIMULATED.items()
        }
        made["boatyard"] = plain.create(things=20)
        simulators = {name: await stack.enter_async_context(await serve(one)) for name, one in made.items()}
        app = web.Application()
        app.router.add_post("/told", _taken)
        receiver = await stack.enter_async_context(TestServer(app))
        at = {name: one.base_url for name, one in simulators.items()}
        daemon = founded(folder, database, at, alerts={"url": str(receiver.make_url("/told"))})
        async with daemon:

            async def read() -> bool:
                stored = await rows.connection.fetch(
                    "SELECT DISTINCT integration || '/' || resource FROM syncd.records"
                )
                return {row[0] for row in stored} >= READ

            await daemon.until(read, seconds=180)
            yield World(daemon, rows, simulators)


async def _taken(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)
