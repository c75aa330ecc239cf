"""The page's routes without a browser: who is let in, what a form must carry, what is escaped, what is hidden."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest
from yarl import URL

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.secrets import Secret
from syncd.server.address import url_of
from syncd.server.app import Server
from syncd.server.ui.ended import FILE as ENDED_FILE
from syncd.server.ui.ended import MOST as MOST_ENDED
from syncd.server.ui.ended import Ended
from syncd.server.ui.page import Page
from syncd.server.ui.sessions import COOKIE, Sessions
from syncd.server.ui.sources import Sources
from syncd.server.ui.tries import MOST_PLACES, Tries, place_of
from syncd.server.ui.visit import POLICY, back
from syncd.testing.clock import FakeClock
from tests.server.fakes import NOON, FakeStatus, settings

TOKEN = "an admin token for tests, long enough"
HOSTILE = "<script>alert(1)</script>"
MARK = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
LETTER = {
    "letter": 7, "cause": "0abc1234", "state": "open", "integration": "acme", "resource": "listings", "record": "64af",
    "from": "task", "push": None, "error": "RejectedError", "message": f"403 {HOSTILE}", "attempts": 2,
    "history": [{"attempt": 1, "at": "2026-11-01T11:00:00Z", "error": "403"}], "times": 1, "buried": NOON, "last": NOON,
    "request": {"method": "GET", "route": "/listings/{id}", "params": {"guest": "Ann Example"},
                "headers": {"Authorization": "Bearer x"}},
    "response": {"status": 403, "body": "Ann Example is no member"}, "traceback": "",
    "payload": None, "replays": 0, "former": [],
    "replay": None, "waits_for": None, "settled": None, "settled_by": None, "reason": None,
}  # fmt: skip
CAUSE = {
    "cause": "0abc1234", "kind": "dead_letter", "integration": "acme", "resource": "listings", "fingerprint": "f",
    "message": HOSTILE, "count": 11, "first_at": NOON, "last_at": NOON, "examples": ["64af"],
    "letters": [7], "replayed_before": 0,
}  # fmt: skip
PRICE = {
    "letters": 11, "under_way": 0, "calls": 14, "upto": 40, "causes": [CAUSE], "unknown": [], "replays": [],
    "scopes": [{"scope": "acme", "partner": "guesty", "integrations": ["acme"], "letters": 11, "calls": 14, "share": 0.02,
                "window": "minute", "seconds": 0.0}],
}  # fmt: skip
HOUR = {"calls": 90, "success": 0.99, "p50_ms": 40.0, "p95_ms": 80.0, "p99_ms": 1200.0, "errors": {"5xx": 1}}


def overview(**changes: Any) -> dict[str, Any]:
    trouble = {"code": "auth-failed", "reason": f"401 {HOSTILE}", "since": NOON - timedelta(minutes=4), "cause": "revoked",
               "action": "syncd credential test shop", "runbook": "syncd runbook auth-failed"}  # fmt: skip
    limits = {"tiers": [{"name": "600/60s", "label": "600/min", "used": 450, "budget": 500, "limit": 600, "stated": 600}],
              "breakers": {"": {"state": "open", "retry_in_seconds": 41.0, "held": None}}}  # fmt: skip
    common = {"enabled": True, "paused": None, "resources": [], "limits": limits, "hour": None, "latency_ms": 40.0}
    return {
        "schema": "syncd.status/1", "summary": "", "ready": [], "unread": None, "stuck": [], "conditions": [],
        "integrations": [
            {**common, "hour": HOUR, "name": "shop", "partner": "stripe", "state": "auth_required", "explanation": trouble},
            {**common, "name": "acme", "partner": "guesty", "state": "healthy", "explanation": None},
        ],
        "scopes": [], "queues": [
            {"name": "tasks high", "kind": "table", "waiting": 234, "capacity": 1000, "oldest_seconds": 154.0,
             "rate_per_second": 2.0, "drains_in_seconds": 117.0, "bound_by": None, "state": "flows", "integrations": {}},
            {"name": "guesty", "kind": "pool", "waiting": 0, "workers": {"alive": 8, "total": 8}, "oldest_seconds": 0.0}],
        "workers": {"alive": 8, "total": 8}, "dead_letters": None, **changes,
    }  # fmt: skip


class Engine(FakeStatus):
    """Also what stands beside the status: letters, deliveries, figures, changes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = overview()
        self.noted: list[tuple[Any, ...]] = []
        self.away = False

    def view(self, window: str = "1h", integration: str | None = None, **_: Any) -> dict[str, Any]:
        values = {"calls": [0.0, 1.0, None, 3.0], "hour": HOUR}
        return {
            "integrations": {"acme": values, "shop": values},
            "errors": {"401": 8, "429": 0},
            "times": [],
            "changes": [],
        }

    async def causes(self, integration: str | None) -> dict[str, Any]:
        if self.away:
            raise StoreError("the database is away")
        return {"causes": [CAUSE]}

    async def letter(self, letter_id: int) -> dict[str, Any] | None:
        return dict(LETTER) if letter_id == 7 else None

    async def selection(self, said: Any, cause: str | None) -> Any:
        self._note("selection", said.ids, said.upto, cause)
        return said

    async def price(self, selection: Any) -> dict[str, Any]:
        return PRICE

    async def replay(self, selection: Any, *, who: str) -> dict[str, Any]:
        self._note("replay", who)
        return {"replays": [{"integration": "acme", "replay": 3}]}

    async def replays(self, keys: Any) -> dict[str, Any]:
        return {"replays": []}

    async def discard(self, selection: Any, *, who: str, reason: str) -> dict[str, Any]:
        self._note("discard", who, reason)
        return {"discarded": 11}

    async def latest(self, integration: str | None, which: Any, *, limit: int) -> list[dict[str, Any]]:
        return []

    async def list(self, integration: str | None = None, *, since: Any = None, limit: int = 50) -> dict[str, Any]:
        entry = {
            "at": NOON,
            "kind": "pause",
            "integration": "acme",
            "who": "ann",
            "text": f"paused by ann: {HOSTILE}",
            "id": 1,
        }
        return {"changes": [entry], "more": False}

    async def note(self, who: str, action: str, **more: Any) -> None:
        self.noted.append((who, action, more["integration"]))


