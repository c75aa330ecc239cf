"""Rotation of what tokens are made from: a trial gets its own, and the one refresh token that lives is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from syncd.client import build
from syncd.kit import Event
from syncd.kit.allowed import Scopes
from syncd.model import Request
from syncd.secrets import Secret
from syncd.store import KeyRing, Store
from syncd.store.inbox import Taken
from syncd.sync.health import Health
from syncd.sync.keys import ROTATED, KeptUp, Keys
from syncd.sync.rotating import Rotation
from syncd.testing.clock import FakeClock
from tests.client.parts import Facts, Partner, session_of


class Issuer(Partner):
    """Takes one client secret at a time; each refresh token is good once, and each token until the next secret."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.secret = "client-secret-0000"
        self.refresh = "refresh-0000"
        self.issued = 0
        self.tokens: set[str] = set()
        self.refuses_calls = False
        self.silent = False

    def answer(self, request: httpx.Request) -> Any:
        if request.url.path.endswith("/oauth/token"):
            asked = dict(parse_qsl(request.content.decode()))
            if asked["client_secret"] != self.secret:
                return httpx.Response(401, json={"error": "invalid_client"})
            if asked["grant_type"] == "refresh_token" and asked["refresh_token"] != self.refresh:
                return httpx.Response(400, json={"error": "invalid_grant"})
            self.issued += 1
            token, self.refresh = f"access-token-{self.issued:04}", f"refresh-{self.issued:04}"
            self.tokens.add(token)
            told = {"access_token": token, "expires_in": 3600, "token_type": "bearer"}
            if asked["grant_type"] == "refresh_token":
                told["refresh_token"] = self.refresh
            return httpx.Response(200, json=told)
        if self.silent:
            return asyncio.Event().wait()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        good = token in self.tokens and not self.refuses_calls
        return httpx.Response(200 if good else 401, json={})

    def turn(self, secret: str) -> None:
        self.secret = secret
        self.tokens.clear()


class Stage:
    def __init__(self, store: Store, clock: FakeClock, kind: str) -> None:
        self.store, self.clock, self.issuer, self.kind = store, clock, Issuer(), kind
        self.facts = Facts(kind, token_path="/oauth/token")
        self.number = 0
        self.begin()

    def begin(self) -> None:
        file = {"client_id": Secret("the-client"), "client_secret": Secret("client-secret-0000")}
        if self.kind == "oauth2_refresh":
            file["refresh_token"] = Secret("refresh-0000")
        ownership: Any = SimpleNamespace(held=True, fence=self.number)
        keys = Keys("acme", file, ownership, self.store, self.clock)

        def session(read: Any, keeper: Any) -> Any:
            auth = build(self.facts, read, integration="acme", clock=self.clock, keeper=keeper)
            return session_of(self.issuer, self.clock, auth=KeptUp(auth, keys) if read is keys else auth)

        account: Any = SimpleNamespace(
            name="acme", keys=keys, ownership=ownership, health=Health("acme"), options={}, tasks_added=lambda: None,
            driver=SimpleNamespace(test=lambda options: Request("/me"), auth=lambda options: self.facts,
                                   spec=SimpleNamespace(scopes=Scopes())),
            store=self.store, clock=self.clock, plans={},
            session=session(keys, self.store.credentials), attempt=session,
        )  # fmt: skip
        self.account = account
        self.rotation = Rotation("plain", {"acme": account}, self.store, self.clock)

    async def told(self, secret: str) -> None:
        self.number += 1
        one = Taken(self.number, str(self.number), "", "rotated", {}, b"", self.clock.now(), 0, 0)
        event = Event("", "", "rotated", self.clock.now(), credentials={"client_secret": Secret(secret)})
        await self.rotation.take(self.account, event, one)
        await self.rotation._look()
        await self.clock.advance(1)

    async def call(self) -> int:
        return int((await self.account.session.call(Request("/things"))).status_code)

    async def kinds(self) -> set[str]:
        return {note.kind for note in await self.store.credentials.list("acme")}


@pytest.fixture(params=["oauth2_client", "oauth2_refresh"])
async def stage(database: str, key_ring: KeyRing, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, migrate=False) as store:
        yield Stage(store, clock, request.param)


async def test_the_tokens_of_the_trial_are_the_ones_in_force_afterwards(stage: Stage):
    assert await stage.call() == 200
    stage.issuer.turn("client-secret-1111")
    await stage.told("client-secret-1111")
    assert stage.account.health.rotation is None
    assert await stage.call() == 200
    assert stage.issuer.issued == 2, "the trial's token serves, and no other is asked for"
    assert await stage.kinds() == {ROTATED, stage.kind}
    stage.begin()
    assert await stage.call() == 200
    assert stage.issuer.issued == 2
    await stage.clock.advance(timedelta(hours=2).total_seconds())
    assert await stage.call() == 200, "and so does the refresh token that came with it"
    assert stage.issuer.issued == 3


async def test_a_refused_secret_leaves_the_tokens_as_they_were(stage: Stage):
    assert await stage.call() == 200
    await stage.told("a-wrong-secret-2222")
    assert stage.account.health.rotation is not None
    assert await stage.call() == 200
    assert stage.issuer.issued == 1
    assert ROTATED not in await stage.kinds()
    await stage.clock.advance(timedelta(hours=2).total_seconds())
    assert await stage.call() == 200


async def test_a_refusal_after_the_exchange_loses_no_refresh_token(stage: Stage):
    """The token endpoint took the new secret and gave the next refresh token; the call itself was refused."""
    assert await stage.call() == 200
    stage.issuer.refuses_calls = True
    await stage.told(stage.issuer.secret)  # the very same secret: the endpoint takes it
    stage.issuer.refuses_calls = False
    assert stage.account.health.rotation is not None
    assert not any(kind.endswith("trial") for kind in await stage.kinds())
    await stage.clock.advance(timedelta(hours=2).total_seconds())
    assert await stage.call() == 200


async def test_a_roll_back_brings_the_former_tokens_back(stage: Stage):
    assert await stage.call() == 200
    before = await stage.store.credentials.get("acme", stage.kind)
    assert before is not None

    async def refused(_: Any) -> str:
        return "401 all at once"

    stage.rotation._steps._verified = refused  # type: ignore[method-assign]
    stage.issuer.turn("client-secret-1111")
    await stage.told("client-secret-1111")
    after = await stage.store.credentials.get("acme", stage.kind)
    assert after is not None
    if stage.kind == "oauth2_client":
        assert (after.value, after.expires_at) == (before.value, before.expires_at)
    else:
        assert after.value["refresh_token"] == stage.issuer.refresh, "the former one is dead since the trial"
    assert ROTATED not in await stage.kinds()
