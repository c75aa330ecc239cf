"""A partner with a token endpoint that looks into syncd's database: is the token it is shown committed there?

It judges on the first sight of every token, at the moment the call arrives, and opens the sealed row with the key ring
of the daemon's state directory. Its refresh tokens rotate: the old one dies when what was given for it is first used.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web

from syncd.store import KeyRing

FIRST_REFRESH = "refresh-token-given-by-hand-000"
CLIENT_SECRET = "the-client-secret-0001"


@dataclass
class Grant:
    """One answer of the token endpoint."""

    number: int
    access: str
    refresh: str | None
    made_from: str
    used: bool = False


@dataclass
class Issuer:
    """`url = await issuer.start()`. `held_seconds` is how long the token endpoint takes, `life` what it states.

    `commit_seconds` is how long the database then takes to store what it gave: a lock on the table of credentials.
    """

    database_url: str
    key_file: Path
    kind: str = "oauth2_client"
    integration: str = "acme"
    held_seconds: float = 0.0
    commit_seconds: float = 0.0
    life: int = 3600
    items: int = 3
    answer_seconds: Any = lambda: 0.0
    grants: list[Grant] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Calls by what became of them: ok, refused, unknown."""
    violations: list[str] = field(default_factory=list)
    refused_grants: int = 0
    token_requests: int = 0
    revoked: set[str] = field(default_factory=set)
    client_secrets: set[str] = field(default_factory=lambda: {CLIENT_SECRET})

    def __post_init__(self) -> None:
        self.asked = asyncio.Event()
        """Set whenever a token request arrived."""
        self._runner: web.AppRunner | None = None
        self._looking = asyncio.Lock()
        self._database: asyncpg.Connection | None = None
        self._locks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get("/v1/items", self._items)
        app.router.add_get("/v1/me", self._me)
        self._database = await asyncpg.connect(self.database_url)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._locks)
        if self._database is not None:
            await self._database.close()

    async def _slow_the_commit(self) -> None:
        """Nobody writes credentials for a while; reading goes on."""
        connection = await asyncpg.connect(self.database_url)
        await connection.execute("BEGIN; LOCK TABLE syncd.credentials IN SHARE MODE")

        async def release() -> None:
            await asyncio.sleep(self.commit_seconds)
            await connection.close()

        lock = asyncio.create_task(release())
        self._locks.add(lock)
        lock.add_done_callback(self._locks.discard)

    def revoke(self) -> None:
        """Every token given so far is refused from now on."""
        self.revoked |= {grant.access for grant in self.grants}

    async def stored(self) -> dict[str, str]:
        """What is committed for the integration at this moment, opened; empty when nothing is."""
        assert self._database is not None
        async with self._looking:
            row = await self._database.fetchrow(
                "SELECT ciphertext, key_id FROM syncd.credentials WHERE integration = $1 AND kind = $2",
                self.integration,
                self.kind,
            )
        if row is None:
            return {}
        ring = KeyRing.parse(self.key_file.read_text("ascii"))
        return ring.open(self.integration, self.kind, row["key_id"], row["ciphertext"])

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.token_requests += 1
        self.asked.set()
        await asyncio.sleep(self.held_seconds)
        if form.get("client_secret") not in self.client_secrets:
            self.refused_grants += 1
            return web.json_response({"error": "invalid_client"}, status=401)
        made_from = str(form.get("refresh_token", ""))
        if self.kind == "oauth2_refresh" and made_from not in self._good_refresh_tokens():
            self.refused_grants += 1
            return web.json_response({"error": "invalid_grant"}, status=400)
        number = len(self.grants) + 1
        refresh = f"refresh-token-{number:04d}-zzzz" if self.kind == "oauth2_refresh" else None
        grant = Grant(number, f"access-token-{number:04d}-zzzz", refresh, made_from)
        self.grants.append(grant)
        body: dict[str, Any] = {"access_token": grant.access, "token_type": "Bearer", "expires_in": self.life}
        if refresh is not None:
            body["refresh_token"] = refresh
        if self.commit_seconds:
            await self._slow_the_commit()
        return web.json_response(body)

    def _good_refresh_tokens(self) -> set[str]:
        """The newest one that was used, and those given for it: nobody knows yet which of them arrived."""
        used = [grant for grant in self.grants if grant.used]
        newest = used[-1].refresh if used else FIRST_REFRESH
        assert newest is not None
        return {newest, *(grant.refresh for grant in self.grants if grant.made_from == newest and grant.refresh)}

    async def _judged(self, request: web.Request) -> web.Response | None:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        grant = next((one for one in self.grants if one.access == shown), None)
        if grant is None:
            self.calls["unknown"] += 1
            self.violations.append(f"a token nobody gave: {shown[:20]!r}")
            return web.json_response({"error": "who are you"}, status=401)
        if not grant.used:
            grant.used = True
            stored = await self.stored()
            if stored.get("access_token") != grant.access:
                self.violations.append(f"{grant.access} was used before it was committed")
            if stored.get("refresh_token") != grant.refresh:
                self.violations.append(f"{grant.access} was used while its refresh token was not committed")
        refused = grant.access in self.revoked
        await asyncio.sleep(self.answer_seconds())
        self.calls["refused" if refused else "ok"] += 1
        return web.json_response({"error": "token expired"}, status=401) if refused else None

    async def _items(self, request: web.Request) -> web.Response:
        refused = await self._judged(request)
        if refused is not None:
            return refused
        return web.json_response({"items": [{"id": f"i{number}", "n": number} for number in range(self.items)]})

    async def _me(self, request: web.Request) -> web.Response:
        return await self._judged(request) or web.json_response({"ok": True})
