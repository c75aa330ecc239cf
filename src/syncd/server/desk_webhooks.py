"""The admin API's part about deliveries: which came, what became of one, once more, and a rehearsal of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import (
    PREFIX,
    RefusedError,
    guarded,
    moment_of,
    said_by,
    target_of,
    text_of,
    who_asks,
)
from syncd.store.received import Which

STATES = ("waiting", "done", "dropped", "buried")
MOST_LISTED = 1000
MOST_IDS = 1000


class Deliveries(Protocol):
    """What the desk asks for; implemented by `tracing.Tracing`."""

    async def latest(self, integration: str | None, which: Which, *, limit: int) -> list[dict[str, Any]]:
        """Without bodies, the latest first."""
        ...

    async def delivery(self, integration: str, name: str, *, body: bool) -> dict[str, Any] | None:
        """One by its number or event id, with all it caused; its values hidden without `body`."""
        ...

    async def count(self, integration: str, which: Which) -> tuple[int, int]:
        """Finished ones that can be replayed, and of about how many records they tell."""
        ...

    async def replay(self, integration: str, ids: Sequence[int], *, who: str) -> int:
        """Put these back; returns how many."""
        ...

    async def replay_range(self, integration: str, which: Which, *, who: str) -> int:
        """Put all of a range back; returns how many."""
        ...

    async def types(self, integration: str | None) -> list[dict[str, Any]]:
        """The kinds of events that came, known and unknown."""
        ...


class Rehearsals(Protocol):
    """What the desk asks for; implemented by `rehearsal.Stage`."""

    def types(self, integration: str) -> list[str]:
        """Event types that can be rehearsed."""
        ...

    async def rehearse(
        self,
        integration: str,
        kind: str,
        *,
        external_id: str | None,
        settings: Mapping[str, Any],
        forged: bool,
        stale_seconds: float,
        who: str,
    ) -> dict[str, Any]:
        """A delivery, signed and not sent: `syncd.rehearsal/1`."""
        ...


class Names(Protocol):
    """What is configured; `Status.names`."""

    def names(self) -> Mapping[str, Sequence[str]]: ...


def routes(names: Names, deliveries: Deliveries, rehearsals: Rehearsals) -> list[web.RouteDef]:
    desk = _Desk(names, deliveries, rehearsals)
    return [
        web.get(f"{PREFIX}/webhooks/deliveries", guarded(desk.list)),
        web.get(f"{PREFIX}/webhooks/delivery", guarded(desk.show)),
        web.get(f"{PREFIX}/webhooks/types", guarded(desk.types)),
        web.get(f"{PREFIX}/webhooks/samples", guarded(desk.samples)),
        web.post(f"{PREFIX}/webhooks/replay", guarded(desk.replay)),
        web.post(f"{PREFIX}/webhooks/rehearse", guarded(desk.rehearse)),
    ]


class _Desk:
    def __init__(self, names: Names, deliveries: Deliveries, rehearsals: Rehearsals) -> None:
        self._names = names
        self._deliveries = deliveries
        self._rehearsals = rehearsals

    def _integration(self, said: Mapping[str, Any]) -> str:
        return target_of(self._names.names(), {"integration": said.get("integration")})[0]

    async def list(self, request: web.Request) -> web.Response:
        integration = self._integration(request.query) if "integration" in request.query else None
        limit = request.query.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_LISTED):
            raise RefusedError(400, "usage", f"limit must be a number from 1 to {MOST_LISTED}")
        found = await self._deliveries.latest(integration, _which(request.query), limit=int(limit))
        return answer({"schema": "syncd.deliveries/1", "deliveries": found})

    async def show(self, request: web.Request) -> web.Response:
        integration = self._integration(request.query)
        name = text_of(request.query, "id")
        if name is None:
            raise RefusedError(400, "usage", "which one? id=NUMBER or id=EVENT_ID")
        found = await self._deliveries.delivery(integration, name, body=request.query.get("body") == "1")
        if found is None:
            hint = f"syncd webhook deliveries {integration}"
            raise RefusedError(404, "unknown-delivery", f"{integration} has no delivery {name!r}", hint)
        return answer({"schema": "syncd.delivery/1", **found})

    async def types(self, request: web.Request) -> web.Response:
        integration = self._integration(request.query) if "integration" in request.query else None
        return answer({"schema": "syncd.event-types/1", "types": await self._deliveries.types(integration)})

    async def samples(self, request: web.Request) -> web.Response:
        integration = self._integration(request.query)
        return answer({"schema": "syncd.event-samples/1", "types": self._rehearsals.types(integration)})

    async def replay(self, request: web.Request) -> web.Response:
        """`ids`, or a range of `since`, `until`, `state`, `type`; with `count` it is only counted."""
        said = await said_by(request)
        integration, ids = self._integration(said), said.get("ids")
        which = _which(said)
        if ids is None and which.since is None and which.until is None:
            raise RefusedError(400, "usage", "say which: ids, or a range with since or until")
        if said.get("count") is True:
            count, records = await self._deliveries.count(integration, which)
            told = {"schema": "syncd.webhook-replay/1", "integration": integration, "count": count, "records": records}
            return answer(told)
        if ids is None:
            done = await self._deliveries.replay_range(integration, which, who=who_asks(request))
        else:
            if not isinstance(ids, list) or len(ids) > MOST_IDS or not all(type(one) is int for one in ids):
                raise RefusedError(400, "usage", f"ids must be a list of at most {MOST_IDS} numbers")
            done = await self._deliveries.replay(integration, ids, who=who_asks(request))
        told = {"schema": "syncd.webhook-replay/1", "integration": integration, "replayed": done}
        return answer(told, status=202)

    async def rehearse(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, kind = self._integration(said), text_of(said, "type")
        settings, stale = said.get("set", {}), said.get("stale_seconds", 0)
        if kind is None:
            raise RefusedError(400, "usage", "which event type?")
        if not isinstance(settings, dict) or not isinstance(stale, int | float) or not 0 <= stale <= 10**9:
            raise RefusedError(400, "usage", "set must be an object, stale_seconds a number")
        found = await self._rehearsals.rehearse(
            integration,
            kind,
            external_id=text_of(said, "id"),
            settings=settings,
            forged=said.get("bad_signature") is True,
            stale_seconds=float(stale),
            who=who_asks(request),
        )
        return answer(found)


def _which(said: Mapping[str, Any]) -> Which:
    state = text_of(said, "state")
    if state is not None and state not in STATES:
        raise RefusedError(400, "usage", f"no state {state!r}", f"one of {', '.join(STATES)}")
    return Which(moment_of(said, "since"), moment_of(said, "until"), state, text_of(said, "type"))
