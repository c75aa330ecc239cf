"""MaintainX's subscriptions by its API (facts, section 9.1): one for each type of event, and no list of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from syncd.kit import PayloadError, Request, Response, Secret, Subscription, Subscriptions, getter
from syncd.kit.subscriptions import text_at

ROUTE: Final = "/subscriptions/{id}"


class MaintainXSubscriptions(Subscriptions):
    """Its answers tell type and address by its own specification; what they leave out is as it was made."""

    listed: ClassVar = False
    one_an_event: ClassVar = True
    vanish: ClassVar = True
    longest_url: ClassVar = 512

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._routes = routes

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        return frozenset(event for event, resource in self._routes.items() if resource in resources)

    def read(self, one: Subscription) -> Request:
        return Request(f"/subscriptions/{one.id}", route=ROUTE)

    def told(self, one: Subscription, response: Response) -> Subscription:
        return _said(one, getter("subscription")(response.json()))

    def create(self, url: str, events: Collection[str]) -> Request:
        return Request("/subscriptions", "POST", json={"type": next(iter(events)), "url": url})

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        number = getter("id")(response.json())
        if not isinstance(number, int | str) or number == "":
            raise PayloadError("subscriptions: one without an id")
        return _said(Subscription(str(number), "", frozenset()), response.json()), self.secret_in(response)

    def secret(self, one: Subscription) -> Request | None:
        return Request(f"/subscriptions/{one.id}/secret", route=f"{ROUTE}/secret")

    def secret_in(self, response: Response) -> Secret | None:
        return Secret(found) if (found := text_at(response.json(), "secret")) else None

    def remove(self, one: Subscription) -> Request:
        return Request(f"/subscriptions/{one.id}", "DELETE", route=ROUTE)


def _said(one: Subscription, raw: Any) -> Subscription:
    status, kind, url = text_at(raw, "status"), text_at(raw, "type"), text_at(raw, "url")
    events = frozenset({kind}) if kind else one.events
    return replace(one, url=url or one.url, events=events, pending=status == "PENDING_APPROVAL", said=status)
