"""Who a raw record is: its id, of one path or of several, and the moments it is stamped with. Compiled once per resource."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from syncd.errors import PayloadError
from syncd.kit import coerce
from syncd.kit.paths import MISSING, getter, kind
from syncd.kit.shapes import Stamp
from syncd.model import Identity, Raw

if TYPE_CHECKING:
    from syncd.kit.resource import Resource

LONGEST_ID = 512
"""Characters of an id. It becomes part of a database key, whose length is bounded."""


def moment(stamp: Stamp, what: str) -> Callable[[Any], datetime | None]:
    get, fit = getter(stamp.source), coerce.moment_coercion(stamp.kind, stamp.zone)

    def read(raw: Any) -> datetime | None:
        value = get(raw)
        if value is None or value is MISSING:
            return None
        try:
            return fit(value)
        except PayloadError as error:
            raise PayloadError(f"{what}: {error}", hint=error.hint) from None

    return read


def _external_id(path: str) -> Callable[[Any], str]:
    get = getter(path)

    def read(raw: Any) -> str:
        value = get(raw)
        if type(value) is int:
            return str(value)
        if type(value) is not str or not value:
            raise PayloadError(f"id: expected text or a whole number at `{path}`, got {kind(value)}")
        if len(value) > LONGEST_ID:
            raise PayloadError(f"id: expected at most {LONGEST_ID} characters at `{path}`, got {len(value)}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise PayloadError(f"id: expected sound text at `{path}`, got half a character") from None
        if "\0" in value:
            raise PayloadError(f"id: expected sound text at `{path}`, got a NUL character")
        return value

    return read


def _joined(paths: tuple[str, ...]) -> Callable[[Any], str]:
    parts = [_external_id(path) for path in paths]
    return lambda raw: joined_id(part(raw) for part in parts)


def joined_id(parts: Iterable[str]) -> str:
    """One id made of several. A colon inside a part is escaped, so that two different records never share an id."""
    return ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts)


def id_parts(resource: Resource, external_id: str | None) -> dict[str, str]:
    """The parts of a joined id by their paths; nothing where the id is not one, or is not made of so many parts."""
    found = (external_id or "").split(":")
    if not isinstance(resource.id, tuple) or len(found) != len(resource.id):
        return {}
    return {
        path: part.replace("%3A", ":").replace("%25", "%")
        for path, part in zip(resource.id, found, strict=True)
        if part
    }


def identifier(resource: Resource, paths: str | tuple[str, ...], updated: Stamp | None) -> Callable[[Raw], Identity]:
    external_id = _external_id(paths) if isinstance(paths, str) else _joined(paths)
    stamp = moment(updated, "updated") if updated is not None and resource.stamped_by == "updated" else None
    version = getter(resource.version) if resource.version else None
    parent = getter(resource.parent_id) if resource.parent_id else None
    gone = getter(resource.deleted.source) if resource.deleted else None
    gone_values = frozenset(resource.deleted.values) if resource.deleted else frozenset()

    if version is None and parent is None and gone is None:
        if stamp is None:
            return lambda raw: Identity(external_id(raw))
        return lambda raw: Identity(external_id(raw), None, stamp(raw))

    def identify(raw: Raw) -> Identity:
        whole_version = parent_id = None
        deleted = False
        if version is not None:
            value = version(raw)
            if value is not None and value is not MISSING:
                try:
                    whole_version = coerce.integer(value)
                except PayloadError as error:
                    raise PayloadError(f"version: {error}") from None
        if parent is not None:
            value = parent(raw)
            if value is not None and value is not MISSING:
                parent_id = coerce.text(value)
                if len(parent_id) > LONGEST_ID:
                    raise PayloadError(f"parent: expected at most {LONGEST_ID} characters, got {len(parent_id)}")
        if gone is not None:
            value = gone(raw)
            deleted = _among(value, gone_values) if gone_values else bool(value)
        changed_at = None if stamp is None else stamp(raw)
        return Identity(external_id(raw), whole_version, changed_at, parent_id, deleted)

    return identify


def _among(value: Any, values: frozenset[Any]) -> bool:
    return isinstance(value, str | int | bool) and value in values
