"""Records that are put aside, untouched, because whoever reads them ends the process.

They are rejects of their own kind. Whoever meets one, in a listing, an answer or a delivery, makes it a reject again and does
not hand it to the driver, until somebody asks for the resource: `syncd sync`. Known are those the driver could name by their
ids, the others by what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from syncd import codec
from syncd.errors import PayloadError
from syncd.kit import Driver, Item, Raw, Resource, RestDriver
from syncd.kit.paths import getter
from syncd.store import KILLED, Reject, Store

NAMELESS = "?"
"""How the id of a reject begins that has none."""


def told_id(driver: Driver, resource: Resource, item: Item) -> str | None:
    """The id that can be read without asking the driver; None where only the driver knows it."""
    if item.identity is not None:
        return item.identity.external_id
    if type(driver).identify is not RestDriver.identify or not isinstance(resource.id, str):
        return None
    return _plain(resource, item.raw)


def content_key(resource: Resource, raw: Raw | None) -> str:
    """What tells a record whose id only the driver knows from others: what seems to be its id, or all it says."""
    plain = _plain(resource, raw) if isinstance(resource.id, str) else None
    return f"~{plain}" if plain is not None else f"{NAMELESS}{_digest(raw)}"


def _plain(resource: Resource, raw: Raw | None) -> str | None:
    value = getter(resource.id)(raw) if isinstance(resource.id, str) and type(raw) is dict else None
    if type(value) is int:
        return str(value)
    return value if type(value) is str and value else None


def _digest(raw: Any) -> str:
    try:
        return sha256(codec.dumps(raw)).hexdigest()[:24]
    except PayloadError:  # nested too deeply to be written down; it cannot be stored either
        return "deep"


class Aside:
    """Those of one integration."""

    def __init__(self, driver: Driver, integration: str, store: Store) -> None:
        self._driver = driver
        self._integration = integration
        self._store = store
        self._named: dict[tuple[str, str], bytes] = {}
        self._nameless: dict[tuple[str, str], bytes] = {}
        self.loaded = False
        """Were the rows read?"""
        self._unstored: dict[bool, dict[tuple[str, str], bytes]] = {True: {}, False: {}}
        """Added here, and perhaps not in the rows yet; those with a name (True) apart from those without."""
        self._healing: set[tuple[str, str]] = set()
        """Dropped here, and perhaps still in the rows."""

    def __bool__(self) -> bool:
        return bool(self._named or self._nameless)

    async def load(self, resources: Mapping[str, Resource], *, again: bool = False) -> None:
        """Read them from the rejects, once; `again`: anew. `resources` are those synced, by name."""
        if self.loaded and not again:
            return
        named, nameless = {}, {}
        for name, external_id, raw in await self._store.rejects.aside(self._integration):
            if not external_id.startswith(NAMELESS):
                named[name, external_id] = raw
            elif name in resources:
                nameless[name, content_key(resources[name], _loads(raw))] = raw
        for kind, found in ((True, named), (False, nameless)):
            added = self._unstored[kind] = {key: raw for key, raw in self._unstored[kind].items() if key not in found}
            found.update(added)
        self._healing &= {*named, *nameless}
        self._named = {key: raw for key, raw in named.items() if key not in self._healing}
        self._nameless = {key: raw for key, raw in nameless.items() if key not in self._healing}
        self.loaded = True

    def holds(self, resource: Resource, item: Item) -> bool:
        """Is this one of them, as far as can be told without asking the driver?"""
        external_id = told_id(self._driver, resource, item)
        if external_id is not None and (resource.name, external_id) in self._named:
            return True
        return bool(self._nameless) and (resource.name, content_key(resource, item.raw)) in self._nameless

    def names(self, resource: str, external_id: str) -> bool:
        """Is the record of this id one of them?"""
        return (resource, external_id) in self._named

    def add(self, resource: Resource, raw: Raw | None, external_id: str | None) -> None:
        """From here on this one is."""
        named = external_id is not None
        key = (resource.name, external_id if external_id is not None else content_key(resource, raw))
        self._healing.discard(key)
        self._unstored[named][key] = (self._named if named else self._nameless)[key] = _document(raw)

    def drop(self, resource: Resource, item: Item, external_id: str | None) -> str | None:
        """No longer. Returns the key of the reject that stood for it where that has no name to be healed by."""
        nameless = (resource.name, content_key(resource, item.raw))
        if external_id is not None and self._named.pop((resource.name, external_id), None) is not None:
            self._unstored[True].pop((resource.name, external_id), None)
            self._healing.add((resource.name, external_id))
        document = self._nameless.pop(nameless, None)
        if document is not None:
            self._unstored[False].pop(nameless, None)
            self._healing.add(nameless)
        return Reject(document, "").key if document is not None else None

    def reject(self, resource: Resource, item: Item, external_id: str | None, cause: str) -> Reject:
        """The row it becomes. One without a name keeps what it said when it was put aside, and so its place."""
        external_id = external_id or told_id(self._driver, resource, item)
        if external_id is not None and (resource.name, external_id) in self._named:
            raw = _document(item.raw)
        else:
            external_id = None
            raw = self._nameless.get((resource.name, content_key(resource, item.raw)), b"") or _document(item.raw)
        again = f"syncd sync {self._integration}/{resource.name}"
        reason = (
            "killed the process three times: reading it ends the process, so it is put aside untouched; "
            f"mend the driver, or take it out at the partner, then: {again}"
        )
        return Reject(raw, reason, external_id, resource.name, fingerprint=KILLED, cause=cause)


def _document(raw: Raw | None) -> bytes:
    try:
        return codec.dumps(raw)
    except PayloadError:
        return codec.dumps({"not kept": "nested too deeply to be written down"})


def _loads(document: bytes) -> Any:
    try:
        return codec.loads(document)
    except PayloadError:
        return None
