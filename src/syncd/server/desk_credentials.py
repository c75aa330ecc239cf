"""The admin API of credentials: what is in force, a new one tried and put in force, a person's consent.

No secret passes here but a code that a browser brought back, which is good once and for our client alone: a new secret is a
file beside the old one, and the daemon reads it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.secrets import Secret
from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, fields_of, guarded, said_by, target_of, text_of, who_asks
from syncd.server.ports import TestReport


class CredentialsDesk(Protocol):
    """Implemented by `credentials.desk.Credentials`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every integration that is configured, and its resources."""
        ...

    async def view(self, integration: str | None) -> dict[str, Any]:
        """By integration: short hashes of what is in force, what its partner said the credential may do, sealed rows, who set
        what."""
        ...

    def keys(self) -> dict[str, Any]:
        """The ids of the sealing keys this process has, which of them seals, and its name in leases."""
        ...

    async def try_file(self, integration: str, name: str) -> TestReport:
        """One cheap call with the secret that lies in NAME.new. Never raises for an answer."""
        ...

    async def verify(self, integration: str) -> TestReport:
        """One cheap call with what is in force, in a maintenance window too: a rotation cannot wait. Never raises for an
        answer."""
        ...

    async def adopt(self, integration: str) -> None:
        """The tokens of the trial are in force; those before are kept."""
        ...

    async def undo(self, integration: str) -> None:
        """And those before again."""
        ...

    async def ended(self, integration: str, action: str, names: Mapping[str, Any], *, who: str) -> None:
        """It is over: noted in the audit log with `before` and `after`, and what was kept is let go of."""
        ...

    async def login(
        self, integration: str, code: Secret, verifier: Secret | None, redirect: str, *, who: str
    ) -> TestReport:
        """A person has allowed it: the code is exchanged, its token stored, and tried with one cheap call."""
        ...


ACTIONS = frozenset(
    {
        "credential_set",
        "credential_rotated",
        "credential_rotation_undone",
        "secret_of_webhook_added",
        "secret_of_webhook_undone",
        "secret_of_webhook_ended",
    }
)


def routes(desk: CredentialsDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [
        web.get(f"{PREFIX}/credentials", guarded(api.view)),
        web.get(f"{PREFIX}/keys", guarded(api.keys)),
        web.post(f"{PREFIX}/credentials/try", guarded(api.try_file)),
        web.post(f"{PREFIX}/credentials/verify", guarded(api.verify)),
        web.post(f"{PREFIX}/credentials/adopt", guarded(api.adopt)),
        web.post(f"{PREFIX}/credentials/undo", guarded(api.undo)),
        web.post(f"{PREFIX}/credentials/ended", guarded(api.ended)),
        web.post(f"{PREFIX}/credentials/login", guarded(api.login)),
    ]


class _Api:
    def __init__(self, desk: CredentialsDesk) -> None:
        self._desk = desk

    async def view(self, request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            target_of(self._desk.names(), {"integration": name})
        return answer({"schema": "syncd.credentials-in-force/1", "integrations": await self._desk.view(name)})

    async def keys(self, request: web.Request) -> web.Response:
        return answer({"schema": "syncd.keys-in-use/1", **self._desk.keys()})

    async def try_file(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, name = self._asked(said), _named(said)
        return answer({"schema": "syncd.test/1", **fields_of(await self._desk.try_file(integration, name))})

    async def verify(self, request: web.Request) -> web.Response:
        integration = self._asked(await said_by(request))
        return answer({"schema": "syncd.test/1", **fields_of(await self._desk.verify(integration))})

    async def adopt(self, request: web.Request) -> web.Response:
        integration = self._asked(await said_by(request))
        await self._desk.adopt(integration)
        return answer({"schema": "syncd.credential-step/1", "integration": integration, "step": "adopted"})

    async def undo(self, request: web.Request) -> web.Response:
        integration = self._asked(await said_by(request))
        await self._desk.undo(integration)
        return answer({"schema": "syncd.credential-step/1", "integration": integration, "step": "undone"})

    async def ended(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, action = self._asked(said), text_of(said, "action")
        if action not in ACTIONS:
            raise RefusedError(400, "usage", f"action must be one of {', '.join(sorted(ACTIONS))}")
        told = {key: _hashes(said, key) for key in ("before", "after")}
        reason = text_of(said, "reason")
        await self._desk.ended(integration, action, {**told, "reason": reason}, who=who_asks(request))
        return answer({"schema": "syncd.credential-step/1", "integration": integration, "step": action})

    async def login(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, redirect = self._asked(said), text_of(said, "redirect")
        code, verifier = _secret(said, "code"), _secret(said, "verifier")
        if code is None or redirect is None:
            raise RefusedError(400, "usage", "code and redirect are what the browser brought back")
        report = await self._desk.login(integration, code, verifier, redirect, who=who_asks(request))
        return answer({"schema": "syncd.test/1", **fields_of(report)})

    def _asked(self, said: Mapping[str, Any]) -> str:
        return target_of(self._desk.names(), {"integration": said.get("integration")})[0]


def _named(said: Mapping[str, Any]) -> str:
    name = text_of(said, "name")
    if name is None:
        raise RefusedError(400, "usage", "name the credential")
    return name


def _secret(said: Mapping[str, Any], key: str) -> Secret | None:
    value = said.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 8192:
        raise RefusedError(400, "usage", f"{key} must be a text")
    return Secret(value)


def _hashes(said: Mapping[str, Any], key: str) -> dict[str, str]:
    """Short hashes by name: nothing that could be a secret is written down."""
    given = said.get(key) or {}
    sound = isinstance(given, dict) and all(
        isinstance(name, str) and isinstance(one, str) and len(one) == 8 and set(one) <= set("0123456789abcdef")
        for name, one in given.items()
    )
    if not sound or len(given) > 20:
        raise RefusedError(400, "usage", f"{key} must hold short hashes by name")
    return dict(given)
