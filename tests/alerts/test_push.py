"""Messages about what begins and ends: signed, together, once, again after a while, and not twice because of a restart."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks.webhooks import Webhook

from syncd import metrics
from syncd.alerts.delivery import Receiver
from syncd.alerts.push import LONGEST_PAUSE_SECONDS, SETTLE_SECONDS, START_SECONDS, Pusher
from syncd.conditions import Condition
from syncd.config import AlertsConfig
from syncd.errors import ConfigError
from syncd.explain import Explanation, State
from syncd.secrets import Secret, Vault
from syncd.testing.clock import FakeClock

SECRET = "whsec_c3ludGhldGljIGFsZXJ0cyBzZWNyZXQ="  # not-a-secret


class Receiving:
    """An address of somebody's: keeps what came, answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status == 302 else {})

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.got[-1][1])
        return found


@pytest.fixture
async def receiving() -> AsyncIterator[Receiving]:
    there = Receiving()
    app = web.Application()
    app.router.add_post("/hook", there.take)
    server = TestServer(app)
    await server.start_server()
    there.url = str(server.make_url("/hook"))
    yield there
    await server.close()


def condition(code: str, *, integration: str = "acme", state: State = State.DOWN, reason: str = "") -> Condition:
    told = Explanation(code, reason or f"{code} it is", FakeClock().now(), "somebody", "syncd status")
    return Condition(state, told, integration, "guesty" if integration else "", "ACME Inc" if integration else "")


