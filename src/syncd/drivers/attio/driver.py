"""What of Attio no description can say: objects by configuration, filters that are documents, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from syncd.drivers.attio import naming
from syncd.drivers.attio.configured import UUID, Valued, made, safe, score_rate
from syncd.drivers.attio.values import flat
from syncd.drivers.attio.writing import check_name, values_of
from syncd.kit import (
    Change,
    Checkpoint,
    Delivery,
    Event,
    Limits,
    PartnerError,
    PayloadError,
    RateLimitError,
    Raw,
    Record,
    RejectedError,
    Request,
    Resource,
    Response,
    RestDriver,
    Tier,
    TransientError,
    checked_options,
    error_for,
)

PROBE_SECONDS: Final = 5.0
"""How long the health probe may take (our checklist)."""
MOST: Final = {"notes": 50, "people_threads": 50, "companies_threads": 50, "deals_threads": 50}
"""Rows a page at most, by resource. A page cut short by Attio would look like the last one."""
MOST_ROWS: Final = 500
"""For all others: the default of the query endpoints and of tasks; a maximum is not documented (facts, section 4)."""
EXECUTION_ID: Final = "x-attio-execution-id"

_SCOPE = re.compile(r"[a-z_]+:read(?:-write)?")
_TOO_DEAR = re.compile(r"complex|per[ -]query|single query", re.IGNORECASE)
_SCOPES: Final = (
    (re.compile(r"/objects/[^/]+/records"), ("record_permission:read", "object_configuration:read")),
    (re.compile(r"/lists/[^/]+/entries"), ("list_entry:read", "list_configuration:read")),
    (re.compile(r"/objects"), ("object_configuration:read",)),
    (re.compile(r"/lists"), ("list_configuration:read",)),
    (re.compile(r"/(?:threads|comments)"), ("comment:read", "object_configuration:read", "record_permission:read")),
    (re.compile(r"/notes"), ("note:read", "object_configuration:read", "record_permission:read")),
    (
        re.compile(r"/tasks"),
        ("task:read", "object_configuration:read", "record_permission:read", "user_management:read"),
    ),
    (re.compile(r"/workspace_members"), ("user_management:read",)),
    (re.compile(r"/webhooks"), ("webhook:read-write",)),
)
"""What a call needs (facts, section 2; that of notes is ours): the body of a missing-scope 403 is not documented."""
_EVENTS: Final = {
    "record": ("object_id", "record_id"),
    "list-entry": ("list_id", "entry_id"),
    "task": ("tasks", "task_id"),
    "note": ("notes", "note_id"),
    "note-content": ("notes", "note_id"),
    "list": ("lists", "list_id"),
    "workspace-member": ("workspace_members", "workspace_member_id"),
}
"""What an event is about -> our resource (or where the UUID stands that names it) and where the record's id is."""


