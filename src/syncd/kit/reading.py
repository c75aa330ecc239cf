"""From a mapping to a `DriverSpec`, with every mistake told in words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError

from syncd.errors import ConfigError
from syncd.kit.paths import MISSING, kind
from syncd.kit.resource import Resource
from syncd.kit.spec import DriverSpec

_OTHER_FORM: Final = frozenset({"input should be a valid string", "input should be a valid tuple"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """One mistake in a description: the way to it, what is wrong, what might be meant."""

    path: tuple[str | int, ...]
    message: str
    help: str = ""

    def __str__(self) -> str:
        where = ".".join(str(step) for step in self.path)
        return f"{where}: {self.message}" if where else self.message


def replaced(resource: Resource, given: Mapping[str, Any]) -> Resource:
    """A resource with these keys of its description in place of its own; `fields` come on top of its own.

    Raises ConfigError: an option of a person's may say so.
    """
    # What is stated as text (a span of time) is no text any more: only the given keys are read anew, beside what they need.
    beside = {
        name: getattr(resource, name)
        for name in ("name", "path", "params", "body", "parent", "id")
        if name not in given
    }
    try:
        read = Resource.model_validate({**beside, **given})
    except ValidationError as error:
        raise SpecError(troubles(error, given, Resource)) from None
    changed = {name: getattr(read, name) for name in read.model_fields_set - set(beside)}
    if "fields" in changed:
        changed["fields"] = {**resource.fields, **read.fields}
    return resource.model_copy(update=changed)


class SpecError(ConfigError):
    """A description has mistakes: all of them are in `troubles`."""

    def __init__(self, found: Sequence[Trouble]) -> None:
        super().__init__("; ".join(map(str, found)), hint=next((one.help for one in found if one.help), ""))
        self.troubles = tuple(found)


def parse(given: Mapping[str, Any]) -> DriverSpec:
    """The description in a mapping. Raises SpecError with every mistake."""
    try:
        return DriverSpec.model_validate(given)
    except ValidationError as error:
        raise SpecError(troubles(error, given)) from None


def troubles(error: ValidationError, given: Mapping[str, Any], model: type[BaseModel] = DriverSpec) -> list[Trouble]:
    """Pydantic's findings in our words, each at a place that exists in the document, without repetition.

    `model`: what the document was read as.
    """
    found: dict[tuple[tuple[str | int, ...], str], Trouble] = {}
    for detail in error.errors(include_url=False, include_context=True):
        path = _real(detail["loc"], given)
        trouble = _told(path, detail, model)
        found.setdefault((trouble.path, trouble.message), trouble)
    # Where one of two allowed forms was tried and went wrong further in, that the other form does not fit is no news.
    deeper = {path[:end] for path, _ in found for end in range(len(path))}
    return [one for one in found.values() if not (one.path in deeper and one.message in _OTHER_FORM)]


def _told(path: tuple[str | int, ...], detail: Any, model: type[BaseModel]) -> Trouble:
    context = detail.get("ctx") or {}
    match detail["type"]:
        case "extra_forbidden":
            name = path[-1] if path else ""
            return Trouble(path, f"there is no key {name!r} here", _near(str(name), _keys(model, path[:-1])))
        case "missing":
            last = detail["loc"][-1] if detail["loc"] else ""
            return Trouble(path, f"the key {last!r} is missing")
        case "literal_error":
            expected = context.get("expected", "")
            return Trouble(path, f"expected {expected}", _near(str(detail.get("input")), _quoted(str(expected))))
        case "value_error":
            return Trouble(path, str(context.get("error", detail["msg"])))
        case "string_pattern_mismatch":
            return Trouble(path, "a name has small letters, digits and _ only, and begins with a letter")
        case "model_type" | "dict_type" | "model_attributes_type":
            return Trouble(path, f"expected a mapping, found {kind(detail.get('input', MISSING))}")
    message = str(detail["msg"])
    return Trouble(path, message[0].lower() + message[1:], str(context.get("help", "")))


def _real(loc: Sequence[str | int], given: Any) -> tuple[str | int, ...]:
    """The steps of a location that exist in the document: pydantic's own tags are left out, a missing key ends it."""
    found: list[str | int] = []
    at = given
    for step in loc:
        is_there = step in at if isinstance(at, Mapping) else isinstance(at, list | tuple) and step in range(len(at))
        if is_there:
            at = at[step]
            found.append(step)
    return tuple(found)


def _keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys known at a place in what a model describes, to guess what a wrong one was meant to be."""
    at: Any = model
    for step in path:
        at = _below(at, step) if isinstance(step, str) else at  # a list's entries are of one form
    known = (field.alias or name for form in _models(at) for name, field in form.model_fields.items())
    return list(dict.fromkeys(known))


def _below(stated: Any, key: str) -> Any:
    """What the value of a key may be, as its model or mapping states it; None where neither does."""
    for model in _models(stated):
        for name, field in model.model_fields.items():
            if key in {name, field.alias}:
                return field.annotation
    return next((get_args(form)[1] for form in _forms(stated) if get_origin(form) is dict), None)


def _models(stated: Any) -> list[type[BaseModel]]:
    return [form for form in _forms(stated) if isinstance(form, type) and issubclass(form, BaseModel)]


def _forms(stated: Any) -> list[Any]:
    """The types and mappings in what is stated of a value: of each of several forms, and of a list its entries'."""
    if isinstance(stated, type) or get_origin(stated) is dict:
        return [stated]
    return [form for inner in get_args(stated) for form in _forms(inner)]


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(known)}" if known else ""


def _quoted(text: str) -> list[str]:
    return text.split("'")[1::2]
