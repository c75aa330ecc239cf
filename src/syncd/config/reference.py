"""The tables of docs/configuration.md, written from the models, so the page cannot drift from the code."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.units import unit_of
from syncd.config.wording import models_in, parts
from syncd.model import History
from syncd.secrets import Ref


def reference(kind: Literal["syncd", "partner"]) -> str:
    """Markdown: a table for each section of the file, with every key, what it takes, its default and its meaning."""
    if kind == "syncd":
        return "\n".join(_section(Config, "", skip={"partners"}))
    return "\n".join(_section(PartnerConfig, ""))


def _section(model: type[BaseModel], path: str, skip: set[str] | frozenset[str] = frozenset()) -> list[str]:
    title = f"`{path}`" if path else "Top level"
    lines = [f"#### {title}", "", " ".join((model.__doc__ or "").split()), ""]
    lines += ["| key | takes | default | meaning |", "|---|---|---|---|"]
    below: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if field.exclude or key in skip:
            continue
        lines.append(f"| `{key}` | {_takes(field)} | {_default(field)} | {_cell(field.description or '')} |")
        for inner, step in _inner(field):
            below.append((inner, f"{path}.{key}{step}".lstrip(".")))
    lines.append("")
    for inner, where in below:
        # An integration's resources are described once, at the partner's.
        if not where.startswith("integrations.<name>.resources"):
            lines += _section(inner, where)
    return lines


def _inner(field: FieldInfo) -> list[tuple[type[BaseModel], str]]:
    found: list[tuple[type[BaseModel], str]] = []
    for part in parts(field.annotation):
        origin = get_origin(part)
        if origin is dict:
            found += [(model, ".<name>") for model in models_in(get_args(part)[1])]
        elif origin in (list, tuple):
            found += [(model, "[]") for model in models_in(get_args(part)[0])]
        else:
            found += [(model, "") for model in models_in(part)]
    return [(model, step) for model, step in found if model is not Ref]


def _takes(field: FieldInfo) -> str:
    unit = unit_of(field)
    if unit:
        return unit.kind
    words = [word for part in parts(field.annotation) if (word := _word(part))]
    return ", ".join(dict.fromkeys(words)).replace("|", "\\|")


def _word(part: Any) -> str:
    origin = get_origin(part)
    if part is type(None):
        return ""
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(part))
    if part is History:
        return " or ".join(f"`{choice.value}`" for choice in History)
    if origin is dict:
        return f"name: {_word_of(get_args(part)[1])}"
    if origin in (list, tuple):
        return f"list of {_word_of(get_args(part)[0])}"
    if part is Ref:
        return "reference"
    if isinstance(part, type) and issubclass(part, BaseModel):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}.get(part, "path")


def _word_of(annotation: Any) -> str:
    unit = unit_of(annotation)
    return unit.kind if unit else next(_word(part) for part in parts(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if field.default_factory is not None or value is None or value == ():
        return ""
    unit = unit_of(field)
    if unit:
        return f"`{unit.show(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else str(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
