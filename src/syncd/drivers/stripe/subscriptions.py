"""Stripe's webhook endpoints by its API (facts, section 9; Stripe's OpenAPI). The secret is told once, when one is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from syncd.kit import PayloadError, Request, Response, Secret, Subscription, Subscriptions, with_params
from syncd.kit.subscriptions import text_at, texts

PATH: Final = "/webhook_endpoints"
ROUTE: Final = "/webhook_endpoints/{id}"
PAGE: Final = 100


class StripeSubscriptions(Subscriptions):
    """Several may lead to one address, so a new one comes before the old one goes."""

    def __init__(self, routes: Mapping[str, str], version: str) -> None:
        self._routes = routes
        self._version = version

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        return frozenset(event for event, resource in self._routes.items() if resource in resources)

    def listing(self) -> Request:
        return Request(PATH, params={"limit": str(PAGE)})

    def following(self, request: Request, response: Response) -> Request | None:
        rows = _rows(response)
        if response.json().get("has_more") is not True or not rows:
            return None
        return with_params(request, {"starting_after": _one(rows[-1]).id})

    def found(self, response: Response) -> list[Subscription]:
        return [_one(each) for each in _rows(response)]

    def create(self, url: str, events: Collection[str]) -> Request:
        # Deliveries have the shape of the endpoint's version, so it is that of our other calls.
        form = {"url": url, "api_version": self._version, "description": "syncd", **_events(events)}
        return Request(PATH, "POST", form=form)

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        made = response.json()
        secret = text_at(made, "secret")
        return _one(made), Secret(secret) if secret else None

    def change(self, one: Subscription, events: Collection[str]) -> Request | None:
        return Request(f"{PATH}/{one.id}", "POST", route=ROUTE, form={"disabled": "false", **_events(events)})

    def remove(self, one: Subscription) -> Request:
        return Request(f"{PATH}/{one.id}", "DELETE", route=ROUTE)


def _events(events: Collection[str]) -> dict[str, str]:
    return {f"enabled_events[{number}]": event for number, event in enumerate(sorted(events))}


def _rows(response: Response) -> list[Any]:
    body = response.json()
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise PayloadError("webhook_endpoints: expected a list at `data`")
    return rows


def _one(raw: Any) -> Subscription:
    known = text_at(raw, "id")
    if not known:
        raise PayloadError("webhook_endpoints: one without an id")
    status = text_at(raw, "status")
    return Subscription(known, text_at(raw, "url"), texts(raw.get("enabled_events")), status != "disabled", status)
