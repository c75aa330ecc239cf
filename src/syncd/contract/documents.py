"""One or several published documents as a table of operations: which of them a method and a path is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from syncd.errors import ConfigError

METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")
_HOLE: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, with the document it stands in."""

    method: str
    path: str
    """The template with the server's own path before it, such as /v2/objects/{object}."""
    told: Mapping[str, Any]
    document: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]
    """Its own and those of its path, each resolved."""
    found: Mapping[str, str]
    """What stands in the path's holes."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Paths:
    """All paths of all documents. Where two have the same operation the later one is right: it is the newer."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._templates: dict[int, list[tuple[int, re.Pattern[str], str, dict[str, tuple[Any, Any, Any]]]]] = {}
        known: dict[str, dict[str, tuple[Any, Any, Any]]] = {}
        for document in documents:
            before = _server(document)
            for path, item in document.get("paths", {}).items():
                methods = known.setdefault(before + "/" + path.lstrip("/"), {})
                for method in METHODS:
                    if method in item:
                        methods[method.upper()] = (item[method], item, document)
        for template, methods in known.items():
            parts = template.strip("/").split("/")
            entry = (template.count("{"), _pattern(template), template, methods)
            self._templates.setdefault(len(parts), []).append(entry)
        for entries in self._templates.values():
            entries.sort(key=lambda entry: entry[0])  # a path that is written out goes before a hole

    def __len__(self) -> int:
        return sum(len(methods) for entries in self._templates.values() for *_, methods in entries)

    def find(self, method: str, path: str) -> Operation | None:
        """The operation of a call; None where the documents have no such path, or not with this method."""
        path = "/" + path.strip("/")
        for _, pattern, template, methods in self._templates.get(path.count("/"), ()):
            match = pattern.fullmatch(path)
            if match is None or method not in methods:
                continue
            told, item, document = methods[method]
            names = _HOLE.findall(template)
            holes = dict(zip(names, (unquote(value) for value in match.groups()), strict=True))
            return Operation(method, template, told, document, _parameters(told, item, document), holes)
        return None


def read_document(file: Path) -> Mapping[str, Any]:
    """A published document. Raises ConfigError where it cannot be read or is none that is understood here."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}", hint="give the path of an OpenAPI document") from None
    try:
        found = orjson.loads(content) if file.suffix == ".json" else _yaml(content)
    except ValueError as error:
        raise ConfigError(
            f"{file}: neither JSON nor YAML: {error}", hint="give the path of an OpenAPI document"
        ) from None
    if not isinstance(found, dict) or not isinstance(found.get("paths"), dict):
        raise ConfigError(f"{file}: no OpenAPI document: it has no paths", hint="give the path of an OpenAPI document")
    version = str(found.get("openapi", ""))
    if not version.startswith("3."):
        told = f"version {found.get('swagger') or version or 'unknown'}"
        raise ConfigError(f"{file}: {told}, and 3.0 and 3.1 are what is read here", hint="convert it to OpenAPI 3")
    return found


def resolve(document: Mapping[str, Any], told: Any) -> Any:
    """What a `$ref` within the document names; anything else as it is. Raises ConfigError for one that leads nowhere."""
    seen = 0
    while isinstance(told, Mapping) and isinstance(told.get("$ref"), str):
        at: Any = document
        for step in told["$ref"].lstrip("#/").split("/"):
            at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
        seen += 1
        if at is None or seen > 20:
            raise ConfigError(f"the document names {told['$ref']}, which is not in it")
        told = at
    return told


def _yaml(content: bytes) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(content, Loader=loader)  # noqa: S506 - the safe loader, in C where there is one
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def _server(document: Mapping[str, Any]) -> str:
    servers = document.get("servers") or [{}]
    path = urlsplit(str(servers[0].get("url", ""))).path.strip("/")
    return f"/{path}" if path else ""


def _pattern(template: str) -> re.Pattern[str]:
    parts = _HOLE.split(template.strip("/"))
    return re.compile(
        "/" + "".join(re.escape(part) if number % 2 == 0 else "([^/]+)" for number, part in enumerate(parts))
    )


def _parameters(told: Mapping[str, Any], item: Mapping[str, Any], document: Any) -> tuple[Mapping[str, Any], ...]:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in _each(item.get("parameters"), told.get("parameters")):
        one = resolve(document, one)
        found[one.get("in", ""), one.get("name", "")] = one
    return tuple(found.values())


def _each(*lists: Iterable[Any] | None) -> Iterable[Any]:
    for one in lists:
        yield from one or ()
