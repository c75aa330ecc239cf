"""The page as somebody uses it: left open while a partner goes down, worked with by keys, on a phone, without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import HOSTILE, Opener, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]


def row(page: Page, name: str):
    return page.locator(f'tbody[data-key="row:{name}"]')


async def test_the_first_page_says_how_everything_is(opened: Opener, stage: Stage):
    page = await opened()
    await expect(page.locator(".sentence")).to_contain_text("2 integrations: 2 healthy")
    await expect(page.locator(".sentence")).to_contain_text("Nothing for you to do")
    await expect(page).to_have_title("all well · syncd")
    await expect(page.locator("#icon")).to_have_attribute("href", "/ui/static/favicon-healthy.svg")
    acme = row(page, "acme")
    await expect(acme).to_contain_text("healthy")
    await expect(acme.locator(".fig")).to_have_text(re.compile(r"[\d,]+/2,000 · \d+ %"))
    await expect(acme.locator(".breaker")).to_contain_text("closed")
    await expect(page.locator(".gauges li")).to_have_count(5)
    await expect(page.locator(".gauges li").first).to_contain_text("no bound")
    await expect(page.locator(".pools")).to_contain_text("workers alive 16/16")
    await expect(page.locator(".errors")).to_contain_text("429 0")
    await expect(acme.locator(".spark")).to_be_visible(timeout=30_000)  # the figures are taken every ten seconds
    await page.set_viewport_size({"width": 375, "height": 800})
    await expect(acme.locator(".spark")).to_be_visible()


async def test_a_partner_that_goes_down_and_heals_changes_its_row_without_a_reload(opened: Opener, stage: Stage):
    page = await opened("?every=2")
    await page.evaluate("window.stayed = true")
    await stage.shop.misbehave("status", status=503)
    shop = row(page, "shop")
    await expect(shop.locator("td.state")).to_contain_text("down", timeout=60_000)
    await expect(shop.locator(".why")).to_contain_text("503")
    await expect(shop.locator(".breaker")).to_contain_text("open")
    assert await page.locator("tbody.row").first.get_attribute("data-key") == "row:shop", "the worst stands first"
    await expect(page).to_have_title(re.compile("1 down"))
    await expect(page.locator("#icon")).to_have_attribute("href", "/ui/static/favicon-down.svg")
    await stage.shop.behave()
    await stage.daemon.post("breaker/reset", {"integration": "shop"})
    await row(page, "shop").get_by_role("button", name="Sync").click()
    await expect(page.locator("#toast")).to_contain_text("asked for")
    await expect(row(page, "shop").locator("td.state")).to_contain_text("healthy", timeout=60_000)
    await expect(page).to_have_title("all well · syncd")
    assert await page.evaluate("window.stayed") is True


async def test_a_pause_has_a_reason_and_an_end_and_is_taken_back(opened: Opener, stage: Stage):
    page = await opened("?every=2")
    await page.get_by_label("Your name in the audit log").fill("ann")
    await page.locator("footer").get_by_role("button", name="Set").click()
    await expect(page.locator(".flash").first).to_contain_text("ann")
    await row(page, "shop").get_by_role("link", name="Pause…").click()
    await page.get_by_label("Why").fill("they move house")
    await page.get_by_label("For how long").select_option("1h")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.locator(".flash").first).to_contain_text("shop is paused until")
    await page.goto(f"{stage.url}?every=2")
    await expect(row(page, "shop").locator("td.state")).to_contain_text("paused", timeout=30_000)
    await expect(row(page, "shop")).to_contain_text("they move house")
    await row(page, "shop").get_by_role("button", name="Resume").click()
    await expect(row(page, "shop").locator("td.state")).to_contain_text("healthy", timeout=30_000)
    noted = await stage.rows.connection.fetch(
        "SELECT actor, action FROM syncd.audit_log WHERE integration = 'shop' AND action IN ('paused', 'resumed') ORDER BY id"
    )
    assert [tuple(each) for each in noted] == [("ann (page)", "paused"), ("ann (page)", "resumed")]
    await page.goto(f"{stage.url}/changes?integration=shop")
    await expect(page.locator(".timeline")).to_contain_text("they move house")


async def given_up(stage: Stage, ids: Sequence[str]) -> None:
    """Reads of these records are refused, with a body that no page may obey, until they are dead letters."""
    await stage.acme.misbehave("status", match="/v1/things/{id}", status=403, body=json.dumps({"why": "no " + HOSTILE}))
    tasks = [
        {"kind": "fetch", "resource": "things", "external_id": each, "dedupe_key": f"fetch:things:{each}", "lane": 1}
        for each in ids
    ]
    await stage.rows.connection.execute("SELECT syncd.put_tasks('acme', now(), $1::text::jsonb)", json.dumps(tasks))

    async def buried() -> bool:
        found = await stage.rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters WHERE state = 'open'")
        return bool(found == len(ids))

    await stage.daemon.until(buried, seconds=60)


async def test_a_replay_sends_a_canary_first_and_the_others_when_it_is_done(opened: Opener, stage: Stage):
    await given_up(stage, (await stage.acme.truth_ids("things"))[:5])
    page = await opened("/letters?every=2")
    await page.locator("tbody.row").get_by_role("link", name="Replay…").click()
    await expect(page.locator("main")).to_contain_text("5 jobs, about 5 calls")
    cause = page.url
    await page.get_by_role("button", name="Replay 5 jobs").click()
    await expect(page.locator(".replay")).to_contain_text(
        "stopped, 4 left as they were. Nothing was lost.", timeout=60_000
    )

    await stage.acme.behave()
    await page.goto(cause)
    await page.get_by_role("button", name="Replay 5 jobs").click()
    await expect(page.locator(".replay")).to_contain_text("5 of 5 done", timeout=60_000)
    await page.goto(f"{stage.url}/letters")
    await expect(page.locator("main")).to_contain_text("Nothing needs you")


async def test_values_of_a_letter_a_delivery_and_a_record_are_hidden_until_they_are_asked_for(
    opened: Opener, stage: Stage
):
    first = (await stage.acme.truth_ids("things"))[0]
    await stage.acme.update("things", first, {"number": 4711})

    async def told() -> bool:
        return bool(await stage.rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state = 'done'"))

    await stage.daemon.until(told)
    page = await opened("/webhooks?every=2")
    await expect(page.locator("main")).to_contain_text("accepted, done")
    await page.locator("tbody.row a").first.click()
    await expect(page.locator("pre")).to_contain_text('"at":"•••"')
    await page.get_by_role("link", name="Show values").click()
    await expect(page.locator("pre").first).not_to_contain_text("•••")
    await page.get_by_text("As curl").click()
    await expect(page.locator("details pre")).to_contain_text('curl -X POST "$URL"')
    await page.goto(f"{stage.url}/record?integration=acme&resource=things&id={first}")
    await expect(page.locator("pre").first).to_contain_text('"name": "•••"')
    await expect(page.locator("main")).not_to_contain_text("document.title")
    await expect(page.locator('[data-part="deliveries"]')).to_contain_text("thing.updated")
    await page.get_by_role("link", name="Show values").click()
    await expect(page.locator("pre").first).to_contain_text("document.title='owned'")
    await expect(page).not_to_have_title("owned")
    newest = "SELECT max(id) FROM syncd.dead_letters"
    letter = await stage.rows.connection.fetchval(newest)
    if letter is None:  # the one about replays has not run here
        await given_up(stage, [first])
        await stage.acme.behave()
        letter = await stage.rows.connection.fetchval(newest)
    await page.goto(f"{stage.url}/letters/{letter}")
    await expect(page.locator("main")).to_contain_text("GET /things/{id} → 403")
    await page.get_by_role("link", name="Show values").click()
    await expect(page.locator("main")).to_contain_text("onerror")
    await expect(page.locator("img")).to_have_count(0)


async def test_a_version_that_came_too_late_is_on_its_records_page(opened: Opener, stage: Stage):
    late = (await stage.acme.truth_ids("things"))[7]
    ahead = "UPDATE syncd.records SET source_updated_at = now() + $2::float8 * interval '1 hour' WHERE external_id = $1"
    await stage.rows.connection.execute(ahead, late, 1.0)  # as if a newer version had been stored meanwhile
    await stage.acme.update("things", late, {"number": 4712})

    async def refused() -> bool:
        return bool(
            await stage.rows.connection.fetchval("SELECT count(*) FROM syncd.refusals WHERE external_id = $1", late)
        )

    await stage.daemon.until(refused, seconds=60)
    page = await opened(f"/record?integration=acme&resource=things&id={late}")
    stale = page.locator('[data-part="stale"]')
    await expect(stale).to_contain_text("came older than the one stored")
    await expect(stale.locator("tbody").first).to_contain_text(
        re.compile(r"the partner stamped it [-:.\d ]+Z, and what was stored [-:.\d ]+Z")
    )
    await stage.rows.connection.execute(ahead, late, -1.0)


async def test_keys_walk_filter_pause_and_help(opened: Opener, stage: Stage):
    page = await opened()
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(row(page, "shop")).to_have_class(re.compile(r"\bat\b"))
    await page.keyboard.press("k")
    await expect(row(page, "acme")).to_have_class(re.compile(r"\bat\b"))
    await page.keyboard.press("/")
    await page.keyboard.type("sho")
    await expect(row(page, "acme")).to_be_hidden()
    assert page.url.endswith("?q=sho"), "the URL holds the filter"
    await page.reload()
    await expect(row(page, "acme")).to_be_hidden()
    await page.keyboard.press("/")
    await page.keyboard.press("Escape")
    await expect(row(page, "acme")).to_be_visible()
    await page.keyboard.press("p")
    await expect(page.locator("#pulse")).to_contain_text("paused")
    assert "every=0" in page.url
    await page.keyboard.press("p")
    await expect(page.locator("#pulse")).to_contain_text("live")
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#help")).to_be_hidden()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/integrations/acme")
    await page.keyboard.press("d")
    await page.wait_for_url("**/ui/letters")


async def test_what_is_old_says_so(opened: Opener, stage: Stage, wrong: list[str]):
    page = await opened("?every=2")
    await expect(page.locator("#pulse")).to_contain_text("live")
    await page.context.set_offline(True)
    await page.route("**/ui/events**", lambda route: route.abort())
    await page.evaluate("{ const real = Date.now; Date.now = () => real() + 60000; }")
    await expect(page.locator("#stale")).to_contain_text("what you see is old")
    await expect(page.locator("#icon")).to_have_attribute("href", "/ui/static/favicon-stale.svg")
    wrong[:] = [each for each in wrong if "ERR_INTERNET_DISCONNECTED" not in each and "ERR_FAILED" not in each]


PAGES = ("", "/letters", "/letters/replays", "/webhooks", "/changes", "/record", "/runbooks", "/runbooks/auth-failed",
         "/integrations/acme", "/integrations/acme/pause", "/nothing-here")  # fmt: skip


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_a_phone_needs_no_sideways_scroll_on_any_page_and_no_page_breaks_its_policy(
    opened: Opener, stage: Stage, dark: bool, wrong: list[str]
):
    page = await opened(width=375, color_scheme="dark" if dark else "light")
    for path in PAGES:
        await page.goto(stage.url + path)
        await page.evaluate(
            "document.querySelectorAll('.limits td:first-child').forEach((td) => td.textContent = 'x'.repeat(30))"
        )
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, f"{path} is {wide} wide"
        cut = await page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert not cut, f"{path} hides columns of a table"
    wrong[:] = [each for each in wrong if "404" not in each]  # a browser says so of the page that is not there
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 22, 26)") is dark


async def test_an_integration_has_plots_with_its_changes_marked(opened: Opener, stage: Stage):
    page = await opened("/integrations/shop")
    await expect(page.locator("#plots .uplot").first).to_be_visible(timeout=30_000)
    await expect(page.locator("#plots")).to_have_attribute("data-marks", re.compile(r"[1-9]"), timeout=30_000)


async def test_without_scripts_pages_refresh_themselves_and_buttons_work(opened: Opener, stage: Stage):
    page = await opened("?q=acme", java_script_enabled=False)
    await expect(row(page, "acme")).to_be_visible()
    await expect(row(page, "shop")).to_be_hidden()
    assert 'http-equiv="refresh" content="5"' in await page.content()
    before = await stage.rows.connection.fetchval("SELECT count(*) FROM syncd.audit_log WHERE action = 'sync_asked'")
    await row(page, "acme").get_by_role("button", name="Sync").click()
    await expect(page.locator(".flash").first).to_contain_text("acme: 1 run asked for")
    assert page.url.endswith("?q=acme"), "it leads back to where the button stood"
    after = await stage.rows.connection.fetchval("SELECT count(*) FROM syncd.audit_log WHERE action = 'sync_asked'")
    assert after == before + 1
    await expect(row(page, "acme").locator(".spark")).to_be_visible(timeout=30_000)  # of itself: it is loaded anew
    await row(page, "acme").get_by_role("button", name="Test").click()
    await expect(page.locator(".flash").first).to_contain_text("the credential works")
    await page.goto(f"{stage.url}/integrations/acme")
    drawn = page.locator(".drawn svg")
    await expect(drawn.first).to_be_visible()
    assert await drawn.count() >= 4, "what scripts would plot"
    await expect(page.locator("#plots")).to_be_hidden()
