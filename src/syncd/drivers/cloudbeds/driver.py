"""What of Cloudbeds no description can say: what may stand in a custom field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.kit import Change, RejectedError, Resource, RestDriver, is_card_number


class Cloudbeds(RestDriver):
    """One client over one or several properties."""

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        fields = change.data.get("custom_fields") or []
        for number, field in enumerate(fields if isinstance(fields, list) else [fields], 1):
            value = field.get("customFieldValue")
            if not field.get("customFieldName") or value is None or is_card_number(value):
                needs = (
                    "needs customFieldName (the shortcode) and customFieldValue, which may be no payment card's number"
                )
                raise RejectedError(
                    f"field custom_fields: number {number} {needs}", code="invalid", resource=resource.name
                )
