"""The admin API's contract check: is a partner still what its driver takes it for? It stores no record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, said_by, target_of

MOST_DOCUMENTS = 50
LONGEST_PATH = 4_096
SECONDS = 300
LONGEST_SECONDS = 3_600


class ContractDesk(Protocol):
    """What the engine does about it. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def contract(
        self, integration: str, resource: str | None, spec: Sequence[str], seconds: float
    ) -> dict[str, Any]:
        """What was found within so many seconds."""
        ...

    def looking(self, integration: str) -> dict[str, Any] | None:
        """What a look that is under way is at; None: there is none."""
        ...


def routes(desk: ContractDesk) -> list[web.RouteDef]:
    async def check(request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(desk.names(), said)
        seconds = said.get("seconds", SECONDS)
        if type(seconds) not in {int, float} or not 1 <= seconds <= LONGEST_SECONDS:
            raise RefusedError(400, "usage", f"seconds must be a number from 1 to {LONGEST_SECONDS}")
        found = await desk.contract(integration, resource, _documents(said), float(seconds))
        return answer({"schema": "syncd.contract/1", **found})

    async def look(request: web.Request) -> web.Response:
        integration, _ = target_of(desk.names(), request.query)
        return answer({"schema": "syncd.contract-look/1", "look": desk.looking(integration)})

    return [web.post(f"{PREFIX}/contract", guarded(check)), web.get(f"{PREFIX}/contract", guarded(look))]


def _documents(said: Mapping[str, Any]) -> list[str]:
    """The paths of the documents to compare with instead of the configured ones: none, one as a text, or a list."""
    told = said.get("spec")
    found = [] if told is None else [told] if isinstance(told, str) else told
    if not isinstance(found, list) or len(found) > MOST_DOCUMENTS or not all(_is_path(one) for one in found):
        raise RefusedError(400, "usage", f"spec must be a path or a list of at most {MOST_DOCUMENTS} paths")
    return found


def _is_path(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_PATH
