"""One refresh however many ask, and no token that is not committed, whatever is killed and when (criterion 6)."""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncd.client import PartnerTransport, Session
from syncd.client import build as build_auth
from syncd.clock import SystemClock
from syncd.limits import Gate
from syncd.model import Request
from syncd.store import KeyRing, Store
from tests.client.parts import Credentials, Facts
from tests.whole.daemon import Daemon, Rows
from tests.whole.issuer import CLIENT_SECRET, FIRST_REFRESH, Issuer

KINDS = ["oauth2_client", "oauth2_refresh"]
HELD_SECONDS = 0.2
COMMIT_SECONDS = 0.15
FRESH_SEED = secrets.randbelow(10**9)


def partner(kind: str, base_url: str) -> dict[str, Any]:
    credentials = {"client_id": "the-client-id-0001", "client_secret": CLIENT_SECRET}
    if kind == "oauth2_refresh":
        credentials["refresh_token"] = FIRST_REFRESH
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": {
            "auth": {"kind": kind, "token_path": "/oauth/token"},
            "test": "/me",
            "limits": {"tiers": ["1000/s"], "share": 1.0},
            "resources": {"items": {"path": "/items", "records": "items", "fields": {"n": "n"}}},
        },
        "resources": {"items": {"every": "1s", "strategy": "full"}},
        "integrations": {"acme": {"credentials": credentials}},
    }


@pytest.fixture
async def issuers(database: str, tmp_path: Path) -> AsyncIterator[Any]:
    """Make token-giving partners; they stop with the test."""
    made: list[Issuer] = []

    def make(kind: str, **options: Any) -> Issuer:
        made.append(Issuer(database, tmp_path / "state" / "syncd.key", kind, **options))
        return made[-1]

    yield make
    for issuer in made:
        await issuer.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_two_hundred_calls_meeting_an_expired_token_cause_one_token_request(
    kind: str, issuers: Any, store: Store, key_ring: KeyRing, tmp_path: Path
):
    dice = random.Random(6)
    # Refusals come scattered, many of them after the new token is already there: those must not ask for another.
    issuer: Issuer = issuers(kind, held_seconds=0.15, answer_seconds=lambda: dice.uniform(0.02, 0.6))
    issuer.key_file.parent.mkdir()
    issuer.key_file.write_text(f"test:{base64.b64encode(bytes(range(32))).decode()}\n")
    base_url = await issuer.start()
    clock = SystemClock()
    gate = Gate("acme", ["5000/s"], clock=clock, share=1.0, concurrency=250, keeper=store.limit_state)
    await gate.open()
    given = Credentials(client_id="id-0001", client_secret=CLIENT_SECRET, refresh_token=FIRST_REFRESH)
    auth = build_auth(
        Facts(kind, token_path="/oauth/token"), given, integration="acme", clock=clock, keeper=store.credentials
    )
    transport = PartnerTransport("plain", clock=clock)
    session = Session(transport, integration="acme", base_url=base_url, gate=gate, auth=auth)
    try:
        await session.call(Request("/items"))
        assert issuer.token_requests == 1
        issuer.revoke()
        answers = await asyncio.gather(*[session.call(Request("/items")) for _ in range(200)])
        assert [answer.status_code for answer in answers] == [200] * 200
        assert issuer.token_requests == 2, "one for the first call, exactly one for all that met the expired token"
        assert 100 < issuer.calls["refused"] <= 200, "most of them met it, and nobody replays twice"
        assert issuer.violations == []
        assert (await issuer.stored())["access_token"] == issuer.grants[-1].access
    finally:
        await session.aclose()
        await transport.aclose()
        gate.close()


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("oauth2_client", 20261121), ("oauth2_refresh", 20261121), ("oauth2_refresh", FRESH_SEED)],
    ids=["client", "refresh", "refresh, fresh seed"],
)
async def test_a_refresh_cut_off_by_kill_nine_never_uses_an_uncommitted_token(
    kind: str, seed: int, issuers: Any, database: str, rows: Rows, tmp_path: Path
):
    print(f"seed {seed}")
    dice = random.Random(seed)
    issuer: Issuer = issuers(kind, held_seconds=HELD_SECONDS, commit_seconds=COMMIT_SECONDS)
    base_url = await issuer.start()
    daemon = Daemon(tmp_path, database, {"plain": partner(kind, base_url)})
    # Before the answer, while it is on its way, between its arrival and the commit, and just after.
    moments = [HELD_SECONDS / 2, *(HELD_SECONDS + after for after in (0.0, 0.03, 0.1, COMMIT_SECONDS, 0.25))]
    if kind == "oauth2_client":
        moments = moments[::2]  # less can be lost here: no refresh token dies
    dice.shuffle(moments)
    for moment in moments:
        issuer.revoke()
        issuer.asked.clear()
        await daemon.start(wait=False)
        await asyncio.wait_for(issuer.asked.wait(), 30)
        await asyncio.sleep(moment + dice.uniform(0.0, 0.006))
        await daemon.kill()
        assert issuer.violations == []
    before = await rows.connection.fetchval("SELECT coalesce(max(id), 0) FROM syncd.runs")
    issuer.items += 1
    await daemon.start()

    async def syncing_again() -> bool:
        return (
            await rows.count("acme", "items") == issuer.items
            and await rows.connection.fetchval("SELECT max(id) FROM syncd.runs") > before
        )

    await daemon.until(syncing_again, seconds=30)
    assert await daemon.stop() == 0
    assert issuer.violations == []
    assert issuer.refused_grants == 0, "a lost answer is asked for again with a refresh token that is still good"
    unused = [grant for grant in issuer.grants if not grant.used]
    print(f"{issuer.token_requests} token requests, {len(unused)} grants lost to kills")


