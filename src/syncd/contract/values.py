"""Query parameters and forms as their schemas mean them: text only, with brackets for what is inside.

`created[gte]=5`, `types[]=a&types[]=b`, `data[0][name]=x` (deepObject and its relatives), repeated names and comma lists
are all understood, whatever style a document states: what a partner takes and what it documents differ in this most.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from syncd.contract.documents import resolve
from syncd.contract.schemas import Misfit, Schemas

_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\]")
_WHOLE: Final = re.compile(r"[+-]?\d+")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def grouped(pairs: Iterable[tuple[str, str]], known: Iterable[str]) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """Values by the name of the parameter that is known, each with the steps in its brackets."""
    names = set(known)
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for name, value in pairs:
        base, _, _ = name.partition("[")
        if name in names or base not in names or not name.endswith("]"):
            found.setdefault(name, []).append(((), value))
        else:
            found.setdefault(base, []).append((tuple(_BRACKETS.findall(name[len(base) :])), value))
    return found


def tree(entries: list[tuple[tuple[str, ...], str]]) -> Any:
    """What the entries of one name say together: a text, a list of texts, or an object."""
    if all(not steps for steps, _ in entries):
        values = [value for _, value in entries]
        return values[0] if len(values) == 1 else values
    whole: dict[str, Any] = {}
    for steps, value in entries:
        at = whole
        for step in steps[:-1]:
            inner = at.setdefault(_numbered(step, at), {})
            at = inner if isinstance(inner, dict) else {}
        at[_numbered(steps[-1] if steps else "", at)] = value
    return _listed(whole)


def _numbered(step: str, at: Mapping[str, Any]) -> str:
    return step or str(len(at))


def _listed(value: Any) -> Any:
    """Objects whose members are 0, 1, 2 are lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(one) for name, one in value.items()}
    return list(inner.values()) if inner and all(name == str(number) for number, name in enumerate(inner)) else inner


def misfits(schemas: Schemas, schema: Any, document: Mapping[str, Any], value: Any) -> list[Misfit]:
    """What of a parameter's value does not fit: of all it may mean, the reading that fits best is taken."""
    best: list[Misfit] | None = None
    for meant in readings(schema, document, value):
        found = schemas.misfits(schema, meant, strict=True)
        if not found:
            return []
        best = found if best is None else min(best, found, key=len)
    return best or []


def readings(schema: Any, document: Mapping[str, Any], value: Any) -> list[Any]:
    """What a text of a query or form may mean, by what its schema asks for."""
    kinds = _kinds(schema, document, 0)
    if isinstance(value, dict | list):
        return [_read_inside(schema, document, value), value]
    found: list[Any] = []
    if "array" in kinds:
        found += [value.split(","), [value]]
        found = [_read_inside(schema, document, one) for one in found]
    if "object" in kinds or "array" in kinds:
        with contextlib.suppress(ValueError):
            found.append(orjson.loads(value))
    if {"integer", "number"} & kinds:
        if _WHOLE.fullmatch(value):
            found.append(int(value))
        elif _NUMBER.fullmatch(value):
            found.append(float(value))
    if "boolean" in kinds and value in {"true", "false"}:
        found.append(value == "true")
    return [*found, value]


def _read_inside(schema: Any, document: Mapping[str, Any], value: Any) -> Any:
    """The same for each part of a list or an object, by the schema of that part."""
    if isinstance(value, list):
        inner = _inner(schema, document, "items", 0)
        return [_one(inner, document, each) for each in value]
    if isinstance(value, dict):
        return {name: _one(_member(schema, document, name, 0), document, each) for name, each in value.items()}
    return value


def _one(schema: Any, document: Mapping[str, Any], value: Any) -> Any:
    return readings(schema, document, value)[0]


def _parts(schema: Mapping[str, Any]) -> list[Any]:
    return [part for name in ("anyOf", "oneOf", "allOf") for part in schema.get(name, ())]


def _kinds(schema: Any, document: Mapping[str, Any], depth: int) -> set[str]:
    schema = resolve(document, schema)
    if not isinstance(schema, Mapping) or depth > 6:
        return set()
    kind = schema.get("type")
    found = {kind} if isinstance(kind, str) else set(kind) if isinstance(kind, list) else set()
    if "properties" in schema and not found:
        found.add("object")
    for part in _parts(schema):
        found |= _kinds(part, document, depth + 1)
    return found


def _inner(schema: Any, document: Mapping[str, Any], name: str, depth: int) -> Any:
    schema = resolve(document, schema)
    if not isinstance(schema, Mapping) or depth > 6:
        return {}
    if name in schema:
        return schema[name]
    return next((found for part in _parts(schema) if (found := _inner(part, document, name, depth + 1))), {})


def _member(schema: Any, document: Mapping[str, Any], name: str, depth: int) -> Any:
    schema = resolve(document, schema)
    if not isinstance(schema, Mapping) or depth > 6:
        return {}
    properties = schema.get("properties", {})
    if name in properties:
        return properties[name]
    found = next((one for part in _parts(schema) if (one := _member(part, document, name, depth + 1))), None)
    more = schema.get("additionalProperties")
    return found if found is not None else more if isinstance(more, Mapping) else {}
