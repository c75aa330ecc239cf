"""What pydantic found, in our words and at its place in the file."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from syncd.config.document import Document
from syncd.config.problems import did_you_mean
from syncd.config.settings import NAME_HELP
from syncd.config.units import describe
from syncd.secrets import Ref

_WANTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
}


def note_all(
    document: Document, error: ValidationError, model: type[BaseModel], above: Sequence[str | int] = ()
) -> None:
    """Note every error of one validation in the document it came from; `above` leads to what was validated."""
    for found in error.errors(include_url=False):
        _note(document, found, model, tuple(above))


def _note(document: Document, found: ErrorDetails, model: type[BaseModel], above: tuple[str | int, ...]) -> None:
    kind, context = found["type"], found.get("ctx", {})
    path = (*above, *found["loc"])
    at_key = bool(path) and path[-1] == "[key]"
    if at_key:
        path = path[:-1]
    if context.get("at"):
        path = (*path, context["at"])
    last = path[-1] if path else ""
    if kind == "extra_forbidden":
        known = keys_at(model, found["loc"][:-1])
        document.problem(path, f"unknown key {last!r}", help=did_you_mean(str(last), known), key=True)
    elif kind == "missing":
        document.problem(path[:-1], f"missing key {last!r}", help=str(context.get("help", "")), key=True)
    elif at_key:
        _bad_key(document, path, kind, context)
    elif kind in ("literal_error", "enum"):
        choices = choices_of(str(context.get("expected", "")))
        message = f"expected one of {', '.join(choices)}, found {describe(found['input'])}"
        document.problem(path, message, help=_close(found["input"], choices))
    elif kind in _WANTED:
        document.problem(
            path, f"expected {_WANTED[kind]}, found {_shown(found)}", help=_type_help(kind, found["input"])
        )
    else:
        help = str(context.get("help", ""))
        document.problem(path, _sentence(kind, found, context), help=help)


def _shown(found: ErrorDetails) -> str:
    # The value of a secret must not be told; its type is enough to mend the line.
    secret = {"credentials", "secrets", "admin_token", "url"} & {str(step) for step in found["loc"]}
    return type_name(found["input"]) if secret else describe(found["input"])


def type_name(value: object) -> str:
    """`a text` for any text, and so on: what it is, not what it says."""
    match value:
        case str():
            return "a text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
    return describe(value)


def _bad_key(document: Document, path: tuple[str | int, ...], kind: str, context: dict[str, Any]) -> None:
    """A name that may not be; the value below it is of no interest."""
    key = str(path[-1])
    if kind in ("literal_error", "enum"):
        choices = choices_of(str(context.get("expected", "")))
        document.problem(path, f"unknown name {key!r}", help=did_you_mean(key, choices), key=True)
    else:
        document.problem(path, f"{key!r} cannot be a name", help=NAME_HELP, key=True)


def _sentence(kind: str, found: ErrorDetails, context: dict[str, Any]) -> str:
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}, found {_shown(found)}"
        case "less_than_equal":
            return f"must be at most {context['le']}, found {_shown(found)}"
        case "greater_than":
            return f"must be more than {context['gt']}, found {_shown(found)}"
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"{found['input']!r} is not a name"
        case "finite_number":
            return "must be a finite number"
        case _:
            message = str(found["msg"])
            return message[:1].lower() + message[1:]


def _type_help(kind: str, value: object) -> str:
    if kind == "bool_type" and isinstance(value, str):
        if value.lower() in {"yes", "on", "y", "true"}:
            return "YAML 1.2 knows only true and false: write true"
        if value.lower() in {"no", "off", "n", "false"}:
            return "YAML 1.2 knows only true and false: write false"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "put it in quotes if it is meant as text"
    if kind in ("list_type", "tuple_type") and isinstance(value, str):
        return "a list stands in brackets: [a, b]"
    return ""


def choices_of(expected: str) -> list[str]:
    """The names in pydantic's `'a', 'b' or 'c'`."""
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",") if part.strip()]


def _close(value: object, choices: Sequence[str]) -> str:
    help = did_you_mean(value, choices) if isinstance(value, str) else ""
    return help if help.startswith("did") else ""


def keys_at(model: Any, loc: Sequence[str | int]) -> list[str]:
    """The YAML keys that may stand where `loc` leads, starting from a model."""
    for step in loc:
        model = next(_below(model, step), None)
        if model is None:
            return []
    for candidate in models_in(model):
        return keys_of(candidate)
    return []


def keys_of(model: type[BaseModel]) -> list[str]:
    """A model's keys as they stand in YAML; hidden fields left out."""
    if model is Ref:
        return ["env", "file", "credential"]
    return [
        field.alias or name
        for name, field in model.model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("hidden"))
    ]


def _below(annotation: Any, step: str | int) -> Iterator[Any]:
    for model in models_in(annotation):
        for name, field in model.model_fields.items():
            if step in (name, field.alias):
                yield field.annotation
        return
    for part in parts(annotation):
        origin = get_origin(part)
        if origin is dict:
            yield get_args(part)[1]
        elif origin in (list, tuple):
            yield get_args(part)[0]


def models_below(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and every model reached from it, references aside, each once."""
    found = [model]
    for seen in found:  # grows while it is walked
        for field in seen.model_fields.values():
            for part in parts(field.annotation):
                for inner in (part, *get_args(part)):
                    found += [other for other in models_in(inner) if other not in found and other is not Ref]
    return found


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models an annotation allows directly, not inside a list or mapping."""
    for part in parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation without Annotated and with its union taken apart."""
    if hasattr(annotation, "__metadata__"):
        yield from parts(annotation.__origin__)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from parts(part)
    else:
        yield annotation
