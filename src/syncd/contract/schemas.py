"""Schemas of a published document as JSON Schema, compiled once, and what does not fit in words that show no value.

`oneOf` is read as `anyOf`: documents write it for shapes that overlap, and that two of them fit is no drift. Formats are
checked where a value of another form would be read wrongly (times, days); those nobody defines are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from syncd.contract.documents import resolve
from syncd.errors import ConfigError

MISSING: Final = "jsonschema is not installed"
_DEEPEST: Final = 12
"""Levels to which the schemas of a request are written out; deeper ones are taken as they come."""
_KEPT: Final = frozenset(
    {
        "type", "enum", "const", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf",
        "minItems", "maxItems", "uniqueItems", "required", "minProperties", "maxProperties",
    }
)  # fmt: skip
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Misfit:
    """One place of a value that its schema does not allow."""

    place: str
    """Such as `data[].email`; "" is the value itself."""
    keyword: str
    """What of the schema: type, required, enum, additionalProperties, format, ..."""
    told: str


class Schemas:
    """The schemas of one document: of answers, where more members than are stated are welcome, and of requests."""

    def __init__(self, document: Mapping[str, Any], *, whole: bool = True) -> None:
        """`whole` False: no member is required, for what may have been cut short."""
        self._document = document
        self._whole = whole
        self._named: dict[str, Any] = {}
        self._compiled: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def misfits(self, schema: Any, value: Any, *, strict: bool) -> list[Misfit]:
        """What of a value does not fit. `strict`: members that are not stated do not fit either."""
        return [
            _told(inner) for error in self._validator(schema, strict).iter_errors(value) for inner in _inmost(error)
        ]

    def fits(self, schema: Any, value: Any, *, strict: bool = True) -> bool:
        return bool(self._validator(schema, strict).is_valid(value))

    def _validator(self, schema: Any, strict: bool) -> Any:
        key = (id(schema), strict)
        known = self._compiled.get(key)
        if known is None:
            made = self._strict(schema, 0) if strict else self._open(schema)
            known = self._compiled[key] = (schema, _kind()(made, format_checker=_formats(), _resolver=None))
            # The schema itself is kept: an id is its own only while it lives.
        return _Bound(known[1], self._look_up)

    def _look_up(self, name: str) -> Any:
        known = self._named.get(name)
        if known is None:
            known = self._named[name] = self._open(resolve(self._document, {"$ref": name}))
        return known

    # Into JSON Schema.

    def _open(self, told: Any) -> Any:
        if not isinstance(told, Mapping):
            return told if isinstance(told, bool) else {}
        if "$ref" in told:
            return _nullable({"x-ref": told["$ref"]}, told)
        return self._made(told, self._open)

    def _strict(self, told: Any, depth: int) -> Any:
        if not isinstance(told, Mapping):
            return told if isinstance(told, bool) else {}
        if depth > _DEEPEST:
            return {}
        told = {**resolve(self._document, told), **{name: told[name] for name in ("nullable",) if name in told}}
        parts = [part for name in ("allOf", "anyOf", "oneOf") for part in told.get(name, ())]
        made = self._made(told, lambda inner: self._strict(inner, depth + 1))
        if "properties" in told and "additionalProperties" not in told and not parts:
            made["additionalProperties"] = False
        if parts:
            # Of several forms together the members of all are known: each alone would refuse those of the others.
            names = self._names(told, 0)
            if names is not None and "additionalProperties" not in told:
                made = self._made(told, lambda inner: _opened(self._strict(inner, depth + 1)))
                made["propertyNames"] = {"x-known": sorted(names)}
        return made

    def _names(self, told: Any, depth: int) -> set[str] | None:
        """All members any form has; None where one of them takes whatever comes."""
        told = resolve(self._document, told)
        if not isinstance(told, Mapping) or depth > _DEEPEST:
            return None
        parts = [part for name in ("allOf", "anyOf", "oneOf") for part in told.get(name, ())]
        if told.get("additionalProperties"):
            return None
        found = set(told.get("properties", ()))
        if not parts and not found and told.get("type", "object") == "object":
            return None
        for part in parts:
            inner = self._names(part, depth + 1)
            if inner is None:
                return None
            found |= inner
        return found

    def _made(self, told: Mapping[str, Any], each: Callable[[Any], Any]) -> dict[str, Any]:
        made: dict[str, Any] = {name: value for name, value in told.items() if name in _KEPT}
        if not self._whole or not isinstance(made.get("required", []), list):
            made.pop("required", None)  # OpenAPI 2 wrote it beside the member
        properties = told.get("properties")
        if isinstance(properties, Mapping):
            made["properties"] = {name: each(inner) for name, inner in properties.items()}
        if "additionalProperties" in told:
            made["additionalProperties"] = each(told["additionalProperties"])
        if "items" in told:
            made["items"] = each(told["items"])
        both = [part for part in (told.get("anyOf"), told.get("oneOf")) if part]
        if len(both) == 1:
            made["anyOf"] = [each(part) for part in both[0]]
        more = [each(part) for part in told.get("allOf", ())]
        more += [{"anyOf": [each(part) for part in part]} for part in both] if len(both) > 1 else []
        if more:
            made["allOf"] = more
        for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            value = told.get(word)
            if value is True and bound in made:
                made[word] = made.pop(bound)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                made[word] = value
        return _nullable(made, told)


def _nullable(made: dict[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """`nullable: true` of OpenAPI 3.0, and 3.1's null beside an enum that forgot it."""
    kind = told.get("type")
    if told.get("nullable") is not True and not (isinstance(kind, list) and "null" in kind):
        return made
    return {"anyOf": [{"type": "null"}, made]}


