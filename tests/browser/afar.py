"""A daemon whose admin site is not at loopback, and a browser that signs in; `test_afar.py` runs it in a network of its own.

`python -m tests.browser.afar DATABASE_URL FOLDER` prints what was seen as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from playwright.async_api import Page, async_playwright, expect

from syncd.daemon import Daemon, Options
from tests.browser.conftest import ARGUMENTS, WATCH, chromium

ADDRESS = "198.51.100.7"
"""Set aside for documents (RFC 5737): nobody's."""
TOKEN = "a token that is long enough for anybody"
REST = {
    "auth": {"kind": "api_key", "header": "X-Api-Key"},
    "test": "/me",
    "resources": {"things": {"path": "/things", "records": "items", "id": "id", "fields": {"name": "name"}}},
}


def write(folder: Path, url: str) -> Path:
    config = folder / "config"
    (config / "partners").mkdir(parents=True)
    server = {"listen": "127.0.0.1:8080", "admin": f"{ADDRESS}:8081", "admin_token": {"env": "ADMIN_TOKEN"}}
    main = {"database": {"url": url}, "server": server, "state_directory": str(folder)}
    acme = {"credentials": {"api_key": {"env": "ACME_KEY"}}}
    partner = {"driver": "rest", "base_url": "http://127.0.0.1:9/v1", "rest": REST, "integrations": {"acme": acme}}
    (config / "syncd.yaml").write_text(yaml.safe_dump(main))
    (config / "partners" / "plain.yaml").write_text(yaml.safe_dump(partner))
    return config


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("The admin token").fill(token)
    await page.get_by_label("Your name").fill("ann")
    await page.get_by_role("button", name="Sign in").click()


async def visit(page: Page) -> dict[str, Any]:
    site, seen = f"http://{ADDRESS}:8081", {}
    await page.goto(f"{site}/ui/letters?integration=acme")
    seen["asked at"] = page.url.removeprefix(site)
    await sign_in(page, "not that one")
    seen["wrong"] = await page.locator("main").inner_text()
    await sign_in(page, TOKEN)
    seen["led to"] = page.url.removeprefix(site)
    await page.goto(f"{site}/ui")
    await expect(page.locator("#pulse")).to_contain_text("live")
    await page.get_by_role("button", name="Sync").click()
    await expect(page.locator("#toast")).to_contain_text("asked for")
    seen["api"] = await page.evaluate("fetch('/api/v1/status').then((answer) => answer.status)")
    seen["scripts"] = await page.evaluate("document.cookie")
    [cookie] = [each for each in await page.context.cookies() if each.get("name") == "syncd_page"]
    seen["cookie"] = [cookie.get("httpOnly"), cookie.get("sameSite"), cookie.get("path")]
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(f"{site}/ui")
    seen["afterwards"] = page.url.removeprefix(site)
    return seen


async def look(wrong: list[str]) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS, headless=True)
        context = await browser.new_context()
        await context.add_init_script(WATCH)
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: wrong.append(said.text) if said.text.startswith("policy:") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        seen = await visit(page)
        await browser.close()
        return seen


async def main(url: str, folder: Path) -> None:
    environ = {**os.environ, "ADMIN_TOKEN": TOKEN, "ACME_KEY": "a key nobody knows"}
    wrong: list[str] = []
    with (folder / "daemon.log").open("w") as log:
        daemon = Daemon(Options(config=write(folder, url), log_stream=log), environ=environ)
        running = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(60):
                while await daemon.engine.ready() and not running.done():
                    await asyncio.sleep(0.1)
            seen = await look(wrong)
        finally:
            daemon.stopping.set()
            await running
    print(json.dumps({**seen, "faults": wrong}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