class Scene:
    """A pusher, its clock, and what is wrong at the moment."""

    def __init__(self, receiving: Receiving, directory: Path | None = None, **said: Any) -> None:
        self.clock = FakeClock()
        self.now: list[Condition] = []
        self.starting: set[str] | None = set()
        self.config = AlertsConfig.model_validate({"url": {"env": "URL"}, "secret": {"env": "SECRET"}, **said})
        self.receiver: Callable[[], Receiver | None] = lambda: Receiver(
            Secret(receiving.url), Secret(SECRET), self.config.format
        )
        self.directory = directory
        self.begin()

    def begin(self) -> None:
        """As at a start of the process."""
        self.pusher = Pusher(
            config=lambda: self.config,
            receiver=lambda: self.receiver(),
            conditions=lambda: self.now,
            starting=lambda: self.starting,
            clock=self.clock,
            directory=lambda: self.directory,
        )

    async def pass_by(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.pusher.look()


async def test_what_begins_together_is_told_together_signed_and_once(receiving: Receiving):
    scene = Scene(receiving)
    scene.now = [condition("auth-failed"), condition("database-down", integration="")]
    await scene.pusher.look()
    assert receiving.got == [], "it may be over in a moment"
    await scene.pass_by(SETTLE_SECONDS)
    await scene.pass_by(600)
    [(headers, _)] = receiving.got
    told = receiving.last
    assert told["schema"] == "syncd.alert/1"
    assert told["summary"] == "2 began"
    assert [one["code"] for one in told["began"]] == ["auth-failed", "database-down"]
    assert told["began"][0] | {"since": None} == condition("auth-failed").as_dict() | {"since": None}
    assert headers["webhook-id"] == told["id"]


async def test_what_was_over_before_it_was_told_or_is_only_paused_or_waits_is_not_told(receiving: Receiving):
    scene = Scene(receiving, severities=["page", "ticket", "note"])
    scene.now = [condition("auth-failed"), condition("paused", state=State.PAUSED, integration="beta")]
    scene.now.append(condition("rate-limited", state=State.WAITING, integration="gamma"))
    await scene.pusher.look()
    scene.now = scene.now[1:]
    await scene.pass_by(SETTLE_SECONDS)
    await scene.pass_by(SETTLE_SECONDS)
    assert receiving.got == []


async def test_the_end_is_told_and_a_pause_is_no_end(receiving: Receiving):
    scene = Scene(receiving)
    scene.now = [condition("auth-failed"), condition("partner-down", integration="beta")]
    await scene.pusher.look()
    await scene.pass_by(START_SECONDS)
    scene.now = [condition("paused", state=State.PAUSED, integration="beta")]
    await scene.pass_by(5)
    await scene.pass_by(SETTLE_SECONDS)
    assert [one["integration"] for one in receiving.last["ended"]] == ["acme"]
    assert receiving.last["ended"][0]["ended_at"]
    assert receiving.last["began"] == []
    assert len(receiving.got) == 2


async def test_what_lasts_is_told_again_after_the_time_set(receiving: Receiving):
    scene = Scene(receiving, repeat="1h")
    scene.now = [condition("auth-failed")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    await scene.pass_by(3590)
    assert len(receiving.got) == 1
    await scene.pass_by(20)
    assert [one["code"] for one in receiving.last["lasting"]] == ["auth-failed"]
    assert len(receiving.got) == 2


async def test_only_the_severities_wanted_are_told(receiving: Receiving):
    scene = Scene(receiving)
    scene.now = [condition("schema-changed", state=State.DEGRADED)]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert receiving.got == [], "a ticket wakes nobody"
    scene.config = AlertsConfig.model_validate({"url": {"env": "URL"}, "severities": ["page", "ticket"]})
    await scene.pass_by(5)
    await scene.pass_by(SETTLE_SECONDS)
    assert len(receiving.got) == 1


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_a_receiver_that_is_away_hears_how_things_stand_once_it_is_back(receiving: Receiving, status: int):
    scene = Scene(receiving)
    receiving.status = status
    failed = metrics.ALERT_PUSHES.labels("failed")._value.get()
    scene.now = [condition("auth-failed"), condition("partner-down", integration="beta")]
    await scene.pusher.look()
    for _ in range(100):
        await scene.pass_by(30)
    assert 5 <= len(receiving.got) <= 14, "tries grow apart"
    assert metrics.ALERT_PUSHES.labels("failed")._value.get() - failed == len(receiving.got)
    trouble = scene.pusher.trouble()
    assert trouble is not None
    assert str(status) in trouble.told.cause
    assert receiving.url not in str(trouble), "addresses are secrets"
    scene.now = [condition("auth-failed"), Condition(trouble.state, trouble.told)]
    receiving.status = 200
    await scene.pass_by(LONGEST_PAUSE_SECONDS)
    assert [one["code"] for one in receiving.last["began"]] == ["auth-failed"], "what is over meanwhile was never told"
    assert receiving.last["ended"] == []
    assert scene.pusher.trouble() is None
    await scene.pass_by(60)
    assert receiving.last["began"][0]["code"] == "auth-failed", "nor is told that it could not be told"


async def test_a_restart_tells_nothing_twice_and_what_ended_meanwhile_once(receiving: Receiving, tmp_path: Path):
    scene = Scene(receiving, tmp_path)
    scene.now = [condition("auth-failed"), condition("partner-down", integration="beta")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert len(receiving.got) == 1
    lasting, scene.now = scene.now[:1], []
    await scene.clock.advance(20)
    scene.begin()
    await scene.pusher.look()  # nothing was looked at yet
    await scene.pass_by(30)
    scene.now = lasting
    for _ in range(6):
        await scene.pass_by(10)
    assert len(receiving.got) == 2
    assert [one["integration"] for one in receiving.last["ended"]] == ["beta"]
    assert receiving.last["began"] == receiving.last["lasting"] == []


async def test_a_start_that_waits_for_its_database_calls_nothing_over(receiving: Receiving, tmp_path: Path):
    scene = Scene(receiving, tmp_path)
    scene.now = lasting = [condition("auth-failed"), condition("partner-down", integration="beta")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert len(receiving.got) == 1
    scene.now, scene.starting = [], None
    scene.begin()
    await scene.pusher.look()
    scene.now, scene.starting = [condition("database-down", integration="")], {"acme", "beta"}
    for _ in range(2 * int(START_SECONDS / 10)):
        await scene.pass_by(10)
    assert len(receiving.got) == 2
    assert receiving.last["ended"] == [], "nobody has looked at them yet"
    scene.now, scene.starting = [], set()
    await scene.pass_by(30)
    scene.now = lasting[:1]
    for _ in range(6):
        await scene.pass_by(10)
    ended = [one["code"] for _, body in receiving.got for one in orjson.loads(body)["ended"]]
    assert sorted(ended) == ["database-down", "partner-down"]


async def test_what_another_instance_works_on_is_neither_over_nor_lasting(receiving: Receiving):
    scene = Scene(receiving, repeat="1h")
    trouble = condition("auth-failed")
    scene.now = [trouble]
    await scene.pusher.look()
    await scene.pass_by(START_SECONDS)
    scene.now = [condition("not-owner", state=State.WAITING)]
    for _ in range(30):
        await scene.pass_by(300)
    assert len(receiving.got) == 1
    scene.now = []
    await scene.pass_by(30)
    scene.now = [trouble]
    await scene.pass_by(START_SECONDS)
    assert receiving.last["ended"] == [], "met anew when it came back"
    scene.now = []
    await scene.pass_by(5)
    await scene.pass_by(SETTLE_SECONDS)
    assert [one["code"] for one in receiving.last["ended"]] == ["auth-failed"]


async def test_what_becomes_worse_is_told_once_more(receiving: Receiving):
    scene = Scene(receiving, severities=["page", "ticket"])
    scene.now = [condition("partner-down", state=State.DEGRADED)]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert [one["severity"] for one in receiving.last["began"]] == ["ticket"]
    for state in (State.DOWN, State.DEGRADED, State.DOWN):
        scene.now = [condition("partner-down", state=state)]
        for _ in range(4):
            await scene.pass_by(5)
    assert [one["severity"] for one in receiving.last["began"]] == ["page"]
    assert len(receiving.got) == 2


async def test_what_is_less_bad_than_anybody_wants_to_hear_of_has_eased_and_is_not_over(
    receiving: Receiving, tmp_path: Path
):
    scene = Scene(receiving, tmp_path, severities=["page"])
    page, ticket = condition("partner-down"), condition("partner-down", state=State.DEGRADED)

    async def lasts(*now: Condition) -> dict[str, Any]:
        scene.now = list(now)
        for _ in range(4):
            await scene.pass_by(SETTLE_SECONDS)
        told = receiving.last
        return {key: [one["severity"] for one in told[key]] for key in ("began", "ended", "eased", "lasting")}

    nothing: dict[str, list[str]] = {"began": [], "ended": [], "eased": [], "lasting": []}
    assert await lasts(page) == nothing | {"began": ["page"]}
    assert await lasts(ticket) == nothing | {"eased": ["ticket"]}
    assert receiving.last["summary"] == "1 eased"
    scene.begin()
    assert await lasts(ticket) == nothing | {"eased": ["ticket"]}
    assert len(receiving.got) == 2, "once, whatever is started anew"
    assert await lasts(page) == nothing | {"began": ["page"]}
    assert await lasts(ticket) == nothing | {"eased": ["ticket"]}
    assert await lasts() == nothing | {"ended": ["page"]}
    assert len(receiving.got) == 5


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"told": {"a": 1}}', b'{"told": []}'])
async def test_a_memory_that_cannot_be_read_costs_one_message_and_no_more(
    receiving: Receiving, tmp_path: Path, spoilt: bytes
):
    (tmp_path / "alerts.json").write_bytes(spoilt)
    scene = Scene(receiving, tmp_path)
    scene.now = [condition("auth-failed"), condition("partner-down", integration="beta")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert len(receiving.got) == 1
    assert orjson.loads((tmp_path / "alerts.json").read_bytes())["told"].keys() == {
        "acme//auth-failed", "beta//partner-down",
    }  # fmt: skip


async def test_switched_off_it_does_nothing_and_an_address_that_is_none_is_a_trouble(receiving: Receiving):
    scene = Scene(receiving)
    scene.now = [condition("auth-failed")]
    scene.config = AlertsConfig()
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    assert receiving.got == []
    assert scene.pusher.trouble() is None
    scene.config = AlertsConfig.model_validate({"url": {"env": "URL"}})
    scene.receiver = lambda: Receiver.of(scene.config, Vault(None, {"URL": "ftp://example.com/x"}))
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    trouble = scene.pusher.trouble()
    assert trouble is not None
    assert "no http(s) URL" in trouble.told.cause
    with pytest.raises(ConfigError):
        scene.receiver()


async def test_a_chat_gets_a_text_in_which_nobody_is_called(receiving: Receiving):
    kind: Literal["slack"] = "slack"
    scene = Scene(receiving, format=kind)
    scene.now = [condition("request-rejected", reason="403 <!channel> & more")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    text = receiving.last["text"]
    assert "acme (ACME Inc): 403 &lt;!channel&gt; &amp; more. Do: `syncd status`" in text


async def test_the_signature_is_that_of_standard_webhooks(receiving: Receiving):
    scene = Scene(receiving)
    scene.clock = clock = FakeClock()
    await clock.advance((datetime.now(UTC) - clock.now()) / timedelta(seconds=1))  # its judge looks at the real clock
    scene.begin()
    scene.now = [condition("auth-failed")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    headers, body = receiving.got[0]
    Webhook(SECRET).verify(body, {key.lower(): value for key, value in headers.items()})


@pytest.mark.parametrize(
    ("secret", "key"),
    [("a plain secret, no base64", b"a plain secret, no base64"), (SECRET, b"synthetic alerts secret")],
)
async def test_no_message_is_signed_with_a_key_that_everybody_has(receiving: Receiving, secret: str, key: bytes):
    scene = Scene(receiving)
    vault = Vault(None, {"URL": receiving.url, "SECRET": secret})
    scene.receiver = lambda: Receiver.of(scene.config, vault)
    scene.now = [condition("auth-failed")]
    await scene.pusher.look()
    await scene.pass_by(SETTLE_SECONDS)
    [(headers, body)] = receiving.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"


def test_a_secret_that_is_none_is_refused(receiving: Receiving):
    config = AlertsConfig.model_validate({"url": {"env": "URL"}, "secret": {"env": "SECRET"}})
    with pytest.raises(ConfigError, match="no base64 after whsec_"):
        Receiver.of(config, Vault(None, {"URL": receiving.url, "SECRET": "whsec_!not base64!"}))
