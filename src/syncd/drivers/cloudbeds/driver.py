"""What of Cloudbeds no description can say: two kinds of credential, and what may stand in a custom field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncd.kit import (
    Auth,
    Change,
    RejectedError,
    Resource,
    RestDriver,
    checked_options,
    is_card_number,
)

OAUTH: Final = Auth(kind="oauth2_refresh", token_path="/api/v1.3/access_token")  # noqa: S106 - a path
"""Answers with a new refresh token each time; two refreshes at once may spoil each other. Cloudbeds' OpenAPI, v1.3, 2026."""


class Cloudbeds(RestDriver):
    """One client over one or several properties."""

    def auth(self, options: Mapping[str, Any]) -> Auth:
        return OAUTH if checked_options(self.spec, options)["auth"] == "oauth" else self.spec.auth

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