def page_of(
    engine: Engine,
    clock: Any,
    token: Secret | None = None,
    stopping: anyio.Event | None = None,
    directory: Path | None = None,
) -> Page:
    any_: Any = engine

    def store() -> Any:
        raise StoreError("the database is away")

    pages = {"auth-failed": f"**Meaning.** Refused.\n\n1. `syncd status` {HOSTILE}"}
    sources = Sources(
        status=any_, letters=any_, deliveries=any_, figures=any_, changes=any_, records=any_, store=store,
        runbooks=lambda: pages, stopping=stopping or anyio.Event(),
    )  # fmt: skip
    return Page(sources, Sessions(token, clock, lambda: directory), clock)


@asynccontextmanager
async def visiting(
    engine: Engine,
    *,
    token: Secret | None = None,
    stopping: anyio.Event | None = None,
    directory: Path | None = None,
    **changes: Any,
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    clock = SystemClock()
    page = page_of(engine, clock, token, stopping, directory)
    server = Server(settings(**changes), engine, clock=clock, admin_token=token, page=page)
    async with anyio.create_task_group() as group:
        await group.start(server.run)
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, headers={"Accept": "text/html"}) as client:
            yield client, url_of(server.admin)
        group.cancel_scope.cancel()


async def read(client: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, str]:
    async with client.get(url, **options) as answer:
        return answer.status, await answer.text()


async def send(client: aiohttp.ClientSession, url: str, said: dict[str, str], **options: Any) -> tuple[int, str, str]:
    async with client.post(url, data=said, allow_redirects=False, **options) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def marked(client: aiohttp.ClientSession, url: str) -> str:
    """The token the forms of this browser carry."""
    found = MARK.search((await read(client, f"{url}/ui"))[1])
    assert found is not None
    return found[1]


