"""How a listing goes on, guessed from its parameters and its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncd.scaffold.document import Document
from syncd.testing.stated import Paging

_SIZES = ("limit", "per_page", "page_size", "pagesize", "perpage", "size", "max_results", "maxresults", "count", "top")
_CURSORS = (
    "cursor", "page_token", "pagetoken", "next_token", "nexttoken", "continuation_token", "starting_after", "after",
    "page_cursor", "pagecursor", "next_cursor",
)  # fmt: skip
_OFFSETS = ("offset", "skip", "start")
_PAGES = ("page", "page_number", "pagenumber", "page_no")
_NEXT_CURSORS = (
    "next_cursor", "nextcursor", "next_page_token", "nextpagetoken", "next_token", "nexttoken", "cursor", "next_page_cursor",
    "next",
)  # fmt: skip
_NEXT_LINKS = ("next_page_uri", "next_page_url", "nextpageurl", "next_url", "nexturl", "nextlink", "next")
_MORE = ("has_more", "hasmore", "has_next", "hasnext", "more")
_TOTALS = ("total", "total_count", "totalcount", "total_results", "totalresults", "count")
_BELOW = ("pagination", "paging", "meta", "metadata", "page_info", "pageinfo", "links", "_links")
MOST = 100
USUAL = 50


def paging_of(
    document: Document, parameters: Mapping[str, Mapping[str, Any]], answer: Mapping[str, Any], identity: str
) -> tuple[Paging, int | None, str]:
    """The paging, the page size to ask for, and what it was told by."""
    names = {name.lower().replace("-", "_"): name for name in parameters if _plain(name)}
    size = _one(names, _SIZES)
    page_size = _page_size(document, parameters.get(size, {})) if size else None
    told = _places(document, answer)
    if cursor := _one(names, _CURSORS):
        by = f"pages go on by the parameter `{cursor}`"
        if cursor.lower() in {"starting_after", "after"} and (more := _one(told, _MORE)):
            return Paging("cursor", cursor, size, more=more), page_size, by
        if following := _one(told, _NEXT_CURSORS):
            return Paging("cursor", cursor, size, next=following), page_size, by
        return (
            Paging("cursor", cursor, size, next="next_cursor"),
            page_size,
            f"{by}; where the next one is told is assumed",
        )
    if offset := _one(names, _OFFSETS):
        total = _one(told, _TOTALS)
        by = f"pages go on by the parameter `{offset}`"
        return Paging("offset", offset, size, total=total), page_size or (None if total else USUAL), by
    if page := _one(names, _PAGES):
        by = f"pages go on by the parameter `{page}`"
        total = _one(told, _TOTALS)
        return Paging("page", page, size, total=total), page_size or USUAL, by
    if link := _one(told, _NEXT_LINKS):
        return Paging("next", size=size, next=link), page_size, f"`{link}` is the next page"
    return Paging(), None, ""


def _page_size(document: Document, parameter: Mapping[str, Any]) -> int:
    schema = document.schema(parameter.get("schema", parameter))
    most = schema.get("maximum")
    return max(1, min(int(most), MOST)) if isinstance(most, int | float) and most >= 1 else USUAL


def _places(document: Document, answer: Mapping[str, Any]) -> dict[str, str]:
    """Names in an answer beside its records, and their places: at the top, or one below."""
    found: dict[str, str] = {}
    properties = answer.get("properties")
    for name, node in (properties if isinstance(properties, dict) else {}).items():
        schema = document.schema(node)
        if document.kind(schema) == "object" and str(name).lower() in _BELOW:
            inner = schema.get("properties")
            for deeper, leaf in (inner if isinstance(inner, dict) else {}).items():
                if document.kind(document.schema(leaf)) not in {"object", "array"} and _plain(deeper) and _plain(name):
                    found.setdefault(str(deeper).lower(), f"{name}.{deeper}")
        elif document.kind(schema) not in {"object", "array"} and _plain(name):
            found[str(name).lower()] = str(name)
    return found


def _one(names: Mapping[str, str], wanted: Iterable[str]) -> str:
    return next((names[one] for one in wanted if one in names), "")


def _plain(name: Any) -> bool:
    text = str(name)
    return text.replace("_", "a").isalnum() and text.isascii() and not text[0].isdigit()