def _opened(made: Any) -> Any:
    if isinstance(made, dict) and made.get("additionalProperties") is False:
        return {name: value for name, value in made.items() if name != "additionalProperties"}
    return made


class _Bound:
    """A validator with the document its references lead into."""

    def __init__(self, validator: Any, look_up: Callable[[str], Any]) -> None:
        self._validator = validator
        self._look_up = look_up

    def iter_errors(self, value: Any) -> Iterator[Any]:
        _LOOK_UP.append(self._look_up)
        try:
            yield from list(self._validator.iter_errors(value))
        finally:
            _LOOK_UP.pop()

    def is_valid(self, value: Any) -> bool:
        return next(self.iter_errors(value), None) is None


_LOOK_UP: list[Callable[[str], Any]] = []
"""Whose references are followed just now. Validating never waits, so nobody comes between."""
_KINDS: dict[str, Any] = {}


def _kind() -> Any:
    if "kind" not in _KINDS:
        try:
            from jsonschema import Draft202012Validator, ValidationError, validators
        except ImportError:
            hint = "install it: the extra `contract` brings it along (pip install 'syncd[contract]')"
            raise ConfigError(MISSING, hint=hint) from None

        def reference(validator: Any, name: str, value: Any, schema: Any) -> Iterator[Any]:
            yield from validator.descend(value, _LOOK_UP[-1](name))

        def known(validator: Any, names: list[str], value: Any, schema: Any) -> Iterator[Any]:
            if value not in names:
                yield ValidationError(f"{value!r} is not known")

        more = {"x-ref": reference, "x-known": known}
        _KINDS["kind"] = validators.extend(Draft202012Validator, more)
    return _KINDS["kind"]


def _formats() -> Any:
    if "formats" not in _KINDS:
        from jsonschema import FormatChecker

        checker = FormatChecker(formats=())
        for name, check in (("date-time", _is_time), ("date", _is_day), ("uuid", _UUID.fullmatch)):
            checker.checks(name)(lambda value, check=check: not isinstance(value, str) or bool(check(value)))
        _KINDS["formats"] = checker
    return _KINDS["formats"]


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return False
    return True


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def kind_of(value: Any) -> str:
    """What a value is, as JSON calls it."""
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a boolean",
        int: "a whole number",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _place(error: Any) -> str:
    place = ""
    for step in error.absolute_path:
        place += "[]" if isinstance(step, int) else f".{step}"
    return place.removeprefix(".")


def _inmost(error: Any) -> list[Any]:
    """What does not fit: where there are several forms, of that one which was meant, as far as that can be told."""
    if not error.context:
        return [error]
    forms: dict[int, list[Any]] = {}
    for inner in error.context:
        forms.setdefault(inner.schema_path[0], []).append(inner)

    def strangeness(found: list[Any]) -> tuple[bool, bool, bool, int]:
        kinds = {(one.validator, len(one.path)) for one in found}
        null = any(one.validator == "type" and one.validator_value == "null" for one in found)
        return null, ("type", 0) in kinds, any(kind in {"enum", "const"} for kind, _ in kinds), len(found)

    return [most for inner in min(forms.values(), key=strangeness) for most in _inmost(inner)]


def _told(error: Any) -> Misfit:
    """In our words, without the value: it may be a person's, or a secret."""
    place, keyword, value = _place(error), error.validator, error.validator_value
    match keyword:
        case "type":
            wanted = " or ".join(value) if isinstance(value, list) else value
            return Misfit(place, keyword, f"expected {wanted}, found {kind_of(error.instance)}")
        case "required":
            missing = next((name for name in value if name not in error.instance), "")
            return Misfit(f"{place}.{missing}".removeprefix("."), keyword, "is missing")
        case "enum" | "const":
            return Misfit(place, "enum", "is none of the values that are stated")
        case "additionalProperties":
            known = error.schema.get("properties", {})
            unknown = next((name for name in error.instance if name not in known), "")
            return Misfit(f"{place}.{unknown}".removeprefix("."), keyword, "is no member that is stated")
        case "x-known":
            return Misfit(
                f"{place}.{error.instance}".removeprefix("."), "additionalProperties", "is no member that is stated"
            )
        case "format":
            return Misfit(place, keyword, f"is not written as {value}")
    return Misfit(place, str(keyword), f"is against its {keyword} {value!r}"[:200])
