"""The story of one record, put together from the tables: schema `syncd.record/1` (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from syncd import drivers
from syncd.clock import Clock
from syncd.config import Config, did_you_mean
from syncd.errors import AskedWrongError, SyncdError
from syncd.plans import resource_plans
from syncd.provenance.absence import Asked, Why, absence, standing
from syncd.provenance.writers import delivery, told_of, why_refused, writer
from syncd.store import Store, reached
from syncd.store.records import StoredRecord
from syncd.sync.plan import ResourcePlan
from syncd.wording import clock_time, lasting

RECORD_SCHEMA = "syncd.record/1"
LAST_CHANGES = 10
_FACTS = (
    *("integration", "resource", "external_id", "parent_id", "deleted_at", "source_version", "source_updated_at"),
    *("fetched_at", "synced_at", "row_version", "adapter", "cause"),
)
_CHANGE = ("id", "changed_at", "kind", "field", "old", "new", "row_version", "cause")
_AHEAD = timedelta(seconds=1)

Call = Callable[[str, datetime], Mapping[str, Any] | None]
"""Of an integration: the call that began at that moment, where it is still remembered."""


class Provenance:
    """Asks the tables, and the configuration for what it says of a resource."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: Callable[[], Store | None],
        clock: Clock,
        *,
        call: Call = lambda integration, at: None,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._call = call

    async def story(
        self, integration: str, resource: str, external_id: str, *, changes: int = LAST_CHANGES
    ) -> dict[str, Any]:
        """All that is known of a record, or why there is none (`found`: false). Raises StoreError; AskedWrongError for an
        integration or a resource that is neither configured nor stored."""
        store, config, now = reached(self._store()), self._config(), self._clock.now()
        plans = self._plans(config, integration)
        await self._known(config, store, integration, resource, plans)
        asked = Asked(integration, resource, external_id, plans.get(resource))
        about = await self._about(store, asked)
        found = await store.records.get(integration, resource, external_id)
        if found is None:
            why = await absence(config, store, asked, now, about)
            key = {"integration": integration, "resource": resource, "external_id": external_id}
            told = {"schema": RECORD_SCHEMA, "found": False, **key, "why": _whys(why), "read_it": asked.read_it}
            return told | about
        children = [name for name, plan in plans.items() if plan.resource.parent == resource]
        lately = await store.changes.of_record(integration, resource, external_id, limit=changes)
        # A newer stamp on the same content names who brought the stamp; the values are older than that, and who wrote them
        # stands in the event log alone.
        by: str | None = found.cause
        if lately and lately[0].row_version == found.row_version:
            by = lately[0].cause
        elif found.fetched_at > found.synced_at + _AHEAD:
            by = None
        written = await writer(store, integration, by, deleted=found.deleted_at is not None) if by else unknown(found)
        confirmed = await writer(store, integration, found.cause) if by != found.cause else None
        request = self._call(integration, found.fetched_at)  # it is of the stamp, as `fetched_at` is
        written["request"] = request if confirmed is None else None
        if confirmed is not None:
            confirmed["request"] = request
        return {
            "schema": RECORD_SCHEMA,
            "found": True,
            **{name: getattr(found, name) for name in _FACTS},
            "written": written,
            "confirmed": confirmed,
            "order": order(found),
            "deleted": _deleted(found, written["text"]) if found.deleted_at is not None else None,
            "children": {
                name: {"live": live, "buried": buried}
                for name, (live, buried) in (await store.about.below(integration, children, external_id)).items()
            },
            "fields": fields(found, plans.get(resource)),
            "data": found.data,
            "raw": found.raw,
            "changes": [{name: getattr(each, name) for name in _CHANGE} for each in lately],
            "why": _whys(await standing(config, store, asked, now)),
            "read_it": asked.read_it,
            **about,
        }

    async def _about(self, store: Store, asked: Asked) -> dict[str, Any]:
        """What the other tables have of it."""
        key = asked.integration, asked.resource, asked.external_id
        refused = await store.refusals.of_record(*key)
        reject = await store.about.reject(*key)
        return {
            "refused": None
            if refused is None
            else {
                "times": refused.times,
                "first_at": refused.first_at,
                "last_at": refused.last_at,
                "latest": [
                    {**each, "why": why_refused(each), "by": (await writer(store, key[0], str(each["cause"])))["text"]}
                    for each in refused.latest
                ],
            },
            "reject": None
            if reject is None
            else {
                name: getattr(reject, name)
                for name in ("reason", "fingerprint", "times", "first_at", "last_at", "adapter", "cause")
            },
            "letters": [asdict(each) for each in await store.about.letters(*key)],
            "tasks": [asdict(each) for each in await store.about.tasks(*key)],
            "pushes": [asdict(each) for each in await store.about.pushes(*key)],
            "deliveries": [delivery(each) for each in await store.about.deliveries(*key)],
        }

    def _plans(self, config: Config, integration: str) -> Mapping[str, ResourcePlan]:
        """How its resources are read; none where its file or driver cannot be read at present: the tables still tell."""
        configured = config.integrations.get(integration)
        if configured is None:
            return {}
        partner, _ = configured
        try:
            return resource_plans(
                drivers.load(partner.driver, rest=partner.rest, partner=partner.name), partner, integration
            )
        except SyncdError:
            return {}

    async def _known(
        self, config: Config, store: Store, integration: str, resource: str, plans: Mapping[str, ResourcePlan]
    ) -> None:
        if resource in plans:
            return
        counts = await store.records.count(integration)
        if not counts and integration not in config.integrations:
            hint = did_you_mean(integration, config.integrations)
            raise AskedWrongError(f"no integration {integration!r}", hint=hint)
        if resource not in counts and plans:
            hint = did_you_mean(resource, {*plans, *counts})
            raise AskedWrongError(f"{integration} has no resource {resource!r}", hint=hint)


