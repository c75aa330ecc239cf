"""A real browser before a real daemon, one of each for a module; skipped with a reason where there is no browser.

`SYNCD_CHROMIUM` names the program, else it is the distribution's. Every page opened here is watched: a violation of the
content security policy, or a fault of a script, fails the test that opened it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from syncd.testing.control import Control
from tests.conftest import _administer, database_url
from tests.whole.conftest import HOOKS, PLAIN, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import KEY, WEBHOOK_SECRET
from tests.whole.warm import spawn

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}"
"""What a partner may send as a name."""
WATCH = """document.addEventListener("securitypolicyviolation",
    (event) => console.error("policy: " + event.violatedDirective + " " + event.blockedURI));"""


def chromium() -> str | None:
    given = os.environ.get("SYNCD_CHROMIUM")
    return given if given and Path(given).exists() else shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def program() -> str:
    found = chromium()
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in SYNCD_CHROMIUM")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(program: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS, headless=True)
        yield opened
        await opened.close()


class Stage:
    """The daemon, its two partners, and its database."""

    def __init__(self, daemon: Daemon, acme: Control, shop: Control, rows: Rows) -> None:
        self.daemon = daemon
        self.acme = acme
        self.shop = shop
        self.rows = rows
        self.url = f"http://127.0.0.1:{daemon.admin_port}/ui"

    async def state(self, name: str) -> str:
        return str((await self.daemon.integration(name))["state"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    program: str, postgres_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    name = f"syncd_browser_{uuid.uuid4().hex[:12]}"
    await _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = database_url(postgres_url, name)
    simulators = [spawn("tests.whole.plain", things=40), spawn("tests.whole.plain", things=10)]
    acme, shop = (Control(each.url) for each in simulators)
    await acme.update("things", (await acme.truth_ids("things"))[0], {"name": HOSTILE})
    hook = {"credentials": {"api_key": KEY}, "webhook": {"secrets": [WEBHOOK_SECRET]}}
    common = {"driver": "rest", "resources": only("things", every="2s")}
    partners: dict[str, dict[str, Any]] = {
        "plain": {**common, "base_url": simulators[0].base_url, "rest": {**PLAIN, "webhooks": HOOKS},
                  "integrations": {"acme": hook}},
        "other": {**common, "base_url": simulators[1].base_url, "rest": PLAIN,
                  "integrations": {"shop": {"credentials": {"api_key": KEY}}}},
    }  # fmt: skip
    connection = await asyncpg.connect(url)
    try:
        async with Daemon(tmp_path_factory.mktemp("daemon"), url, partners) as daemon:
            found = Stage(daemon, acme, shop, Rows(connection))
            await acme.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)

            async def pulled() -> bool:
                return await found.rows.count("acme", "things") >= 40 and await found.rows.count("shop", "things") >= 10

            await daemon.until(pulled)
            yield found
            assert [line for line in daemon.log().splitlines() if "desk_failed" in line] == []
    finally:
        await connection.close()
        for simulator in simulators:
            simulator.stop()
        await _administer(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What went wrong in any page of this test; there must be nothing."""
    found: list[str] = []
    yield found
    assert found == []


Opener = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def opened(browser: Browser, stage: Stage, wrong: list[str]) -> AsyncIterator[Opener]:
    """`await opened("/letters", width=375)`: a page in a context of its own, watched."""
    contexts: list[BrowserContext] = []

    async def open_(path: str = "", *, width: int = 1280, **options: Any) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        await context.add_init_script(WATCH)
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(stage.url + path)
        return page

    yield open_
    for context in contexts:
        await context.close()
