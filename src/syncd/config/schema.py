"""JSON Schema of the YAML files, for editors: generated from the models, so it cannot say another thing than `check`.

Draft 7, which is what yaml-language-server reads. `syncd schema` prints it; config/schema/ holds a copy for the shipped
files, which a test keeps equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from syncd.config.facts import Facts
from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.units import unit_of
from syncd.config.wording import models_below

Kind = Literal["syncd", "partner"]
TITLES = {"syncd": "syncd: main configuration", "partner": "syncd: one partner"}


class _Generator(GenerateJsonSchema):
    # Defaults with units are written by _finish().
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's own declaration


def json_schema(kind: Kind, drivers: Mapping[str, Facts] | None = None) -> dict[str, Any]:
    """The schema of `syncd.yaml` or of a partner's file; with `drivers`, also each one's resources and credentials."""
    model: type[BaseModel] = Config if kind == "syncd" else PartnerConfig
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = schema.pop("$defs", {})
    by_name = {found.__name__: found for found in models_below(model)}
    for name, definition in [(model.__name__, schema), *definitions.items()]:
        if name in by_name:
            _finish(definition, by_name[name])
    if kind == "syncd":
        schema["properties"].pop("partners")
        schema["type"] = ["object", "null"]
    used = _used(schema, definitions)
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": TITLES[kind],
        **{key: value for key, value in schema.items() if key != "title"},
        "definitions": {name: definitions[name] for name in sorted(used)},
    }
    if kind == "partner" and drivers:
        whole["properties"]["driver"]["enum"] = sorted(drivers)
        whole["allOf"] = [_of_driver(name, facts) for name, facts in sorted(drivers.items())]
    finished: dict[str, Any] = _repointed(whole)
    return finished


def _finish(definition: dict[str, Any], model: type[BaseModel]) -> None:
    """What pydantic cannot know: defaults as people write them, sections that may be left empty, hidden fields."""
    definition.pop("title", None)
    definition["description"] = " ".join((model.__doc__ or "").split())
    if definition.get("type") == "object":
        definition["type"] = ["object", "null"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        stated = definition.get("properties", {}).get(key)
        if stated is None:
            continue
        if field.exclude:
            del definition["properties"][key]
            continue
        stated.pop("title", None)
        unit = unit_of(field)
        if unit and field.default is not None and not field.is_required():
            stated["default"] = unit.show(field.default)
        if stated.get("default", ...) in (None, [], {}):
            del stated["default"]
        if "patternProperties" in stated:
            stated["additionalProperties"] = False
        if stated.get("type") in ("object", "array"):
            stated["type"] = [stated["type"], "null"]


def _of_driver(name: str, facts: Facts) -> dict[str, Any]:
    """What holds in a file that says `driver: name`."""
    then: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    if facts.resources:
        names = {"propertyNames": {"enum": sorted(facts.resources)}}
        then["resources"] = names
        inside["resources"] = names
    if facts.credentials is not None:
        inside["credentials"] = {
            "propertyNames": {"enum": sorted(facts.credentials)},
            "required": sorted(key for key, required in facts.credentials.items() if required),
        }
    if facts.options is not None:
        options = {"propertyNames": {"enum": sorted(facts.options)}}
        then["options"] = options
        inside["options"] = options
    if inside:
        then["integrations"] = {"additionalProperties": {"properties": inside}}
    return {
        "if": {"properties": {"driver": {"const": name}}, "required": ["driver"]},
        "then": {"properties": then},
    }


def _used(schema: Any, definitions: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(definitions[name]))
    return found


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield str(value).rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


def _repointed(part: Any) -> Any:
    """Draft 7 keeps shared parts under `definitions` and lets nothing stand beside a `$ref`."""
    if isinstance(part, list):
        return [_repointed(item) for item in part]
    if not isinstance(part, dict):
        return part
    moved = {key: _repointed(value) for key, value in part.items()}
    if "$ref" in moved:
        moved["$ref"] = str(moved["$ref"]).replace("#/$defs/", "#/definitions/")
        if len(moved) > 1:
            return {"allOf": [{"$ref": moved.pop("$ref")}], **moved}
    return moved
