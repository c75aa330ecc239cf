"""Pictures of the page for the documents: the demo's daemon and partners, some of them in trouble, seen by a real browser.

`python -m tests.browser.screenshots [FOLDER]` (`make screenshots`) writes docs/images/*.png. No test: people look at them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from syncd.daemon import Daemon, Options
from syncd.demo.stage import Stage, free_ports, stage
from syncd.testing.control import Control
from tests.browser.conftest import ARGUMENTS, chromium

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 150_000
LOOKED_SECONDS = 100
"""Long enough for the little lines to have a shape."""


async def trouble(daemon: Daemon, partners: dict[str, Control]) -> None:
    """One refuses the credential, one is away, one says later, one is paused, and some work was given up."""
    engine = daemon.engine
    await partners["stripe"].misbehave(
        "status", match="/v1/customers/{id}", status=403, body='{"error": {"type": "forbidden"}}'
    )
    for each in (await partners["stripe"].truth_ids("customers"))[:6]:
        await engine.sync("shop", "customers", each, who="ann@ops")
    await engine.pause(
        "office",
        None,
        who="ann@ops",
        reason="their number is being moved",
        until=daemon.clock.now() + timedelta(hours=2),
    )
    await partners["bookingcom"].misbehave("status", status=401)
    await partners["airbnb"].misbehave("status", status=503)
    for name in ("machine", "host"):
        await engine.sync(name, None, None, who="ann@ops")
    await engine.pause("rentals", None, who="ann@ops", reason="a new key", until=None)
    await asyncio.sleep(25)
    await engine.resume("rentals", None, who="ann@ops")
    await partners["attio"].misbehave("status", status=429, retry_after=200, count=1)


async def shoot(url: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS, headless=True)

        async def take(
            name: str, path: str, *, width: int = 1280, height: int = 460, dark: bool = False, then: Any = None
        ) -> None:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page = await context.new_page()
            await page.goto(url + path)
            await page.wait_for_timeout(1500)
            if then is not None:
                await then(page)
                await page.wait_for_timeout(1000)
            file = folder / f"{name}.png"
            await page.screenshot(path=file)
            size = file.stat().st_size
            print(f"{file.name}  {size / 1000:.0f} kB" + ("  too large" if size > MOST_BYTES else ""))
            await context.close()

        async def first(page: Any) -> None:
            await page.locator("tbody.row a").first.click()

        await take("page", "")
        await take("page-dark", "", dark=True)
        await take("page-phone", "", width=375, height=760)
        await take("page-integration", "/integrations/rentals", height=860)
        await take("page-letters", "/letters", then=first)
        await browser.close()


async def play(set_up: Stage, folder: Path) -> None:
    with (set_up.directory / "daemon.log").open("a") as log:
        daemon = Daemon(Options(config=set_up.config, database_url=set_up.database_url, log_stream=log))
        running = asyncio.create_task(daemon.run())
        try:
            while await daemon.engine.ready():
                await asyncio.sleep(0.2)
            await asyncio.sleep(25)  # the import
            began = time.monotonic()
            await trouble(daemon, {name: Control(each.url) for name, each in set_up.simulators.items()})
            await asyncio.sleep(LOOKED_SECONDS - (time.monotonic() - began))
            await shoot(f"http://127.0.0.1:{set_up.admin}/ui", folder)
        finally:
            daemon.stopping.set()
            await running


def main(folder: Path) -> None:
    with stage(*free_ports(2)) as set_up:
        asyncio.run(play(set_up, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