async def test_the_first_page_puts_the_worst_first_with_what_to_do():
    async with visiting(Engine()) as (client, url):
        status, text = await read(client, f"{url}/ui")
    assert status == 200
    assert text.index('data-key="row:shop"') < text.index('data-key="row:acme"')
    assert "<title>1 auth required · syncd</title>" in text
    assert "favicon-down.svg" in text
    assert "<strong>shop needs you.</strong>" in text
    assert 'data-copy="syncd credential test shop"' in text
    assert "450/500 · 90 %" in text
    assert 'title="next try in 41s">open <span class="muted">41s</span>' in text
    assert "1.2 s" in text  # p99
    assert "234" in text
    assert "drains in 1m 57s" in text


async def test_a_trouble_of_the_daemon_says_for_how_long_it_lasts():
    engine = Engine()
    told = {"code": "reload-failed", "reason": "it was not taken over", "since": NOON - timedelta(minutes=4), "cause": None,
            "action": "syncd check", "runbook": "syncd runbook reload-failed"}  # fmt: skip
    own = {"subject": "daemon", "integration": "", "state": "degraded", "severity": "ticket", **told}
    engine.seen = overview(conditions=[own])
    async with visiting(engine) as (client, url):
        _, text = await read(client, f"{url}/ui")
    assert "The daemon, shop need you." in text
    assert re.search(r">for \d+[dhms][\d dhms]*</span>", text), "a span, not the moment"
    assert "likely: None" not in text


async def test_whatever_others_sent_is_text():
    async with visiting(Engine()) as (client, url):
        for path in ("", "/letters", "/letters/7", "/letters/7?show=1", "/changes", "/runbooks/auth-failed"):
            _, text = await read(client, f"{url}/ui{path}")
            assert HOSTILE not in text, path
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text, path
        _, text = await read(client, f"{url}/ui?q=%22%3E{HOSTILE}")
        assert HOSTILE not in text


async def test_every_answer_wears_the_policy():
    async with visiting(Engine()) as (client, url):
        for path in (
            "/ui",
            "/ui/nothing",
            "/ui/static/page.css",
            "/ui/letters/9999",
            "/ui/integrations/acme/figures.json",
        ):
            async with client.get(url + path) as answer:
                assert answer.headers["Content-Security-Policy"] == POLICY, path
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "same-origin"
                text = await answer.text()
                assert "a fault of syncd" not in text, path
                if answer.content_type == "text/html":
                    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text), path


async def test_a_form_needs_the_token_of_its_own_browser():
    engine = Engine()
    async with visiting(engine) as (client, url):
        mark = await marked(client, url)
        said = {"integration": "acme"}
        for wrong in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "ä"}):
            status, _, text = await send(client, f"{url}/ui/do/sync", {**said, **wrong})
            assert (status, "was not made for you" in text) == (403, True)
        async with aiohttp.ClientSession(headers={"Accept": "text/html"}) as stranger:
            assert (await send(stranger, f"{url}/ui/do/sync", {**said, "csrf": mark}))[0] == 403
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
            foreign = await marked(other, url)
        assert foreign != mark
        assert (await send(client, f"{url}/ui/do/sync", {**said, "csrf": foreign}))[0] == 403
        assert [each for each in engine.asked if each[0] == "sync"] == []
        status, where, _ = await send(client, f"{url}/ui/do/sync", {**said, "csrf": mark, "to": "/ui?q=a"})
        assert (status, where) == (303, "/ui?q=a")
        assert ("sync", "acme", None, None, "page") in engine.asked
        assert "acme: 2 runs asked for" in (await read(client, f"{url}/ui"))[1]
        assert "acme: 2 runs asked for" not in (await read(client, f"{url}/ui"))[1], "it is said once"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {"Host": "evil.example"}],
)
async def test_a_form_of_another_sites_page_is_refused(headers: dict[str, str]):
    engine = Engine()
    async with visiting(engine) as (client, url):
        mark = await marked(client, url)
        status, _, _ = await send(client, f"{url}/ui/do/sync", {"integration": "acme", "csrf": mark}, headers=headers)
    assert status == 403
    assert [each for each in engine.asked if each[0] == "sync"] == []


