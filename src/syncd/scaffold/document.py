"""An OpenAPI document (3.x, or Swagger 2) read as plain data, its references followed; circles and strangers do no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from syncd.errors import AskedWrongError

MOST_BYTES = 64 * 1024 * 1024
MOST_HOPS = 50
METHODS = ("get", "post")


class DocumentError(AskedWrongError):
    """The file is no document we can read. Exit code 2."""


class Document:
    """One document."""

    def __init__(self, data: Mapping[str, Any], name: str) -> None:
        self.data = data
        self.name = name
        self.swagger = "swagger" in data

    def resolved(self, node: Any) -> dict[str, Any]:
        """What a node is, its `$ref` followed; {} for what leads nowhere, round in a circle, or out of this file."""
        for _ in range(MOST_HOPS):
            if not isinstance(node, dict):
                return {}
            ref = node.get("$ref")
            if not isinstance(ref, str):
                return node
            node = self._at(ref)
        return {}

    def _at(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            return None
        node: Any = self.data
        for step in ref[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            elif isinstance(node, dict) and step in node:
                node = node[step]
            else:
                return None
        return node

    def schema(self, node: Any, depth: int = 6) -> dict[str, Any]:
        """A schema as one mapping: `allOf` laid over each other, of `anyOf` and `oneOf` the first that is not null."""
        found = dict(self.resolved(node))
        if depth <= 0:
            return found
        parts = [part for key in ("allOf",) for part in _listed(found.get(key))]
        for key in ("anyOf", "oneOf"):
            parts += [part for part in _listed(found.get(key)) if self.resolved(part).get("type") != "null"][:1]
        for part in parts:
            inner = self.schema(part, depth - 1)
            merged = {**_mapping(inner.get("properties")), **_mapping(found.get("properties"))}
            found = {**inner, **{key: value for key, value in found.items() if key not in {"allOf", "anyOf", "oneOf"}}}
            if merged:
                found["properties"] = merged
        return found

    def kind(self, schema: Mapping[str, Any]) -> str:
        """object, array, string, integer, number, boolean, or empty."""
        told = schema.get("type")
        if isinstance(told, list):
            told = next((one for one in told if one != "null"), "")
        if isinstance(told, str) and told:
            return told
        if isinstance(schema.get("properties"), dict):
            return "object"
        return "array" if "items" in schema else ""

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
        """Path, method, operation, and its parameters."""
        for path, item in _mapping(self.data.get("paths")).items():
            item = self.resolved(item)
            if not isinstance(path, str) or not path.startswith("/"):
                continue
            common = [self.resolved(one) for one in _listed(item.get("parameters"))]
            for method in METHODS:
                operation = self.resolved(item.get(method))
                if operation:
                    own = [self.resolved(one) for one in _listed(operation.get("parameters"))]
                    yield path, method.upper(), operation, [*common, *own]

    def answer(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of a good answer; {} where none is told."""
        told = _mapping(operation.get("responses"))
        for status in ("200", 200, "2XX", "201", "default"):
            response = self.resolved(told.get(status))
            if "schema" in response:
                return self.schema(response["schema"])
            content = _mapping(response.get("content"))
            for kind, media in content.items():
                if "json" in str(kind) or kind == "*/*":
                    return self.schema(self.resolved(media).get("schema"))
        return {}


def read_document(path: Path) -> Document:
    """Raises DocumentError for a file that is none, or of a version we do not know."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DocumentError(f"{path} is larger than {MOST_BYTES // 2**20} MiB", hint="cut out what is of interest")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}",
            hint="--from-openapi wants a file: JSON or YAML",
        ) from None
    try:
        data = json.loads(text) if text.lstrip()[:1] == "{" else _yaml(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocumentError(f"{path} is neither JSON nor YAML: {first}", hint="look at that line") from None
    version = data.get("openapi", data.get("swagger")) if isinstance(data, dict) else None
    if not isinstance(data, dict) or not str(version or "").startswith(("3.", "2")):
        raise DocumentError(
            f"{path} is no OpenAPI 3 or Swagger 2 document",
            hint="one says `openapi: 3.x` or `swagger: '2.0'` at its top",
        )
    return Document(data, path.name)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
