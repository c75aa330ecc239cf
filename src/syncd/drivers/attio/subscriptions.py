"""Attio's webhooks by its API (docs.attio.com/rest-api/guides/webhooks, 2026). Needs the scope webhook:read-write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

from syncd.kit import PayloadError, Request, Resource, Response, Secret, Subscription, Subscriptions, with_params
from syncd.kit.subscriptions import text_at

PAGE: Final = 100
"""The most the list gives at once."""
ROUTE: Final = "/webhooks/{id}"
EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "record": ("record.created", "record.updated", "record.deleted", "record.merged"),
    "list-entry": ("list-entry.created", "list-entry.updated", "list-entry.deleted"),
    "tasks": ("task.created", "task.updated", "task.deleted"),
    # note.updated tells of the title alone.
    "notes": ("note.created", "note.updated", "note-content.updated", "note.deleted"),
    "lists": ("list.created", "list.updated", "list.deleted"),
    "workspace_members": ("workspace-member.created",),
}
"""What a resource is, or its name -> the events that tell of it."""


class AttioSubscriptions(Subscriptions):
    """The secret is told once, when one is made. Events are not filtered: a filter would name objects by UUID."""

    one_a_url: ClassVar = True  # the same url, event and filter twice is a 409

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self._paths = {name: resource.path for name, resource in resources.items()}

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        return frozenset(event for name in resources for event in EVENTS.get(self._kind(name), ()))

    def _kind(self, name: str) -> str:
        path = self._paths.get(name, "")
        if path.endswith("/records/query"):
            return "record"
        return "list-entry" if path.endswith("/entries/query") else name

    def listing(self) -> Request:
        return Request("/webhooks", params={"limit": str(PAGE), "offset": "0"})

    def following(self, request: Request, response: Response) -> Request | None:
        if len(_data(response, list)) < PAGE:
            return None
        return with_params(request, {"offset": str(int(dict(request.params)["offset"]) + PAGE)})

    def found(self, response: Response) -> list[Subscription]:
        return [_one(each) for each in _data(response, list)]

    def create(self, url: str, events: Collection[str]) -> Request:
        return Request("/webhooks", "POST", json={"data": {"target_url": url, "subscriptions": _subscribed(events)}})

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        made = _data(response, dict)
        secret = text_at(made, "secret")
        return _one(made), Secret(secret) if secret else None

    def change(self, one: Subscription, events: Collection[str]) -> Request | None:
        if not one.active:
            return None  # nothing documented sets an inactive one going again
        return Request(
            f"/webhooks/{one.id}", "PATCH", route=ROUTE, json={"data": {"subscriptions": _subscribed(events)}}
        )

    def remove(self, one: Subscription) -> Request:
        return Request(f"/webhooks/{one.id}", "DELETE", route=ROUTE)


def _subscribed(events: Collection[str]) -> list[dict[str, Any]]:
    return [{"event_type": event, "filter": None} for event in sorted(events)]


def _data(response: Response, kind: type) -> Any:
    body = response.json()
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, kind):
        raise PayloadError("webhooks: the answer has no `data` of the expected kind")
    return data


def _one(raw: Any) -> Subscription:
    ids = raw.get("id") if isinstance(raw, dict) else None
    known = text_at(ids, "webhook_id")
    if not known:
        raise PayloadError("webhooks: one without id.webhook_id")
    told = raw.get("subscriptions")
    # One with a filter brings only part of an event, so it does not count as bringing it.
    events = frozenset(
        text_at(each, "event_type")
        for each in (told if isinstance(told, list) else [])
        if isinstance(each, dict) and not each.get("filter")
    )
    status = text_at(raw, "status")
    # A degraded one is still sent to: its deliveries failed, and it ends as inactive unless they succeed again.
    return Subscription(known, text_at(raw, "target_url"), events - {""}, status != "inactive", status)
