"""The admin API's desk for evidence: `GET /api/v1/evidence`, what a partner's support desk asks for, masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, target_of, text_of


class EvidenceDesk(Protocol):
    """What puts it together; `support.evidence` does."""

    async def view(
        self,
        integration: str,
        *,
        since: datetime | None = None,
        failed: bool = False,
        record: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Schema `syncd.evidence/1`."""
        ...


class Named(Protocol):
    """Who knows the integrations, and has the evidence."""

    @property
    def evidence(self) -> EvidenceDesk: ...

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...


def routes(engine: Named) -> list[web.RouteDef]:
    async def evidence(request: web.Request) -> web.Response:
        said = request.query
        asked = {key: value for key in ("integration", "resource") if (value := text_of(said, key)) is not None}
        integration, resource = target_of(engine.names(), asked)
        external_id = text_of(said, "id")
        if (resource is None) != (external_id is None):
            raise RefusedError(400, "usage", "a record is named by its resource and its id")
        record = (resource, external_id) if resource is not None and external_id is not None else None
        since = moment_of(said, "since")
        return answer(await engine.evidence.view(integration, since=since, failed="failed" in said, record=record))

    return [web.get(f"{PREFIX}/evidence", guarded(evidence))]
