"""The admin API's desk for one record: `GET /api/v1/record`, why it is so or why there is none."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, text_of


class RecordsDesk(Protocol):
    """What answers; `provenance` does."""

    async def story(self, integration: str, resource: str, external_id: str, *, changes: int = 10) -> dict[str, Any]:
        """Schema `syncd.record/1`. Raises StoreError; AskedWrongError for names that nobody knows."""
        ...


def routes(records: RecordsDesk) -> list[web.RouteDef]:
    async def record(request: web.Request) -> web.Response:
        said = {key: text_of(request.query, key) for key in ("integration", "resource", "id")}
        if not (said["integration"] and said["resource"] and said["id"]):
            raise RefusedError(400, "usage", "name integration, resource and id")
        return answer(await records.story(said["integration"], said["resource"], said["id"]))

    return [web.get(f"{PREFIX}/record", guarded(record))]
