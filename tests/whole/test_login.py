"""A person allows an account in a browser: the whole way, with the real daemon, for each partner that has such a page."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from syncd import drivers
from syncd.clock import SystemClock
from syncd.drivers.airbnb import simulator as airbnb
from syncd.drivers.attio import simulator as attio
from syncd.drivers.cloudbeds import simulator as cloudbeds
from syncd.testing.consent import Consents
from syncd.testing.dice import Dice
from syncd.testing.process import Served, serve
from tests.whole import warm
from tests.whole.daemon import Daemon

CLIENT = {"client_id": "simulated-client", "client_secret": "simulated-secret"}


class Harbour:
    """A partner as the rest driver describes it, which knows PKCE and says in its token's answer what was allowed."""

    def __init__(self) -> None:
        self.consents = Consents(SystemClock(), Dice("harbour"), client_id=CLIENT["client_id"], pkce=True)
        self.exchanges = 0
        self.good: set[str] = set()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/authorize", self._page)
        app.router.add_post("/token", self._token)
        app.router.add_get("/me", self._answer)
        app.router.add_get("/boats", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        return self.consents.page(SimpleNamespace(query=request.query))  # type: ignore[arg-type]

    async def _token(self, request: web.Request) -> web.Response:
        given = {name: str(value) for name, value in (await request.post()).items()}
        self.exchanges += 1
        if given.get("client_secret") != CLIENT["client_secret"] or given.get("grant_type") != "authorization_code":
            return web.json_response({"error": "invalid_client"}, status=401)
        if not self.consents.spend(given):
            return web.json_response({"error": "invalid_grant"}, status=400)
        access = f"access-{self.exchanges}"
        self.good = {access}
        answer = {"access_token": access, "refresh_token": "r", "expires_in": 3600, "scope": "boats:read crew:read"}
        return web.json_response(answer)

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good:
            return web.json_response({"error": "unauthorized"}, status=401)
        return web.json_response({"items": [{"id": "1"}]})


def harbour(base_url: str) -> dict[str, Any]:
    login = {"authorize": "/authorize", "scope": "boats:read crew:read"}
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": {
            "auth": {"kind": "oauth2_refresh", "token_path": "/token", "login": login},
            "scopes": {"told": "token", "always": ["boats:read"], "webhooks": ["w"], "resources": {"boats": ["berths:read"]}},
            "test": "/me",
            "resources": {"boats": {"path": "/boats", "records": "items"}},
        },
        "integrations": {"harbour": {"credentials": CLIENT}},
    }  # fmt: skip


def quiet(name: str, keep: str, options: dict[str, Any]) -> dict[str, Any]:
    """All resources of a driver switched off but one."""
    found = drivers.load(name).resources(options)
    return {one: {"enabled": one == keep} for one in found}


class Place:
    def __init__(self, daemon: Daemon, partner: Harbour, simulators: dict[str, Served]) -> None:
        self.daemon, self.partner, self.simulators = daemon, partner, simulators

    def begin(self, integration: str, *more: str, stdin: str = "") -> tuple[warm.Forked, Path]:
        log, given = self.daemon.folder / f"{integration}.log", self.daemon.folder / "given"
        log.write_text("")
        given.write_text(stdin)
        env = {**self.daemon.env, "SYNCD_CONFIG": str(self.daemon.config), "PYTHONUNBUFFERED": "1"}
        words = ("credential", "login", integration, *more)
        with given.open() as read, log.open("ab") as told:
            files = {"stdin": read.fileno(), "stdout": told.fileno(), "stderr": told.fileno()}
            return warm.fork("syncd", *words, env=env, **files), log

    async def page(self, log: Path) -> str:
        """The address it prints."""
        for _ in range(400):
            lines = [line for line in log.read_text().splitlines() if line.startswith("http")]
            if lines:
                return lines[0]
            await asyncio.sleep(0.05)
        raise AssertionError(log.read_text())

    async def allowed(self, integration: str) -> str:
        """The whole way, with a browser that is an HTTP client."""
        command, log = self.begin(integration, "--no-browser")
        page = await self.page(log)
        async with aiohttp.ClientSession() as browser, browser.get(page) as answer:
            assert answer.status == 200, await answer.text()
            assert "can be closed" in await answer.text()
        assert await asyncio.wait_for(command.wait(), 60) == 0, log.read_text()
        return log.read_text()


