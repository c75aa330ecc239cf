"""The admin API's dry run: what a pull would make of a few records. It writes no record, no checkpoint and no run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, said_by, target_of, text_of

_MOST_RECORDS = 1_000
_LONGEST_SECONDS = 600.0
_CASE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}\Z")


class DryRunDesk(Protocol):
    """What the engine does about it. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def dry_run(
        self,
        integration: str,
        resource: str,
        limit: int,
        *,
        since: datetime | None,
        values: bool,
        save: bool,
        case: str,
        seconds: float,
    ) -> dict[str, Any]:
        """What was found."""
        ...


def routes(desk: DryRunDesk) -> list[web.RouteDef]:
    async def run(request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(desk.names(), said)
        if resource is None:
            raise RefusedError(400, "usage", "name a resource")
        limit, seconds = said.get("limit", 10), said.get("seconds", 60)
        if type(limit) is not int or not 1 <= limit <= _MOST_RECORDS:
            raise RefusedError(400, "usage", f"limit must be a number from 1 to {_MOST_RECORDS}")
        if type(seconds) not in {int, float} or not 1 <= seconds <= _LONGEST_SECONDS:
            raise RefusedError(400, "usage", f"seconds must be a number from 1 to {_LONGEST_SECONDS:g}")
        values, save = said.get("values", False), said.get("save", False)
        if not isinstance(values, bool) or not isinstance(save, bool):
            raise RefusedError(400, "usage", "values and save must be true or false")
        case = text_of(said, "case") or "live"
        if not _CASE.match(case):
            raise RefusedError(400, "usage", "case must be lower-case letters, digits and -")
        found = await desk.dry_run(
            integration,
            resource,
            limit,
            since=moment_of(said, "since"),
            values=values,
            save=save,
            case=case,
            seconds=float(seconds),
        )
        return answer({"schema": "syncd.dryrun/1", **found})

    return [web.post(f"{PREFIX}/dryrun", guarded(run))]