async def test_a_pause_needs_a_reason_and_names_who_asked():
    engine = Engine()
    async with visiting(engine) as (client, url):
        mark = await marked(client, url)
        await send(client, f"{url}/ui/do/name", {"csrf": mark, "name": "ann\x07", "to": "//evil.example"})
        mark = await marked(client, url)
        said = {"csrf": mark, "integration": "acme", "for": "1h"}
        status, _, text = await send(client, f"{url}/ui/do/pause", said)
        assert (status, "needs a reason" in text) == (400, True)
        assert (await send(client, f"{url}/ui/do/pause", {**said, "reason": "they move", "for": "9y"}))[0] == 400
        assert (await send(client, f"{url}/ui/do/pause", {**said, "reason": "they move"}))[0] == 303
        [(_, integration, resource, who, reason, until)] = [each for each in engine.asked if each[0] == "pause"]
        assert (integration, resource, who, reason) == ("acme", None, "ann (page)", "they move")
        assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
        assert (await send(client, f"{url}/ui/do/test", {"csrf": mark, "integration": "acme"}))[0] == 303
        assert engine.noted == [("ann (page)", "credential_tested", "acme")]


async def test_a_tab_left_open_overnight_can_still_be_used():
    engine = Engine()
    async with visiting(engine) as (client, url):
        mark = await marked(client, url)  # the tab
        await send(client, f"{url}/ui/do/name", {"csrf": mark, "name": "ann"})  # in another one
        assert (await send(client, f"{url}/ui/do/sync", {"csrf": mark, "integration": "acme"}))[0] == 303
    clock = FakeClock()
    sessions = Sessions(Secret(TOKEN), clock)
    session = sessions.begin("ann")
    await clock.advance(7 * 3600)
    assert sessions.is_old(session)
    later = sessions.renewed(session, session.name)
    assert (sessions.mark(later), later.name, sessions.is_old(later)) == (sessions.mark(session), "ann", False)


async def test_a_replay_states_its_price_and_a_discard_needs_a_reason():
    engine = Engine()
    async with visiting(engine) as (client, url):
        mark = await marked(client, url)
        replay = {"csrf": mark, "cause": "0abc1234", "upto": "40"}
        status, where, _ = await send(client, f"{url}/ui/letters/replay", replay)
        assert (status, where) == (303, "/ui/letters/replays?replay=acme:3")
        assert ("selection", (), 40, "0abc1234") in engine.asked
        assert ("replay", "page") in engine.asked
        for wrong in ({}, {"letter": "x"}, {"letter": "7", "cause": "0abc1234"}):
            assert (await send(client, f"{url}/ui/letters/replay", {"csrf": mark, **wrong}))[0] == 400
        assert (await send(client, f"{url}/ui/letters/discard", {"csrf": mark, "letter": "7"}))[0] == 400
        said = {"csrf": mark, "letter": "7", "reason": "a test record"}
        assert (await send(client, f"{url}/ui/letters/discard", said))[0] == 303
        assert ("discard", "page", "a test record") in engine.asked


async def test_values_of_a_letter_are_hidden_until_asked_for_and_credentials_always():
    async with visiting(Engine()) as (client, url):
        _, hidden = await read(client, f"{url}/ui/letters/7")
        _, shown = await read(client, f"{url}/ui/letters/7?show=1")
    assert "Ann Example" not in hidden
    assert "guest" in hidden
    assert "•••" in hidden
    assert "GET /listings/{id} → 403" in hidden
    assert "Ann Example" in shown
    assert "Bearer x" not in shown