async def test_a_changed_client_secret_is_proved_by_a_token_request_and_a_refused_one_changes_nothing(
    issuers: Any, database: str, rows: Rows, tmp_path: Path
):
    issuer: Issuer = issuers("oauth2_client")
    file = partner("oauth2_client", await issuer.start())
    secret = tmp_path / "client_secret"
    secret.touch(mode=0o600)
    secret.write_text(CLIENT_SECRET)
    file["integrations"]["acme"]["credentials"]["client_secret"] = {"file": str(secret)}
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:

        async def synced() -> bool:
            return await rows.count("acme", "items") == issuer.items

        await daemon.until(synced)
        secret.write_text("another-secret-0002")
        _, report = await daemon.post("reload")
        assert not report["ok"]
        assert "refused" in report["kept"]["plain"][0]
        assert (issuer.token_requests, issuer.refused_grants) == (2, 1), (
            "the token at hand proves nothing of the secret"
        )
        issuer.items += 1
        await daemon.until(synced)
        assert issuer.token_requests == 2, "the old token goes on"
        issuer.client_secrets = {"another-secret-0002"}
        _, report = await daemon.post("reload")
        assert report["ok"], report
        issuer.items += 1
        await daemon.until(synced)
        assert issuer.token_requests == 3
        assert issuer.grants[-1].used
    assert issuer.violations == []


async def test_a_rotating_refresh_token_is_committed_with_its_access_token_on_every_turn(
    issuers: Any, database: str, rows: Rows, tmp_path: Path
):
    issuer: Issuer = issuers("oauth2_refresh", life=2, commit_seconds=0.1)
    base_url = await issuer.start()
    async with Daemon(tmp_path, database, {"plain": partner("oauth2_refresh", base_url)}) as daemon:

        async def turned() -> bool:
            return sum(grant.used for grant in issuer.grants) >= 4

        await daemon.until(turned, seconds=40)
    assert issuer.violations == []
    assert issuer.refused_grants == 0
    assert issuer.calls["refused"] == 0, "a token is renewed before it ends, so none is refused"
    chain = [grant.made_from for grant in issuer.grants]
    assert chain == [FIRST_REFRESH, *(grant.refresh for grant in issuer.grants[:-1])], "each made from the one before"
