"""The admin API for pushes: send one (or only look what would be sent), list them, follow one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from syncd.errors import StoreError, SyncdError
from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, said_by, target_of, text_of, who_asks

STATES = ("waiting", "taken", "unknown", "done", "dropped", "buried")
MOST_SHOWN = 1000


class Pushing(Protocol):
    """What answers; `pushing.py` does."""

    def names(self) -> Mapping[str, Sequence[str]]: ...

    async def push(
        self,
        integration: str,
        resource: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        external_id: str | None,
        key: str | None,
        cause: str | None,
        expires_at: datetime | None,
        who: str,
    ) -> dict[str, Any]: ...

    async def rehearse(
        self, integration: str, resource: str, kind: str, data: Mapping[str, Any], *, external_id: str | None
    ) -> dict[str, Any]: ...

    async def one(self, integration: str, push_id: int) -> dict[str, Any] | None: ...

    async def some(
        self, integration: str | None, *, resource: str | None, states: Sequence[str] | None, limit: int
    ) -> dict[str, Any]: ...


def routes(pushing: Pushing) -> list[web.RouteDef]:
    desk = _Desk(pushing)
    return [
        web.post(f"{PREFIX}/pushes", guarded(desk.push)),
        web.get(f"{PREFIX}/pushes", guarded(desk.some)),
        web.get(f"{PREFIX}/pushes/one", guarded(desk.one)),
    ]


class _Desk:
    def __init__(self, pushing: Pushing) -> None:
        self._pushing = pushing

    async def push(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(self._pushing.names(), said)
        kind, data = text_of(said, "kind"), said.get("data", {})
        if resource is None or kind is None:
            hint = f"syncd push {integration}/RESOURCE --kind KIND --data JSON"
            raise RefusedError(400, "usage", "a push names its resource and its kind", hint)
        if not isinstance(data, dict):
            raise RefusedError(400, "usage", "data must be a JSON object")
        external_id = text_of(said, "id")
        try:
            return await self._pushed(request, said, integration, resource, kind, data, external_id)
        except StoreError:
            raise
        except SyncdError as error:
            raise RefusedError(400, "invalid-push", str(error), error.hint) from None

    async def _pushed(
        self,
        request: web.Request,
        said: Mapping[str, Any],
        integration: str,
        resource: str,
        kind: str,
        data: Mapping[str, Any],
        external_id: str | None,
    ) -> web.Response:
        if said.get("dry_run") is True:
            found = await self._pushing.rehearse(integration, resource, kind, data, external_id=external_id)
            return answer(found)
        found = await self._pushing.push(
            integration,
            resource,
            kind,
            data,
            external_id=external_id,
            key=text_of(said, "key"),
            cause=text_of(said, "cause"),
            expires_at=moment_of(said, "expires_at"),
            who=who_asks(request),
        )
        return answer(found, status=202)

    async def some(self, request: web.Request) -> web.Response:
        query = request.query
        integration = query.get("integration")
        states = query.getall("state", [])
        if unknown := [state for state in states if state not in STATES]:
            raise RefusedError(400, "usage", f"{unknown[0]!r} is no state of a push", f"one of {', '.join(STATES)}")
        limit = query.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MOST_SHOWN):
            raise RefusedError(400, "usage", f"limit must be a number from 1 to {MOST_SHOWN}")
        found = await self._pushing.some(
            integration, resource=query.get("resource"), states=states or None, limit=int(limit)
        )
        return answer(found)

    async def one(self, request: web.Request) -> web.Response:
        integration, wanted = request.query.get("integration", ""), request.query.get("id", "")
        if not integration or not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
            raise RefusedError(400, "usage", "name the integration and the push's id")
        push_id = int(wanted)
        found = await self._pushing.one(integration, push_id)
        if found is None:
            raise RefusedError(404, "unknown-push", f"{integration} has no push {push_id}", "syncd push list")
        return answer(found)