async def test_with_a_token_nothing_is_served_but_the_form_that_asks_for_it():
    token = Secret(TOKEN)
    async with visiting(Engine(), token=token, admin="127.0.0.3:0") as (client, url):
        for path in ("/ui", "/ui/letters?integration=acme", "/ui/static/page.js"):
            async with client.get(url + path, allow_redirects=False) as answer:
                assert answer.status == 303
                assert answer.headers["Location"].startswith("/ui/login?to=/ui")
        async with client.get(f"{url}/ui/events", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.status == 401
        status, _, _ = await send(client, f"{url}/ui/do/sync", {"integration": "acme"})
        assert status == 401
        _, form = await read(client, f"{url}/ui/login?to=/ui/letters")
        assert 'src="/ui/static/page.js"' not in form
        mark = MARK.search(form)
        assert mark is not None
        said = {"csrf": mark[1], "to": "/ui/letters", "token": "not that one", "name": "ann"}
        status, _, text = await send(client, f"{url}/ui/login", said)
        assert (status, "that is not the token" in text) == (403, True)
        assert (await send(client, f"{url}/ui/login", {**said, "csrf": "0" * 64, "token": TOKEN}))[0] == 403
        assert not any(each.key == COOKIE for each in client.cookie_jar), "no door opens by a wrong token"
        status, where, _ = await send(client, f"{url}/ui/login", {**said, "token": f" {TOKEN} "})
        assert (status, where) == (303, "/ui/letters")
        cookie = next(each for each in client.cookie_jar if each.key == COOKIE)
        assert cookie["httponly"]
        assert cookie["samesite"] == "Strict"
        assert TOKEN not in cookie.value
        assert (await read(client, f"{url}/ui"))[0] == 200
        async with client.get(f"{url}/api/v1/status", headers={"Accept": "application/json"}) as answer:
            assert answer.status == 401, "the session is the page's, not the API's"
        mark_now = await marked(client, url)
        assert (await send(client, f"{url}/ui/do/leave", {"csrf": mark_now}))[1] == "/ui/login"


def comes(peer: str, forwarded: str = "") -> Any:
    return SimpleNamespace(remote=peer, headers={"X-Forwarded-For": forwarded} if forwarded else {})


async def test_wrong_tokens_are_not_looked_at_for_ever_and_lock_out_nobody_else():
    clock = FakeClock()
    sessions = Sessions(Secret(TOKEN), clock)
    attacker = comes("203.0.113.9")
    assert [sessions.accepts("wrong", attacker) for _ in range(10)] == [False] * 10
    assert sessions.accepts(TOKEN, attacker) is None
    assert sessions.accepts(TOKEN, comes("198.51.100.7")) is True, "the operator comes from elsewhere"
    await clock.advance(61)
    assert sessions.accepts(TOKEN, attacker) is True


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (comes("2001:db8::1"), comes("2001:db8::ffff:2"), True),
        (comes("2001:db8::1"), comes("2001:db8:0:1::1"), False),
        (comes("127.0.0.1", "203.0.113.9"), comes("127.0.0.1", "198.51.100.7"), False),
        (comes("127.0.0.1", "10.0.0.1, 203.0.113.9"), comes("127.0.0.1", "203.0.113.9"), True),
        (comes("203.0.113.9", "10.0.0.1"), comes("203.0.113.9", "10.0.0.2"), True),
    ],
)
def test_a_place_is_what_one_machine_has(first: Any, second: Any, same: bool):
    assert (place_of(first) == place_of(second)) is same


def test_places_that_were_wrong_are_remembered_in_a_bounded_table():
    tries = Tries(FakeClock())
    for number in range(2 * MOST_PLACES):
        tries.wrong(f"place {number}")
    assert len(tries._wrong) == MOST_PLACES


