"""The admin API, `/api/v1/...`: what the command line, the page and `top` speak. Questions are GET, wishes are POST.

Names are checked here, once, so that every caller gets the same did-you-mean. Who may call at all is `guard.py`'s.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.config import did_you_mean
from syncd.errors import ConfigError, OwnershipError, StoreError, SyncdError
from syncd.explain import Explanation
from syncd.server.answers import answer, refusal
from syncd.server.ports import Status

PREFIX = "/api/v1"
_MOST_WISHES = 1000
_LONGEST_COUNT = 15
"""Digits of a number of records."""


class _RefusedError(Exception):
    """Leaves a handler with a finished answer."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.response = refusal(status, code, message, hint)


def routes(status: Status) -> list[web.RouteDef]:
    api = _Api(status)
    return [
        web.get(f"{PREFIX}/status", _guarded(api.status)),
        web.get(f"{PREFIX}/names", _guarded(api.names)),
        web.get(f"{PREFIX}/progress", _guarded(api.progress)),
        web.get(f"{PREFIX}/plan", _guarded(api.plan)),
        web.post(f"{PREFIX}/sync", _guarded(api.sync)),
        web.post(f"{PREFIX}/test", _guarded(api.test)),
        web.post(f"{PREFIX}/reload", _guarded(api.reload)),
        web.post(f"{PREFIX}/pause", _guarded(api.pause)),
        web.post(f"{PREFIX}/resume", _guarded(api.resume)),
        web.post(f"{PREFIX}/reconcile", _guarded(api.reconcile)),
        web.get(f"{PREFIX}/breakers", _guarded(api.breakers)),
        web.post(f"{PREFIX}/breaker/hold", _guarded(api.hold)),
        web.post(f"{PREFIX}/breaker/release", _guarded(api.release)),
        web.post(f"{PREFIX}/breaker/reset", _guarded(api.reset)),
    ]


