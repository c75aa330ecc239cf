"""What of Guesty no description can say: whether custom fields were taken, and which option a retired route asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from syncd.kit import Change, PartnerError, RejectedError, Resource, Response, RestDriver, equal, error_for

RETIRED: Final = "the legacy route of reservations ends on 2027-03-01: set `options: {reservations: v3}`"


class Guesty(RestDriver):
    """Listings and guests whole, reservations by what changed, on either of two routes."""

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        for number, field in enumerate(wanted_fields(change), 1):
            if not field.get("fieldId") or "value" not in field:
                told = f"field custom_fields: number {number} needs fieldId and value"
                raise RejectedError(told, code="invalid", resource=resource.name)

    def confirms(self, resource: Resource, change: Change, response: Response) -> bool:
        """Custom fields come back as taken, perhaps as text; one that lacks or differs was not (200 proves nothing)."""
        wanted = wanted_fields(change)
        if wanted:
            answer = response.json()
            told = answer.get("customFields") if isinstance(answer, dict) else None
            if isinstance(told, list):
                found = {one.get("fieldId"): one.get("value") for one in told if isinstance(one, dict)}
                return all(equal(found.get(one["fieldId"]), one["value"]) for one in wanted)
        return super().confirms(resource, change, response)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        if response.status_code == 410 and response.url.partition("?")[0].endswith("/reservations"):
            return error_for("rejected", response, now, self.spec.errors, hint=RETIRED)
        return super().classify(response, now)


def wanted_fields(change: Change) -> list[dict[str, Any]]:
    """The custom fields a push sets; none of another kind."""
    given = change.data.get("custom_fields") if change.kind == "custom_fields" else None
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]
