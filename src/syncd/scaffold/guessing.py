"""From an OpenAPI document to resources: what is listed where, how its pages go on, what names and dates a record.

All of it is a guess by names and shapes, and said to be one in what is written; nothing of the document is copied but paths,
names and made-up examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from syncd.scaffold.choices import Choices, Found, auth_of, plain_choices, proof_of
from syncd.scaffold.document import Document
from syncd.scaffold.examples import example_of
from syncd.scaffold.fields import fields_of, id_of, updated_of
from syncd.scaffold.paging import paging_of
from syncd.testing.stated import Proof, Rows

MOST_RESOURCES = 150
_WRAPPERS = ("data", "items", "results", "records", "value", "values", "list", "rows", "elements", "entries", "content")
_SINCE = re.compile(
    r"(?:last_?)?(?:updated|modified|changed)_?(?:at|on|time|date)?(?:_|\[|\.)?(?:since|after|from|gte|gt|min)\]?\Z"
    r"|(?:updated|modified|changed)_?since\Z|since\Z|modified_?since\Z",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"\{([^{}]+)\}")
_SUFFIXES = (".json",)


@dataclass(frozen=True)
class _Listing:
    path: str
    parameters: dict[str, dict[str, Any]]
    answer: dict[str, Any]
    records: str
    item: dict[str, Any]


def guessed(document: Document, name: str) -> Choices:
    """What a driver for this document begins with. Where nothing is found that could be listed: the plain beginning."""
    base_url, notes = _base_url(document, name)
    proof, token_url, said = _auth(document)
    notes += said
    title = str(_inner(document.data, "info").get("title") or name).strip()[:80]
    plain = plain_choices(name)
    found = _resources(document)
    if not found:
        notes.append("nothing was found that is listed without a parameter: `things` is made up")
        found = plain.resources
    return Choices(
        name=name,
        title=re.sub(r"\s+", " ", title),
        base_url=base_url,
        proof=proof,
        auth=auth_of(proof, token_url),
        resources=found,
        source=document.name,
        notes=tuple(notes),
    )


# Where and who


def _base_url(document: Document, name: str) -> tuple[str, list[str]]:
    fallback = f"https://api.{name.replace('_', '-')}.example"
    if document.swagger:
        schemes = document.data.get("schemes")
        scheme = "https" if not isinstance(schemes, list) or "https" in schemes else str(schemes[0])
        host = document.data.get("host")
        url = f"{scheme}://{host}" if isinstance(host, str) and host else fallback
        url += str(document.data.get("basePath") or "")
    else:
        servers = document.data.get("servers")
        first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
        url = str(first.get("url") or "")
        for key, told in _inner(first, "variables").items():
            url = url.replace(f"{{{key}}}", str(_inner({"": told}, "").get("default", "x")))
        if not url.startswith(("http://", "https://")):
            url = fallback + ("/" + url.strip("/") if url.strip("/") else "")
    parts = urlsplit(url)
    sound = bool(parts.hostname) and not _PARAMETER.search(url) and not parts.query and "@" not in parts.netloc
    if not sound:
        return fallback, ["the document names no address that can be used: base_url is made up"]
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1"}:
        url = "https" + url[4:]
    return url.rstrip("/"), []


def _auth(document: Document) -> tuple[Proof, str, list[str]]:
    schemes = _inner(_inner(document.data, "components"), "securitySchemes") or _inner(
        document.data, "securityDefinitions"
    )
    wanted = ("oauth2_client", "bearer", "api_key", "basic", "oauth2_refresh")
    known: dict[str, tuple[Proof, str, str]] = {}
    for name, scheme in schemes.items():
        scheme = document.resolved(scheme)
        found = _proof(scheme)
        if found is not None:
            known.setdefault(found[0].kind, (*found, str(name)))
    for kind in wanted:
        if kind in known:
            proof, token_url, name = known[kind]
            others = ", ".join(str(one) for one in schemes if one != name)
            note = f"auth is what the document calls {name}" + (f"; there is also {others}" if others else "")
            return proof, token_url, [note]
    return proof_of("bearer"), "", ["the document names no credential that is known here: a bearer token is assumed"]


def _proof(scheme: Mapping[str, Any]) -> tuple[Proof, str] | None:
    kind, how = scheme.get("type"), str(scheme.get("scheme", "")).lower()
    if kind == "apiKey":
        name, place = str(scheme.get("name") or "X-Api-Key"), scheme.get("in")
        if place == "query":
            return proof_of("api_key", query=name), ""
        if place != "header" or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            return None
        if name.lower() == "authorization":
            return proof_of("bearer"), ""
        return proof_of("api_key", header=name), ""
    if kind == "basic" or (kind == "http" and how == "basic"):
        return proof_of("basic"), ""
    if kind == "http" and how == "bearer":
        return proof_of("bearer"), ""
    if kind != "oauth2":
        return None
    flows = _inner(scheme, "flows") or {str(scheme.get("flow")): scheme}
    for flow, told in flows.items():
        url = str(_inner({"": told}, "").get("tokenUrl") or "")
        path = urlsplit(url).path
        if not path.startswith("/") or _PARAMETER.search(url):
            continue
        token_url = path
        if flow in {"clientCredentials", "application"}:
            return proof_of("oauth2_client", token_path=path), token_url
        if flow in {"authorizationCode", "accessCode"}:
            return proof_of("oauth2_refresh", token_path=path), token_url
    return proof_of("bearer"), ""


# What is listed


def _resources(document: Document) -> tuple[Found, ...]:
    listings = [found for found in (_listing(document, *one) for one in document.operations()) if found is not None]
    singles = {
        path: document.answer(operation) for path, method, operation, _ in document.operations() if method == "GET"
    }
    made: dict[str, Found] = {}
    by_path: dict[str, str] = {}
    for listing in sorted(listings, key=lambda one: (one.path.count("{"), one.path.count("/"), one.path)):
        parent = _parent(listing.path, by_path)
        if parent is None or len(made) >= MOST_RESOURCES:
            continue
        found = _found(document, listing, parent, singles, set(made))
        if found is not None:
            made[found.rows.name] = found
            by_path.setdefault(_bare(listing.path), found.rows.name)
    return tuple(made.values())


def _listing(
    document: Document, path: str, method: str, operation: Mapping[str, Any], given: list[dict[str, Any]]
) -> _Listing | None:
    if method != "GET" or path.count("{") > 1 or _PARAMETER.search(path.rsplit("/", 1)[-1]):
        return None
    answer = document.answer(operation)
    place = _list_in(document, answer, path)
    if place is None:
        return None
    required = [one for one in given if one.get("required") and one.get("in") == "query" and "default" not in one]
    if required:
        return None
    parameters = {str(one.get("name")): one for one in given if one.get("in") == "query"}
    records, item = place
    return _Listing(path, parameters, answer, records, item)


def _list_in(document: Document, answer: dict[str, Any], path: str) -> tuple[str, dict[str, Any]] | None:
    """Where the records sit, and what one of them is."""
    if document.kind(answer) == "array":
        item = document.schema(answer.get("items"))
        return ("", item) if document.kind(item) == "object" else None
    last = _bare(path).rsplit("/", 1)[-1].lower()
    lists: list[tuple[str, dict[str, Any]]] = []
    properties = _inner(answer, "properties")
    for name, node in properties.items():
        found = document.schema(node)
        if document.kind(found) == "array":
            item = document.schema(found.get("items"))
            if document.kind(item) == "object" and _plain_key(name):
                lists.append((str(name), item))
    by_name = {name.lower(): (name, item) for name, item in lists}
    for wanted in (*_WRAPPERS, last, last.replace("-", "_"), last.replace("-", "")):
        if wanted in by_name:
            return by_name[wanted]
    if len(lists) == 1:
        return lists[0]
    for name in _WRAPPERS:
        inner = document.schema(properties.get(name)) if name in properties else {}
        if document.kind(inner) == "object":
            deeper = (
                _list_in(document, {"properties": _inner(inner, "properties")}, path)
                if inner.get("properties")
                else None
            )
            if deeper is not None and deeper[0] and "." not in deeper[0]:
                return f"{name}.{deeper[0]}", deeper[1]
    return None


def _found(
    document: Document, listing: _Listing, parent: str, singles: Mapping[str, Any], taken: set[str]
) -> Found | None:
    name = _name(listing.path, taken)
    properties = {str(key): document.schema(node) for key, node in _inner(listing.item, "properties").items()}
    identity = id_of(document, properties, _singular(name))
    if identity is None:
        return None
    updated = updated_of(document, properties)
    path = _PARAMETER.sub("{parent.id}", listing.path) if parent else listing.path
    paging, page_size, told = paging_of(document, listing.parameters, listing.answer, identity)
    since = next((one for one in listing.parameters if _SINCE.search(one)), "") if updated[0] else ""
    one, one_records = _single(document, listing, singles) if not parent else ("", "")
    notes = [told] if told else []
    if updated[0]:
        notes.append(f"`{updated[0]}` is when a record changed")
    elif since:
        notes.append(f"`{since}` may ask for what changed")
    like = example_of(document, listing.item, identity, updated)
    rows = Rows(
        name, path, records=listing.records, id=identity, updated=updated[0], stamp_as=updated[1], since=since, paging=paging,
        parent=parent, one=one, one_records=one_records, like=like, words=_words(properties),
    )  # fmt: skip
    return Found(
        rows, fields_of(document, properties, identity), page_size=page_size, enabled=not parent, notes=tuple(notes)
    )


def _single(document: Document, listing: _Listing, singles: Mapping[str, Any]) -> tuple[str, str]:
    """How one record is read by its id, and where it sits in that answer."""
    for path, answer in singles.items():
        head, _, tail = path.rpartition("/")
        if head == listing.path and _PARAMETER.fullmatch(tail):
            for name in ("data", _singular(_bare(head).rsplit("/", 1)[-1])):
                inner = document.schema(_inner(answer, "properties").get(name))
                if document.kind(inner) == "object" and len(_inner(answer, "properties")) <= 3:
                    return f"{head}/{{id}}", name
            return f"{head}/{{id}}", ""
    return "", ""


def _parent(path: str, by_path: Mapping[str, str]) -> str | None:
    """The resource a listing hangs below; empty: none. None: below something that is not listed."""
    if "{" not in path:
        return ""
    return by_path.get(path.partition("/{")[0]) or None


def _name(path: str, taken: set[str]) -> str:
    words = [part for part in _bare(path).split("/") if part and not part.startswith("{")]
    for number in range(1, len(words) + 1):
        text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(words[-number:]))
        name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
        name = re.sub(r"^(?:get|list)_(?=\w)", "", name)
        name = (name if name[:1].isalpha() else f"r_{name}")[:40].strip("_")
        if name and name not in taken:
            return name
    return f"{name[:36]}_{len(taken)}"


def _bare(path: str) -> str:
    """Without what stands for the format of an answer."""
    for suffix in _SUFFIXES:
        path = path.removesuffix(suffix)
    return path.rstrip("/")


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _plain_key(name: Any) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w-]*", str(name)) is not None and "-" not in str(name)


def _words(properties: Mapping[str, Any]) -> str:
    return next((one for one in ("name", "title", "description", "label") if one in properties), "name")


def _inner(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, dict) else {}