class Attio(RestDriver):
    """Attio keeps no `updated_at`: incremental means created since, or a status moved since; the rest is read whole."""

    # What there is.

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        return made(self.spec.resources, checked_options(self.spec, options))

    def limits(self, options: Mapping[str, Any]) -> Limits:
        given = checked_options(self.spec, options)
        limits = self.spec.limits
        score = {"rate": score_rate(given), "weighted": True}
        tiers = [tier for tier in limits.tiers if not tier.weighted]
        return limits.model_copy(update={"tiers": (*tiers, Tier.model_validate(score))})

    def test(self, options: Mapping[str, Any] | None = None) -> Request:
        return replace(super().test(options), deadline_seconds=PROBE_SECONDS)

    # Asking.

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        return self._moved_too(resource, super().request(_sound(resource), checkpoint))

    def child_request(
        self,
        child: Resource,
        parent_id: str,
        checkpoint: Checkpoint | None = None,
        parent: Mapping[str, Any] | None = None,
    ) -> Request:
        return super().child_request(_sound(child), parent_id, checkpoint, parent)

    def one(self, resource: Resource, external_id: str) -> Request | None:
        request = super().one(resource, external_id)
        return None if request is None else replace(request, weight=1.0, budget="read")  # only queries have a score

    @staticmethod
    def _moved_too(resource: Resource, request: Request) -> Request:
        """Ask for created since, or a status moved since: the two things that can be filtered by."""
        if not isinstance(resource, Valued) or not resource.statuses or not isinstance(request.json, dict):
            return request
        created = request.json.get("filter")
        if created is None:
            return request
        moved = [{slug: {"active_from": created["created_at"]}} for slug in resource.statuses]
        return replace(request, json={**request.json, "filter": {"$or": [created, *moved]}})

    # Pushes.

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        check_name(resource, change)

    def push(self, resource: Resource, change: Change) -> Request:
        request = super().push(resource, change)
        data = request.json.get("data") if isinstance(request.json, dict) else None
        key = next((one for one in ("values", "entry_values") if one in (data or {})), None)
        if not isinstance(resource, Valued) or data is None or key is None:
            return request
        return replace(request, json={"data": {**data, key: values_of(resource, data[key])}})

    # Reading answers.

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        if not isinstance(resource, Valued):
            return super().normalize(resource, raw, adapter)
        return super().normalize(resource, flat(raw, resource.many_valued, resource.named), adapter)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        error = self._classify(response, now)
        if error is not None:
            error.request_id = response.headers.get(EXECUTION_ID) or error.request_id
        return error

    def _classify(self, response: Response, now: datetime) -> PartnerError | None:
        error = super().classify(response, now)
        path = urlsplit(response.url).path
        if isinstance(error, RateLimitError) and _TOO_DEAR.search(f"{error.code} {error}"):
            # No wait helps a query that alone is over the limit; its answer is not documented, so we go by its words.
            error.hopeless = True
            error.hint = "make the query cheaper: a smaller page_size for this resource, or fewer status_attributes"
        elif response.status_code == 403 and isinstance(error, RejectedError):
            error.hint = _missing(error, path)
        elif response.status_code == 404 and path.endswith("/records/query") and not isinstance(error, TransientError):
            error = error_for(
                "rejected", response, now, self.spec.errors, hint="no such object: look at options.objects"
            )
        return error

    # Webhooks: an event has no values and no time, only UUIDs; it says "look again".

    def events(self, delivery: Delivery) -> list[Event]:
        body = delivery.json()
        facts = body.get("events") if isinstance(body, Mapping) else None
        if not isinstance(facts, list):
            raise PayloadError("expected a list of events at `events`")
        found = [event for fact in facts for event in _events(fact)]
        return list({(event.resource, event.external_id, event.deleted): event for event in found}.values())

    def named_by(self, event: Event) -> tuple[str, str] | None:
        return naming.named_by(event)

    def named(self, event: Event, record: Raw | None, options: Mapping[str, Any]) -> Sequence[Event]:
        return naming.named(event, record, self.spec.resources, checked_options(self.spec, options))


def _sound(resource: Resource) -> Resource:
    most = MOST.get(resource.name, MOST_ROWS)
    if resource.page_size is not None and resource.page_size > most:
        hint = f"set its page_size to {most} or less"
        raise RejectedError(f"{resource.name}: Attio gives at most {most} rows a page, asked for more", hint=hint)
    return resource


# What answers and events mean.


def _missing(error: RejectedError, path: str) -> str:
    """The scopes to look for after a 403: those its words name, else those the call needs."""
    if error.code == "billing_error":
        return "the workspace's plan does not allow this call"
    named = _SCOPE.findall(str(error))
    known = next((scopes for pattern, scopes in _SCOPES if pattern.search(path)), ())
    scopes = named or known
    if not scopes:
        return error.hint
    return f"give the API key the scope {' and '.join(scopes)} in the workspace's developer settings; the key stays the same"


def _events(fact: Any) -> list[Event]:
    """What one event says; none for a type that is none of ours."""
    told = fact.get("event_type") if isinstance(fact, Mapping) else None
    kind = told if isinstance(told, str) else ""
    noun, _, verb = kind.partition(".")
    if noun not in _EVENTS:
        return []
    resource, id_name = _EVENTS[noun]
    ids = fact.get("id")
    if not isinstance(ids, Mapping):
        raise PayloadError(f"event {kind}: expected an object at `id`")
    found = [_event(kind, resource, ids, id_name, deleted=verb == "deleted")]
    if verb == "merged":
        # Whichever of the two survives in which version of the page, the duplicate can no longer be read.
        both = {**ids, **fact}
        gone = {**ids, "object_id": both.get("duplicate_object_id", ids.get("object_id"))}
        gone["record_id"] = both.get("duplicate_record_id")
        found.append(_event(kind, resource, gone, id_name, deleted=True))
    return found


def _event(kind: str, resource: str, ids: Mapping[str, Any], id_name: str, *, deleted: bool) -> Event:
    external_id = ids.get(id_name)
    if not isinstance(external_id, str) or not external_id:
        raise PayloadError(f"event {kind}: no id at `id.{id_name}`")
    if resource.endswith("_id"):
        named = ids.get(resource)
        if not isinstance(named, str) or not UUID.fullmatch(named):
            raise PayloadError(f"event {kind}: no UUID at `id.{resource}`")
        resource = safe(named, "entries_" if resource == "list_id" else "object_")
    return Event(resource, external_id, kind, deleted=deleted)
