"""Guesty's webhooks by its API (facts, section 9): one subscription a URL, the secret read from Svix by that URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

from syncd.kit import PayloadError, Request, Response, Secret, Subscription, Subscriptions
from syncd.kit.subscriptions import text_at, texts

ROUTE: Final = "/webhooks/{id}"
LEGACY: Final = frozenset({"reservation.new", "reservation.updated"})
"""Phased out by the end of 2026; their successors, of v2, name the record to read on either route."""


class GuestySubscriptions(Subscriptions):
    """Lists tell no state, so none is known to be switched off."""

    one_a_url: ClassVar = True
    waits: ClassVar = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    """The secret is a 404 for a short while after the making (two public connectors); about six tries."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._routes = routes

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        return frozenset(event for event, resource in self._routes.items() if resource in resources) - LEGACY

    def listing(self) -> Request:
        return Request("/webhooks")

    def found(self, response: Response) -> list[Subscription]:
        body = response.json()
        rows = next((body[key] for key in ("results", "data") if key in body), None) if isinstance(body, dict) else body
        if not isinstance(rows, list):
            raise PayloadError("webhooks: expected a list of subscriptions")
        return [_one(each) for each in rows]

    def create(self, url: str, events: Collection[str]) -> Request:
        return Request("/webhooks", "POST", json={"url": url, "events": sorted(events)})

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        return _one(response.json()), None

    def secret(self, one: Subscription) -> Request | None:
        return Request("/webhooks-v2/secret", params={"url": one.url})

    def secret_in(self, response: Response) -> Secret | None:
        found = text_at(response.json(), "key", "secret", "signingSecret")
        return Secret(found) if found else None

    def change(self, one: Subscription, events: Collection[str]) -> Request | None:
        return Request(f"/webhooks/{one.id}", "PUT", route=ROUTE, json={"url": one.url, "events": sorted(events)})

    def remove(self, one: Subscription) -> Request:
        return Request(f"/webhooks/{one.id}", "DELETE", route=ROUTE)


def _one(raw: Any) -> Subscription:
    known = text_at(raw, "_id", "id")
    if not known:
        raise PayloadError("webhooks: a subscription without an id")
    return Subscription(known, text_at(raw, "url"), texts(raw.get("events")))