def unknown(found: StoredRecord) -> dict[str, Any]:
    """Of a row whose values were confirmed since, and whose writing no event log has: it keeps no first versions, or not so
    far back."""
    text = f"who stored it {clock_time(found.synced_at)} is not kept: the event log has nothing of this version"
    return {**told_of(""), "kind": "unknown", "text": text}


def order(found: StoredRecord) -> str:
    """When it changed there, when it was asked for and when it was stored, as one sentence."""
    asked, stored, changed = found.fetched_at, found.synced_at, found.source_updated_at
    came = "came with a delivery" if found.cause.startswith("webhook") else "was asked for"
    if changed is None:
        first = f"The partner gives it no stamp of its own; it {came} {clock_time(asked)}"
    elif changed > asked + _AHEAD:
        ahead = lasting((changed - asked).total_seconds())
        first = (
            f"The partner's stamp is {ahead} ahead of our clock when it {came} ({clock_time(asked)}): a clock is off"
        )
    else:
        later = lasting((asked - changed).total_seconds())
        first = f"The partner changed it {clock_time(changed)}; it {came} {later} later"
    if asked > stored + _AHEAD:
        return f"{first}. Nothing had changed since it was stored {clock_time(stored)}"
    seconds = max((stored - asked).total_seconds(), 0.0)
    return f"{first} and stored {lasting(seconds) if seconds >= 1 else f'{seconds * 1000:.0f} ms'} after that"


def fields(found: StoredRecord, plan: ResourcePlan | None) -> list[dict[str, Any]]:
    """Each stored field with the path in the raw record that the mapping reads it from; a path of null: the driver's own code
    makes it, or a mapping of before."""
    mapped = plan.resource.mapped(found.adapter) if plan is not None else {}
    told = []
    for name in found.data:
        one = mapped.get(name)
        told.append(
            {
                "name": name,
                "from": (str(one.source) or name) if one is not None else None,
                "as": str(one.kind) if one is not None and one.kind else None,
            }
        )
    return told


def _deleted(found: StoredRecord, by: str) -> dict[str, Any]:
    rest = found.cause.partition(": ")[2] if found.cause.startswith("task ") else found.cause
    if "gone at the partner" in rest:
        why = "its own address answered that it is gone"
    elif rest.endswith(": parent"):
        why = "its parent is gone"
    elif rest.startswith("pass "):
        why = "two complete passes did not show it"
    elif rest.startswith("webhook "):
        why = "a delivery said that it was deleted"
    elif "listing below" in rest:
        why = "two listings below its parent did not show it"
    else:
        why = "the partner said so"
    return {"at": found.deleted_at, "why": why, "by": by}


def _whys(found: list[Why]) -> list[dict[str, str]]:
    return [each._asdict() for each in found]