async def test_who_leaves_ends_the_session_and_its_stream_also_over_a_restart(tmp_path: Path):
    token = Secret(TOKEN)
    async with visiting(Engine(), token=token, admin="127.0.0.3:0", directory=tmp_path) as (client, url):
        _, form = await read(client, f"{url}/ui/login")
        mark = MARK.search(form)
        assert mark is not None
        await send(client, f"{url}/ui/login", {"csrf": mark[1], "to": "/ui", "token": TOKEN, "name": "ann"})
        stolen = {COOKIE: next(each for each in client.cookie_jar if each.key == COOKIE).value}
        async with aiohttp.ClientSession(cookies=stolen, headers={"Accept": "text/html"}) as other:
            other.cookie_jar.update_cookies(stolen, URL(url))
            assert (await read(other, f"{url}/ui", allow_redirects=False))[0] == 200
            async with other.get(f"{url}/ui/events?every=60") as events:
                await events.content.readuntil(b"\n\n")
                await send(client, f"{url}/ui/do/leave", {"csrf": await marked(client, url)})
                with anyio.fail_after(10):
                    assert b"event: bye" in await events.content.read()
            assert (await read(other, f"{url}/ui", allow_redirects=False))[0] == 303
            assert (await read(other, f"{url}/ui/events", headers={"Accept": "text/event-stream"}))[0] == 401
    again = Sessions(token, SystemClock(), lambda: tmp_path)
    assert again.of(SimpleNamespace(cookies=stolen)) is None, "nor after a restart"
    assert Sessions(token, SystemClock()).of(SimpleNamespace(cookies=stolen)) is not None


def test_ended_sessions_are_bounded_and_more_of_them_end_all(tmp_path: Path):
    clock = FakeClock()
    ended, now = Ended(clock, 100.0, lambda: tmp_path), clock.now().timestamp()
    for number in range(MOST_ENDED):
        ended.add(f"session {number}")
    assert ended.has("session 0", now + 50) and not ended.has("another", now + 50)
    ended.add("one more")
    assert ended.has("another", now + 50) and not ended.has("a later one", now + 101)
    (tmp_path / ENDED_FILE).write_text("{")
    assert not Ended(clock, 100.0, lambda: tmp_path).has("another", now + 50)


@pytest.mark.parametrize(
    "to", ["//evil.example", "http://evil.example/ui", "/api/v1/status", "/uix", "/ui/\\evil", "/ui/a\nb", ""]
)
def test_a_form_leads_to_pages_of_ours_alone(to: str):
    assert back(to) == "/ui"


@pytest.mark.parametrize("to", ["/ui", "/ui?q=a", "/ui/letters?integration=acme"])
def test_a_form_leads_back_to_where_it_stood(to: str):
    assert back(to) == to


async def test_while_the_database_is_away_the_page_says_so():
    engine = Engine()
    engine.away = True
    engine.seen = overview(unread="the database did not answer within 5 s", queues=[], workers={"alive": 8, "total": 8})
    async with visiting(engine) as (client, url):
        status, text = await read(client, f"{url}/ui")
        assert status == 200
        assert "The database is away." in text
        assert "no database · syncd" in text
        assert (await read(client, f"{url}/ui/letters"))[0] == 503


async def test_events_tell_what_changed_since_the_page_and_end_with_the_process():
    engine, stopping = Engine(), anyio.Event()
    async with visiting(engine, stopping=stopping) as (client, url):
        _, text = await read(client, f"{url}/ui")
        found = re.search(r'data-board="(\d+)"', text)
        assert found is not None
        async with client.get(f"{url}/ui/events?every=2&since={found[1]}") as answer:
            assert answer.content_type == "text/event-stream"
            said = await answer.content.readuntil(b"\n\n")
            said += await answer.content.readuntil(b"\n\n")
            assert b'"title":"1 auth required' in said
            assert b"row:acme" in said.split(b'"order"')[1].split(b"]")[0]
            stopping.set()
            rest = await answer.content.read()
        assert b"event: bye" in rest
        async with client.get(f"{url}/ui/events") as answer:
            assert answer.status == 503, "it is stopping"


async def test_a_unix_socket_has_the_page_for_who_comes_by_ssh_and_for_no_other_name(tmp_path):
    engine = Engine()
    path = tmp_path / "admin.sock"
    server = Server(settings(admin=f"unix:{path}"), engine, clock=SystemClock(), page=page_of(engine, SystemClock()))
    async with anyio.create_task_group() as group:
        await group.start(server.run)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client:
            assert (await read(client, "http://localhost:8081/ui"))[0] == 200
            assert (await read(client, "http://rebound.example:8081/ui"))[0] == 403
        group.cancel_scope.cancel()
