"""What the client's tests are built from: a fake partner, a keeper in memory, and a session around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from syncd.client import Auth, PartnerTransport, Session, build
from syncd.limits import Gate
from syncd.ports import StoredCredential
from syncd.secrets import Secret
from syncd.testing.clock import FakeClock
from syncd.testing.keeping import Kept

BASE = "https://api.acme.example/v2"

Handler = Callable[[httpx.Request], Any]


class Partner:
    """Answers with what it was told to, in order (the last answer again and again), and remembers every request."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    @property
    def paths(self) -> list[str]:
        return [request.url.raw_path.decode() for request in self.requests]


def ok(body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(200, json={} if body is None else body, headers=headers)


class Credentials:
    """What stands under an integration's `credentials:`."""

    def __init__(self, **values: str) -> None:
        self.values = {name: Secret(value) for name, value in values.items()}

    def __call__(self, name: str) -> Secret:
        return self.values[name]

    def change(self, **values: str) -> None:
        self.values |= {name: Secret(value) for name, value in values.items()}


@dataclass
class Facts:
    """A driver's `auth:`."""

    kind: str = "none"
    header: str | None = None
    query: str | None = None
    prefix: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    token_path: str | None = None
    scope: str | None = None
    client: str = "form"
    body: str | None = None
    grant_type: str | None = None
    granted: str | None = None
    named: str = "access_token"
    send: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str | int | bool] = field(default_factory=dict)
    early: float = 300.0
    lasts: float | None = None
    timeout: float = 45.0
    login: object = None


class Keeper(Kept):
    """The credentials table: committed versions only, each after a turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.before_commit: Callable[[], Any] | None = None

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        await asyncio.sleep(0)
        return await super().get(integration, kind)

    async def put(self, *version: Any, **how: Any) -> StoredCredential:
        await asyncio.sleep(0)
        self.puts += 1
        if self.before_commit is not None:
            result = self.before_commit()
            if asyncio.iscoroutine(result):
                await result
        return await super().put(*version, **how)


def session_of(
    partner: Partner,
    clock: FakeClock,
    *,
    auth: Auth | None = None,
    gate: Gate | None = None,
    base_url: str = BASE,
    most_body: int = 1 << 20,
    **more: Any,
) -> Session:
    transport = PartnerTransport("acme", clock=clock, transport=partner.transport, most_body=most_body)
    gate = gate or Gate("acme", ["100000/s"], clock=clock, concurrency=50)
    return Session(transport, integration="acme/one", base_url=base_url, gate=gate, auth=auth, **more)


def auth_of(
    facts: Facts, clock: FakeClock, *, keeper: Keeper | None = None, sign: Any = None, **credentials: str
) -> tuple[Auth, Credentials]:
    secrets = Credentials(**credentials)
    auth = build(facts, secrets, integration="acme/one", clock=clock, keeper=keeper, sign=sign)
    return auth, secrets


async def failure(work: Any) -> Exception:
    """The error that awaiting it raises."""
    try:
        await work
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
