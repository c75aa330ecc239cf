"""Cloudbeds' webhooks: one subscription for each kind of event and property, all to one address (facts, section 9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from syncd.kit import PayloadError, Request, Response, Secret, Subscription, Subscriptions
from syncd.kit.subscriptions import text_at


class CloudbedsSubscriptions(Subscriptions):
    """An event is named `property:object/action`. Nothing is signed: the address ends in the secret."""

    one_an_event: ClassVar = True
    own_address: ClassVar = False
    secret_in_address: ClassVar = True
    vanish: ClassVar = True

    def __init__(self, routes: Mapping[str, str], properties: Sequence[str]) -> None:
        self._routes, self._properties = routes, properties

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        events = [event for event, resource in self._routes.items() if resource in resources]
        return frozenset(f"{each}:{event}" for each in self._properties for event in events)

    def listing(self) -> Request:
        return Request("/getWebhooks", params={"propertyID": self._properties[0]})

    def following(self, request: Request, response: Response) -> Request | None:
        left = self._properties[self._properties.index(dict(request.params)["propertyID"]) + 1 :]
        return Request("/getWebhooks", params={"propertyID": left[0]}) if left else None

    def found(self, response: Response) -> list[Subscription]:
        body = response.json()
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not all(text_at(raw, "id") for raw in rows):
            raise PayloadError("getWebhooks: expected a list of subscriptions at `data`")
        return [_one(raw) for raw in rows]

    def create(self, url: str, events: Collection[str]) -> Request:
        (event,) = events
        known, name, action = event.replace("/", ":", 1).split(":")
        form = {"propertyID": known, "object": name, "action": action, "endpointUrl": url}
        return Request("/postWebhook", "POST", form=form)

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        body = response.json()
        known = text_at(body.get("data") if isinstance(body, dict) else None, "subscriptionID")
        if not known:
            raise PayloadError("postWebhook: the answer names no subscription")
        return Subscription(known, "", frozenset()), None

    def remove(self, one: Subscription) -> Request:
        return Request("/deleteWebhook", "DELETE", params={"subscriptionID": one.id})


def _one(raw: dict[str, Any]) -> Subscription:
    event = raw.get("event")
    name = f"{text_at(raw.get('key'), 'id')}:{text_at(event, 'entity')}/{text_at(event, 'action')}"
    return Subscription(raw["id"], text_at(raw.get("subscriptionData"), "endpoint", "url"), frozenset({name}))
