"""One page in, rows out: who each record is, whether it changed, what it looks like normalized, and what is unsound.

Work is per page where it can be: one query asks which contents are known, and only what changed is normalized. A bad
record ends as a reject, never as an exception (R15); the other records of its page go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from syncd import codec
from syncd.errors import PayloadError
from syncd.kit import Driver, Identity, Item, Raw, Resource
from syncd.model import Lane
from syncd.store import NewTask, Reject, Row, Store

MAX_REASON = 500

_Group = dict[str, tuple[Identity, Raw | None]]
"""The records of one resource on a page, by id: the newest where one stands there twice."""


@dataclass(slots=True)
class PageRead:
    """What one page turned into."""

    rows: list[Row] = field(default_factory=list)
    """New or changed content, deletes included."""
    seen: list[str] = field(default_factory=list)
    """Ids of the listed resource on this page, sound or not: they exist at the partner."""
    unchanged: int = 0
    rejects: list[Reject] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)
    healed: list[tuple[str, str]] = field(default_factory=list)
    """(resource, external_id) of sound records that stood in the rejects."""
    identities: list[Identity] = field(default_factory=list)
    count: int = 0
    """Records on the page, before anything was left out."""


@dataclass(frozen=True, slots=True)
class Target:
    """One resource as this integration takes it in."""

    resource: Resource
    adapter: str = "v1"
    children: tuple[str, ...] = ()
    """Child resources to list below each changed record."""
    child_lane: Lane = Lane.NORMAL


class Processor:
    """Reads pages of one integration. Holds no page after it is done with it."""

    def __init__(self, driver: Driver, integration: str, targets: Mapping[str, Target], store: Store) -> None:
        self._driver = driver
        self._integration = integration
        self._targets = targets
        self._store = store

    async def read(
        self,
        listed: str,
        items: list[Item],
        *,
        fetched_at: datetime,
        cause: str,
        rejected: set[tuple[str, str]],
        parent_id: str | None = None,
    ) -> PageRead:
        """Turn the items of one answer into rows.

        `fetched_at` is our clock when the request began. `rejected` names records with a reject row, so that only those
        are healed. Items of resources that this integration does not sync are passed over.
        """
        page = PageRead(count=len(items))
        identify = self._driver.identify
        groups: dict[str, _Group] = {}
        target: Target | None = None
        group: _Group = {}
        name = ""
        for item in items:
            if item.resource != name:
                name = item.resource
                target = self._targets.get(name)
                if target is not None:
                    group = groups.setdefault(name, {})
            if target is None:
                continue
            raw, identity = item.raw, item.identity
            if identity is None:
                if raw is None:
                    raise PayloadError("a driver gave an item with neither content nor identity")
                try:
                    identity = identify(target.resource, raw, target.adapter)
                except Exception as error:
                    page.rejects.append(self._reject(name, None, raw, error, cause))
                    continue
            if parent_id is not None and identity.parent_id is None:
                identity = replace(identity, parent_id=parent_id)
            external_id = identity.external_id
            before = group.get(external_id)
            if before is None or _newer(identity, before[0]):
                group[external_id] = (identity, raw)
            page.identities.append(identity)
        page.seen = list(groups.get(listed, ()))
        for name, found in groups.items():
            await self._take(self._targets[name], found, page, fetched_at, cause, rejected)
        return page

    async def _take(
        self,
        target: Target,
        found: _Group,
        page: PageRead,
        fetched_at: datetime,
        cause: str,
        rejected: set[tuple[str, str]],
    ) -> None:
        resource, adapter, driver = target.resource, target.adapter, self._driver
        name, sparse = resource.name, resource.sparse
        content_hash, hashable = codec.content_hash, driver.hashable
        known = await self._store.records.known(self._integration, name, list(found), sparse=sparse)
        for external_id, (identity, raw) in found.items():
            before = known.get(external_id)
            if raw is None:
                self._name_only(target, identity, page, fetched_at, cause, stored=before is not None)
                continue
            digest = content_hash(hashable(resource, raw), adapter)
            if before is not None and before.content_hash == digest and not before.deleted and not identity.deleted:
                page.unchanged += 1
                if rejected and (name, external_id) in rejected:
                    page.healed.append((name, external_id))
                continue
            try:
                data = codec.dumps_storable(driver.fields(resource, raw, adapter))
            except Exception as error:
                page.rejects.append(self._reject(name, external_id, raw, error, cause))
                continue
            if rejected and (name, external_id) in rejected:
                page.healed.append((name, external_id))
            page.rows.append(
                Row(
                    external_id,
                    name,
                    data,
                    codec.dumps(raw),
                    digest,
                    fetched_at,
                    identity.source_version,
                    identity.source_updated_at,
                    identity.parent_id,
                    adapter,
                    identity.deleted,
                    sparse,
                    cause,
                )
            )
            if not identity.deleted:
                for child in target.children:
                    page.tasks.append(
                        NewTask(
                            kind="children",
                            resource=child,
                            parent_id=external_id,
                            parent_resource=name,
                            lane=target.child_lane,
                            dedupe_key=f"children:{child}:{external_id}",
                        )
                    )

    def _name_only(
        self, target: Target, identity: Identity, page: PageRead, fetched_at: datetime, cause: str, *, stored: bool
    ) -> None:
        """A record that was only named: deleted at the partner, or to be fetched."""
        name = target.resource.name
        if identity.deleted:
            if stored:
                page.rows.append(
                    Row(
                        external_id=identity.external_id,
                        resource=name,
                        data_json=b"{}",
                        raw_json=b"{}",
                        content_hash=b"",
                        fetched_at=fetched_at,
                        source_version=identity.source_version,
                        source_updated_at=identity.source_updated_at,
                        deleted=True,
                        cause=cause,
                    )
                )
            return
        page.tasks.append(
            NewTask(
                kind="fetch",
                resource=name,
                external_id=identity.external_id,
                lane=Lane.HIGH,
                dedupe_key=f"fetch:{name}:{identity.external_id}",
            )
        )

    @staticmethod
    def _reject(resource: str, external_id: str | None, raw: Raw, error: Exception, cause: str) -> Reject:
        """The row an unsound record becomes. One without an id is known by its content."""
        reason = str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver: {error}"
        return Reject(codec.dumps(raw), reason[:MAX_REASON], external_id, resource, cause=cause)


def _newer(one: Identity, other: Identity) -> bool:
    """Does `one` replace `other` where both stand on the same page? The first of equals stays."""
    if one.source_version is not None and other.source_version is not None:
        return one.source_version > other.source_version
    if one.source_updated_at is not None and other.source_updated_at is not None:
        return one.source_updated_at > other.source_updated_at
    return False
