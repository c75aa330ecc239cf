"""The admin API, `/api/v1/...`: what the command line, the page and `top` speak. Questions are GET, wishes are POST.

Who may call at all is `guard.py`'s; what the parts of the API share, `desks.py`'s.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from syncd.config import did_you_mean
from syncd.server.answers import answer
from syncd.server.desks import (
    PREFIX,
    RefusedError,
    fields_of,
    guarded,
    ids_of,
    moment_of,
    said_by,
    target_of,
    text_of,
    who_asks,
)
from syncd.server.ports import Status

_LONGEST_COUNT = 15
"""Digits of a number of records."""


def routes(status: Status) -> list[web.RouteDef]:
    api = _Api(status)
    return [
        web.get(f"{PREFIX}/status", guarded(api.status)),
        web.get(f"{PREFIX}/names", guarded(api.names)),
        web.get(f"{PREFIX}/progress", guarded(api.progress)),
        web.get(f"{PREFIX}/plan", guarded(api.plan)),
        web.post(f"{PREFIX}/sync", guarded(api.sync)),
        web.post(f"{PREFIX}/test", guarded(api.test)),
        web.post(f"{PREFIX}/reload", guarded(api.reload)),
        web.post(f"{PREFIX}/pause", guarded(api.pause)),
        web.post(f"{PREFIX}/resume", guarded(api.resume)),
        web.post(f"{PREFIX}/reconcile", guarded(api.reconcile)),
        web.get(f"{PREFIX}/breakers", guarded(api.breakers)),
        web.post(f"{PREFIX}/breaker/hold", guarded(api.hold)),
        web.post(f"{PREFIX}/breaker/release", guarded(api.release)),
        web.post(f"{PREFIX}/breaker/reset", guarded(api.reset)),
    ]


class _Api:
    def __init__(self, status: Status) -> None:
        self._status = status

    async def status(self, request: web.Request) -> web.Response:
        return answer(await self._status.overview())

    async def names(self, request: web.Request) -> web.Response:
        names = {integration: list(found) for integration, found in self._status.names().items()}
        return answer({"schema": "syncd.names/1", "integrations": names})

    async def progress(self, request: web.Request) -> web.Response:
        runs = await self._status.progress(ids_of(request, "wish"))
        return answer({"schema": "syncd.progress/1", "runs": [fields_of(run) for run in runs]})

    async def plan(self, request: web.Request) -> web.Response:
        asked = {key: text for key in ("integration", "resource") if (text := request.query.get(key))}
        integration, resource = target_of(self._status.names(), asked) if asked else (None, None)
        assumed = self._assumed(integration, request.query.getall("assume", []))
        return answer(await self._status.plan(integration, resource, assumed))

    async def sync(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(self._status.names(), said)
        external_id = text_of(said, "id")
        if external_id is not None and resource is None:
            hint = f"syncd sync {integration}/RESOURCE --id ..."
            raise RefusedError(400, "usage", "one record needs its resource", hint)
        wishes = await self._status.sync(integration, resource, external_id, who=who_asks(request))
        return answer({"schema": "syncd.wishes/1", "wishes": wishes}, status=202)

    async def test(self, request: web.Request) -> web.Response:
        integration, _ = target_of(self._status.names(), await said_by(request))
        return answer({"schema": "syncd.test/1", **fields_of(await self._status.test(integration))})

    async def reload(self, request: web.Request) -> web.Response:
        report = await self._status.reload(who=who_asks(request))
        return answer({"schema": "syncd.reload/1", **fields_of(report)})

    async def pause(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        names, resource = self._meant(said)
        until = moment_of(said, "until")
        reason = text_of(said, "reason") or ""
        who = who_asks(request)
        fresh = [await self._status.pause(name, resource, who=who, reason=reason, until=until) for name in names]
        told = {"schema": "syncd.pause/1", "paused": True, "already_paused": not all(fresh), "until": until}
        return answer({**told, "integrations": names})

    async def resume(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        names, resource = self._meant(said)
        was = [await self._status.resume(name, resource, who=who_asks(request)) for name in names]
        told = {"schema": "syncd.resume/1", "paused": False, "already_running": not any(was)}
        return answer({**told, "integrations": names})

    def _meant(self, said: dict[str, Any]) -> tuple[list[str], str | None]:
        """One integration, perhaps a resource of it; or all integrations of a partner."""
        partner = text_of(said, "partner")
        if partner is None:
            integration, resource = target_of(self._status.names(), said)
            return [integration], resource
        known = self._status.partners()
        if partner not in known:
            hint = did_you_mean(partner, known)
            raise RefusedError(404, "unknown-partner", f"no partner {partner!r}", hint)
        if "integration" in said or "resource" in said:
            raise RefusedError(400, "usage", "a partner, or an integration: not both")
        return sorted(known[partner]), None

    async def reconcile(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(self._status.names(), said)
        confirm = said.get("confirm", False)
        if not isinstance(confirm, bool):
            raise RefusedError(400, "usage", "confirm must be true or false")
        report = await self._status.reconcile(integration, resource, confirm=confirm, who=who_asks(request))
        return answer({"schema": "syncd.reconcile/1", **fields_of(report)}, status=202)

    async def breakers(self, request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            target_of(self._status.names(), {"integration": name})
        return answer({"schema": "syncd.breakers/1", "scopes": await self._status.breaker_view(name)})

    async def hold(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, group = self._breaker(said)
        reason = text_of(said, "reason")
        if reason is None:
            raise RefusedError(400, "usage", "a hold needs a reason", "say why: --reason TEXT")
        until = moment_of(said, "until")
        found = await self._status.hold(integration, group, who=who_asks(request), reason=reason, until=until)
        return answer({"schema": "syncd.breaker-hold/1", "held": True, **found})

    async def release(self, request: web.Request) -> web.Response:
        integration, group = self._breaker(await said_by(request))
        found = await self._status.release(integration, group, who=who_asks(request))
        return answer({"schema": "syncd.breaker-release/1", **found})

    async def reset(self, request: web.Request) -> web.Response:
        integration, group = self._breaker(await said_by(request))
        found = await self._status.reset(integration, group, who=who_asks(request))
        return answer({"schema": "syncd.breaker-reset/1", **found})

    def _assumed(self, integration: str | None, said: list[str]) -> dict[str, int]:
        """`RESOURCE=RECORDS`, as often as it was said."""
        names = self._status.names()
        known = {each for name, found in names.items() if integration in (None, name) for each in found}
        assumed = {}
        for text in said:
            resource, _, records = text.partition("=")
            if not (records.isascii() and records.isdigit() and len(records) <= _LONGEST_COUNT):
                raise RefusedError(400, "usage", "assume must be RESOURCE=RECORDS", "for example listings=12000")
            if resource not in known:
                whose = f"{integration} has no" if integration else "there is no"
                hint = did_you_mean(resource, known)
                raise RefusedError(404, "unknown-resource", f"{whose} resource {resource!r}", hint)
            assumed[resource] = int(records)
        return assumed

    def _breaker(self, said: dict[str, Any]) -> tuple[str, str | None]:
        """The integration, and the endpoint group where one is named."""
        integration, _ = target_of(self._status.names(), {"integration": said.get("integration")})
        group = text_of(said, "group")
        known = self._status.breaker_groups(integration)
        if group is not None and group not in known:
            hint = did_you_mean(group, known) or (f"it has: {', '.join(known)}" if known else "leave --group out")
            raise RefusedError(404, "unknown-group", f"{integration} has no endpoint group {group!r}", hint)
        return integration, group