@pytest.fixture
async def place(tmp_path: Path, database: str) -> AsyncIterator[Place]:
    partner = Harbour()
    url = await partner.start()
    sims = {
        "cloudbeds": await serve(cloudbeds.create()),
        "airbnb": await serve(airbnb.create()),
        "attio": await serve(attio.create()),
    }
    properties = list(sims["cloudbeds"].simulator.mint.properties)  # type: ignore[attr-defined]
    options: dict[str, dict[str, Any]] = {
        "cloudbeds": {
            "auth": "oauth",
            "properties": properties,
            "authorize_url": f"{sims['cloudbeds'].url}/api/v1.3/oauth",
        },
        "airbnb": {"authorize_url": f"{sims['airbnb'].url}/oauth2/auth"},
        "attio": {"auth": "oauth", "oauth_url": sims["attio"].url},
    }
    keep = {"cloudbeds": "custom_fields", "airbnb": "hosts", "attio": "workspace_members"}
    files: dict[str, Any] = {"harbour": harbour(url)}
    for name, served in sims.items():
        files[name] = {
            "driver": name,
            "base_url": served.base_url,
            "options": options[name],
            "resources": quiet(name, keep[name], options[name]),
            "integrations": {f"my_{name}": {"credentials": CLIENT}},
        }
    daemon = Daemon(tmp_path, database, files)
    try:
        await daemon.start()
        yield Place(daemon, partner, sims)
    finally:
        await daemon.stop()
        await partner.stop()
        for served in sims.values():
            await served.aclose()


@pytest.mark.timeout(180)
async def test_an_account_is_allowed_in_a_browser_by_paste_or_not_at_all(place: Place) -> None:
    daemon = place.daemon

    async def state(name: str, wanted: str) -> bool:
        async def there() -> bool:
            return (await daemon.integration(name))["state"] == wanted

        return bool(await daemon.until(there, seconds=30))

    # Nobody has allowed it yet, and the status says which command does.
    assert await state("harbour", "auth_required")
    assert (await daemon.integration("harbour"))["explanation"]["action"] == "syncd credential login harbour"

    # An answer with a foreign state is nobody's: the waiting goes on, and the right one counts.
    command, log = place.begin("harbour", "--no-browser")
    page = await place.page(log)
    redirect = page.partition("redirect_uri=")[2].partition("&")[0].replace("%3A", ":").replace("%2F", "/")
    assert redirect.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as browser:
        async with browser.get(f"{redirect}?code=stolen&state=foreign") as answer:
            assert answer.status == 400
        assert command.returncode is None
        async with browser.get(page) as answer:
            assert answer.status == 200
    assert await asyncio.wait_for(command.wait(), 60) == 0, log.read_text()
    said = log.read_text()
    assert "scopes held (its token's answer): boats:read, crew:read; missing: berths:read" in said
    assert place.partner.consents.asked[-1]["code_challenge_method"] == "S256"
    assert await state("harbour", "healthy")

    # Pasted: on a server without a browser, the address of a page that nobody could open.
    command, log = place.begin("harbour", "--paste", stdin="http://127.0.0.1:1/callback?code=made-up&state=foreign\n")
    assert await asyncio.wait_for(command.wait(), 60) == 2
    assert "belongs to another login" in log.read_text()
    exchanges = place.partner.exchanges
    command, log = place.begin("harbour", "--paste", stdin="made-up-code\n")
    assert await asyncio.wait_for(command.wait(), 60) == 77, log.read_text()
    assert place.partner.exchanges == exchanges + 1
    assert await state("harbour", "healthy")  # what was allowed before still is

    # Not allowed; nobody comes back in time; given up.
    place.partner.consents.denies = True
    command, log = place.begin("harbour", "--no-browser")
    async with aiohttp.ClientSession() as browser, browser.get(await place.page(log)):
        pass
    assert await asyncio.wait_for(command.wait(), 60) == 77
    assert "access_denied" in log.read_text()
    command, log = place.begin("harbour", "--no-browser", "--wait", "500ms")
    assert await asyncio.wait_for(command.wait(), 60) == 75
    command, log = place.begin("harbour", "--no-browser")
    await place.page(log)
    command.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(command.wait(), 60) == 130
    assert "Traceback" not in log.read_text()

    # Each partner that has such a page, as it has it; the token is kept sealed.
    for name in place.simulators:
        said = await place.allowed(f"my_{name}")
        assert "authenticated" in said
        assert await state(f"my_{name}", "healthy")
    assert "missing" not in said.replace("none missing", ""), said  # Attio tells its scopes by a call of its own
    code, out, _ = await daemon.cli("credential", "list", "--json")
    assert code == 0
    rows = {row["integration"]: row for row in json.loads(out)["credentials"] if row["use"] == "token"}
    assert set(rows) == {"harbour", "my_cloudbeds", "my_airbnb", "my_attio"}
    for partner, served in place.simulators.items():
        assert served.simulator.stats()["violations"] in ({}, [], 0), partner
    everything = daemon.log() + said + out
    assert "simulated-secret" not in everything
    assert not any(f"access-{number}" in everything for number in range(1, 9))