def _guarded(handler: Handler) -> Handler:
    """Turn the errors a handler may meet into answers."""

    async def run(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _RefusedError as refused:
            return refused.response
        except OwnershipError as error:
            return refusal(409, "conflict", str(error), error.hint)
        except StoreError as error:
            return refusal(503, "database", str(error), error.hint)
        except ConfigError as error:
            return refusal(422, "configuration", str(error), error.hint)
        except SyncdError as error:
            return refusal(409, "refused", str(error), error.hint)

    return run


class _Api:
    def __init__(self, status: Status) -> None:
        self._status = status

    async def status(self, request: web.Request) -> web.Response:
        return answer(await self._status.overview())

    async def names(self, request: web.Request) -> web.Response:
        names = {integration: list(found) for integration, found in self._status.names().items()}
        return answer({"schema": "syncd.names/1", "integrations": names})

    async def progress(self, request: web.Request) -> web.Response:
        asked = request.query.getall("wish", [])
        if len(asked) > _MOST_WISHES or not all(text.isascii() and text.isdigit() for text in asked):
            raise _RefusedError(400, "usage", "wish must be a number, at most a thousand of them")
        runs = await self._status.progress([int(text) for text in asked])
        return answer({"schema": "syncd.progress/1", "runs": [_fields(run) for run in runs]})

    async def plan(self, request: web.Request) -> web.Response:
        asked = {key: text for key in ("integration", "resource") if (text := request.query.get(key))}
        integration, resource = self._target(asked) if asked else (None, None)
        assumed = self._assumed(integration, request.query.getall("assume", []))
        return answer(await self._status.plan(integration, resource, assumed))

    async def sync(self, request: web.Request) -> web.Response:
        said = await _said(request)
        integration, resource = self._target(said)
        external_id = _text(said, "id")
        if external_id is not None and resource is None:
            hint = f"syncd sync {integration}/RESOURCE --id ..."
            raise _RefusedError(400, "usage", "one record needs its resource", hint)
        wishes = await self._status.sync(integration, resource, external_id, who=_who(request))
        return answer({"schema": "syncd.wishes/1", "wishes": wishes}, status=202)

    async def test(self, request: web.Request) -> web.Response:
        integration, _ = self._target(await _said(request))
        return answer({"schema": "syncd.test/1", **_fields(await self._status.test(integration))})

    async def reload(self, request: web.Request) -> web.Response:
        report = await self._status.reload(who=_who(request))
        return answer({"schema": "syncd.reload/1", **_fields(report)})

    async def pause(self, request: web.Request) -> web.Response:
        said = await _said(request)
        integration, resource = self._target(said)
        until = _moment(said, "until")
        reason = _text(said, "reason") or ""
        fresh = await self._status.pause(integration, resource, who=_who(request), reason=reason, until=until)
        return answer({"schema": "syncd.pause/1", "paused": True, "already_paused": not fresh, "until": until})

    async def resume(self, request: web.Request) -> web.Response:
        said = await _said(request)
        integration, resource = self._target(said)
        was = await self._status.resume(integration, resource, who=_who(request))
        return answer({"schema": "syncd.resume/1", "paused": False, "already_running": not was})

    async def reconcile(self, request: web.Request) -> web.Response:
        said = await _said(request)
        integration, resource = self._target(said)
        confirm = said.get("confirm", False)
        if not isinstance(confirm, bool):
            raise _RefusedError(400, "usage", "confirm must be true or false")
        report = await self._status.reconcile(integration, resource, confirm=confirm, who=_who(request))
        return answer({"schema": "syncd.reconcile/1", **_fields(report)}, status=202)

    async def breakers(self, request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            self._target({"integration": name})
        return answer({"schema": "syncd.breakers/1", "scopes": await self._status.breaker_view(name)})

    async def hold(self, request: web.Request) -> web.Response:
        said = await _said(request)
        integration, group = self._breaker(said)
        reason = _text(said, "reason")
        if reason is None:
            raise _RefusedError(400, "usage", "a hold needs a reason", "say why: --reason TEXT")
        until = _moment(said, "until")
        found = await self._status.hold(integration, group, who=_who(request), reason=reason, until=until)
        return answer({"schema": "syncd.breaker-hold/1", "held": True, **found})

    async def release(self, request: web.Request) -> web.Response:
        integration, group = self._breaker(await _said(request))
        found = await self._status.release(integration, group, who=_who(request))
        return answer({"schema": "syncd.breaker-release/1", **found})

    async def reset(self, request: web.Request) -> web.Response:
        integration, group = self._breaker(await _said(request))
        found = await self._status.reset(integration, group, who=_who(request))
        return answer({"schema": "syncd.breaker-reset/1", **found})

    def _assumed(self, integration: str | None, said: list[str]) -> dict[str, int]:
        """`RESOURCE=RECORDS`, as often as it was said."""
        names = self._status.names()
        known = {each for name, found in names.items() if integration in (None, name) for each in found}
        assumed = {}
        for text in said:
            resource, _, records = text.partition("=")
            if not (records.isascii() and records.isdigit() and len(records) <= _LONGEST_COUNT):
                raise _RefusedError(400, "usage", "assume must be RESOURCE=RECORDS", "for example listings=12000")
            if resource not in known:
                whose = f"{integration} has no" if integration else "there is no"
                hint = did_you_mean(resource, known)
                raise _RefusedError(404, "unknown-resource", f"{whose} resource {resource!r}", hint)
            assumed[resource] = int(records)
        return assumed

    def _breaker(self, said: dict[str, Any]) -> tuple[str, str | None]:
        """The integration, and the endpoint group where one is named."""
        integration, _ = self._target({"integration": said.get("integration")})
        group = _text(said, "group")
        known = self._status.breaker_groups(integration)
        if group is not None and group not in known:
            hint = did_you_mean(group, known) or (f"it has: {', '.join(known)}" if known else "leave --group out")
            raise _RefusedError(404, "unknown-group", f"{integration} has no endpoint group {group!r}", hint)
        return integration, group

    def _target(self, said: dict[str, Any]) -> tuple[str, str | None]:
        integration, resource = _text(said, "integration"), _text(said, "resource")
        if integration is None:
            raise _RefusedError(400, "usage", "name an integration")
        names = self._status.names()
        if integration not in names:
            hint = did_you_mean(integration, names)
            raise _RefusedError(404, "unknown-integration", f"no integration {integration!r}", hint)
        if resource is not None and resource not in names[integration]:
            hint = did_you_mean(resource, names[integration])
            raise _RefusedError(404, "unknown-resource", f"{integration} has no resource {resource!r}", hint)
        return integration, resource


async def _said(request: web.Request) -> dict[str, Any]:
    try:
        value = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        raise _RefusedError(400, "usage", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise _RefusedError(400, "usage", "the body must be a JSON object")
    return value


def _text(said: dict[str, Any], key: str) -> str | None:
    value = said.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise _RefusedError(400, "usage", f"{key} must be a text of 1 to 1000 characters")
    return value


def _moment(said: dict[str, Any], key: str) -> datetime | None:
    text = _text(said, key)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _RefusedError(400, "usage", f"{key} must be an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise _RefusedError(400, "usage", f"{key} must carry its offset from UTC")
    return moment


def _who(request: web.Request) -> str:
    """Who asked, as they say: a name for the audit log, not a proof. Proof is the socket's or the token's business."""
    said = request.headers.get("X-Syncd-Actor", "")
    return "".join(character for character in said[:100] if character.isprintable()).strip() or "admin API"


def _fields(report: Any) -> dict[str, Any]:
    """A report as JSON; an Explanation with its runbook, which is no field of it."""
    found = {name: getattr(report, name) for name in report.__dataclass_fields__}
    return {name: value.as_dict() if isinstance(value, Explanation) else value for name, value in found.items()}
