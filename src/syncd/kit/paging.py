"""From one page to the next: where a listing goes on, when it has ended, and which pages can be asked for ahead.

Everything here is a function of the request sent and the answer that came; nothing is remembered but the loop guard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

from syncd.errors import PayloadError
from syncd.kit import coerce
from syncd.kit.adapter import answer_getter
from syncd.kit.paths import MISSING, getter, kind, put
from syncd.kit.resource import Resource
from syncd.model import Request, Response

OFFSET: Final = "offset:"
"""Begins a cursor that is an offset in place of one."""
PAGES_AHEAD: Final = 1_000
"""Requests one `spread` names at most: a partner that states an absurd total must not fill our memory."""
EMPTY_PAGES: Final = 1_000
"""Empty pages in a row that all promise more before we stop believing."""
SAME_PAGES: Final = 3
"""The same page so many times in a row is a loop. Twice may happen: inserts push a whole page down between calls."""
_REMEMBERED: Final = 50_000

_LINK = re.compile(r"""<([^>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)""")
_REL = re.compile(r"""rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


class LoopGuard:
    """Notices a listing that goes round. Remembers hashes, a bounded number of them, and one landmark beyond that.

    The landmark moves at every power of two (Brent's way of finding a cycle), so a loop of any length is found in the
    end, whatever the number of pages.
    """

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._seen: set[int] = set()
        self._turns = 0
        self._landmark: int | None = None
        self._page: object = None
        self._same = 0
        self._empty = 0

    def turn(self, cursor: str | None) -> None:
        """A request is about to be made with this cursor. Raises PayloadError when it was made before."""
        mark = hash(cursor)
        if mark in self._seen or mark == self._landmark:
            raise PayloadError(
                f"{self._resource}: the listing goes round: page {self._turns + 1} has a cursor that was used before",
                resource=self._resource,
            )
        self._turns += 1
        if len(self._seen) < _REMEMBERED:
            self._seen.add(mark)
        if self._turns & (self._turns - 1) == 0:
            self._landmark = mark

    def page(self, records: list[Any], first: object, last: object) -> None:
        """A page came that is not the last. Raises PayloadError when the same one comes again and again."""
        self._empty = 0 if records else self._empty + 1
        if self._empty >= EMPTY_PAGES:
            raise PayloadError(
                f"{self._resource}: {EMPTY_PAGES} empty pages in a row, each promising more", resource=self._resource
            )
        page = (len(records), first, last)
        self._same = self._same + 1 if records and page == self._page else 1
        self._page = page
        if self._same >= SAME_PAGES:
            raise PayloadError(
                f"{self._resource}: the listing goes round: the same page came {SAME_PAGES} times in a row",
                hint="the partner seems to ignore the page parameter; check `pages.param`",
                resource=self._resource,
            )


def at_cursor(
    resource: Resource, request: Request, cursor: str | None, hidden: frozenset[str] = frozenset()
) -> Request:
    """The listing's first request turned into the one for `cursor`; None gives the first page.

    `hidden` are query parameters that carry credentials: the client adds them, a link must not keep them.
    """
    pages = resource.pages
    if cursor is None:
        if pages.first is None or pages.kind not in {"offset", "page"}:
            return request
        return _with(resource, request, pages.param or "", pages.first)
    if pages.kind in {"next", "link"}:
        parts = urlsplit(cursor)
        query = tuple((name, value) for name, value in parse_qsl(parts.query, True) if name not in hidden)
        path = urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")) or request.path
        return replace(request, path=path, route=route(request), params=query, cursor=cursor)
    if pages.kind == "none":
        raise PayloadError(f"{resource.name}: a listing of one page has no cursor", resource=resource.name)
    if cursor.startswith(OFFSET) and pages.offset is not None:
        return replace(_with(resource, request, pages.offset, cursor.removeprefix(OFFSET)), cursor=cursor)
    value: Any = _number(resource, cursor) if pages.kind in {"offset", "page"} else cursor
    return replace(_with(resource, request, pages.param or "", value), cursor=cursor)


def following(
    resource: Resource, request: Request, response: Response, hidden: frozenset[str] = frozenset()
) -> Request | None:
    """The request after this one, or None when the listing has ended.

    Raises PayloadError for an answer that contradicts itself: it says there is more and gives nothing to go on from.
    """
    cursor = _next_cursor(resource, request, response, hidden)
    return None if cursor is None else at_cursor(resource, request, cursor, hidden)


def route(request: Request) -> str:
    """The route template of a request whose path is about to be replaced by a link."""
    return request.route or urlsplit(request.path).path


def spread(resource: Resource, request: Request, response: Response) -> list[Request] | None:
    """The pages after this one that can be asked for at once; None where each page hangs on the one before.

    A prediction from the stated total. When the total has grown meanwhile the listing goes on after the last of them;
    when it shrank the last ones come empty; a page shorter than the first means that rows are missing in between.
    """
    pages = resource.pages
    if pages.kind not in {"offset", "page"} or pages.more is not None:
        return None
    count = len(resource.reader.rows(response))
    if count == 0 or (resource.page_size is not None and count != resource.page_size):
        return None
    at = _position(resource, request)
    if pages.kind == "page":
        whole = _pages_in_all(resource, response)
        if whole is None:
            total = resource.reader.total(response)
            whole = None if total is None else -(-total // count)
        if whole is None:
            return None
        cursors = range(at + 1, pages.start + whole)
    else:
        total = resource.reader.total(response)
        if total is None:
            return None
        cursors = range(at + count, pages.start + total, count)
    return [at_cursor(resource, request, str(cursor)) for cursor in cursors[:PAGES_AHEAD]] or None


def _next_cursor(resource: Resource, request: Request, response: Response, hidden: frozenset[str]) -> str | None:
    match resource.pages.kind:
        case "none":
            return None
        case "cursor":
            found = _after_cursor(resource, response)
            return (
                found if found is not None or resource.pages.offset is None else _instead(resource, request, response)
            )
        case "offset" | "page":
            return _after_number(resource, request, response)
        case "next":
            found = _text(resource, answer_getter(resource.pages.next or "")(response), resource.pages.next or "")
            if _more(resource, response) is False:
                return None
        case "link":
            found = next_link(response)
    if found is None:
        if _more(resource, response):
            raise _contradiction(resource)
        return None
    return without(relative(found, request.path, response.url), hidden)


def _after_cursor(resource: Resource, response: Response) -> str | None:
    pages = resource.pages
    more = _more(resource, response)
    if more is False:
        return None
    if pages.end == "empty" and not resource.reader.rows(response):
        return None
    if pages.next is not None:
        found = _text(resource, answer_getter(pages.next)(response), pages.next)
        if found is None and more:
            raise _contradiction(resource)
        return found
    records = resource.reader.records(response)
    if not records:
        if more:
            raise _contradiction(resource)
        return None
    if more is None and _short(resource, len(records)):
        return None
    found = _text(resource, getter(pages.last or "")(records[-1]), pages.last or "")
    if found is None:
        raise PayloadError(f"{resource.name}: the page's last record has nothing at `{pages.last}` to go on from")
    return found


def _instead(resource: Resource, request: Request, response: Response) -> str | None:
    """The offset to go on from where an answer has no cursor, as a cursor that says so."""
    pages, count = resource.pages, len(resource.reader.rows(response))
    stated = _text(resource, answer_getter(pages.next_offset or "")(response), pages.next_offset or "")
    if stated is not None:
        return f"{OFFSET}{stated}" if count else None
    # A part of an answer that tells of pages and says that there is no other one ends it; no such part tells nothing.
    told = getter((pages.next or "").rpartition(".")[0])(response.json())
    if isinstance(told, dict) or resource.page_size is None or count < resource.page_size:
        return None
    at = (request.cursor or "").removeprefix(OFFSET) if (request.cursor or "").startswith(OFFSET) else "0"
    return f"{OFFSET}{_number(resource, at) + count}"


def _after_number(resource: Resource, request: Request, response: Response) -> str | None:
    pages = resource.pages
    at, count = _position(resource, request), len(resource.reader.rows(response))
    more = _more(resource, response)
    if count == 0:
        if more:
            raise _contradiction(resource)
        return None
    onward = str(at + count if pages.kind == "offset" else at + 1)
    if more is not None:
        return onward if more else None
    whole = _pages_in_all(resource, response)
    if whole is not None:
        return onward if at - pages.start + 1 < whole else None
    total = resource.reader.total(response)
    if total is not None:
        before = at - pages.start if pages.kind == "offset" else (at - pages.start) * (resource.page_size or count)
        return onward if before + count < total else None
    return None if _short(resource, count) else onward


def _short(resource: Resource, count: int) -> bool:
    return resource.pages.end != "empty" and resource.page_size is not None and count < resource.page_size


def _more(resource: Resource, response: Response) -> bool | None:
    if resource.pages.more is None:
        return None
    value = answer_getter(resource.pages.more)(response)
    try:
        return coerce.boolean(value)
    except PayloadError as error:
        raise PayloadError(f"{resource.name}: `{resource.pages.more}`: {error}", resource=resource.name) from None


def _pages_in_all(resource: Resource, response: Response) -> int | None:
    if resource.pages.total_pages is None:
        return None
    try:
        return coerce.integer(answer_getter(resource.pages.total_pages)(response))
    except PayloadError:
        return None


def _position(resource: Resource, request: Request) -> int:
    return resource.pages.start if request.cursor is None else _number(resource, request.cursor)


def _number(resource: Resource, cursor: str) -> int:
    try:
        return int(cursor)
    except ValueError:
        raise PayloadError(f"{resource.name}: the stored cursor is no {resource.pages.kind} number") from None


def _text(resource: Resource, value: Any, path: str) -> str | None:
    """A cursor or link as text; None where the partner says there is none."""
    if value is None or value is MISSING or value is False or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise PayloadError(f"{resource.name}: expected a cursor at `{path}`, got {kind(value)}", resource=resource.name)


def _contradiction(resource: Resource) -> PayloadError:
    return PayloadError(
        f"{resource.name}: the answer says there is more but gives nothing to go on from", resource=resource.name
    )


def _with(resource: Resource, request: Request, name: str, value: Any) -> Request:
    if resource.pages.place == "body":
        given = request.json if request.xml is None else request.xml
        body = deepcopy(given) if isinstance(given, dict) else {}
        put(body, name, value)
        return replace(request, json=body) if request.xml is None else replace(request, xml=body)
    return with_params(request, {name: str(value)})


def with_params(request: Request, more: Mapping[str, Any]) -> Request:
    """The same request with these query parameters set, whatever form the others are in."""
    if isinstance(request.params, Mapping):
        return replace(request, params={**request.params, **more})
    kept = tuple(pair for pair in request.params if pair[0] not in more)
    return replace(request, params=kept + tuple((name, str(value)) for name, value in more.items()))


def next_link(response: Response) -> str | None:
    """The URL with rel=next in the Link header (RFC 8288)."""
    for match in _LINK.finditer(response.headers.get("link", "")):
        rel = _REL.search(match[2])
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return match[1].strip() or None
    return None


def relative(link: str, path: str, url: str) -> str:
    """A link as a path below the base URL where it lies there, so that the cursor survives a change of host.

    `path` is what was asked (relative to the base URL), `url` where that was answered; the difference is the base URL.
    A link that lies elsewhere stays absolute; whether it may be followed is the client's decision.
    """
    if not url:
        return link
    here = urlsplit(url)
    there = urlsplit(urljoin(url, link))
    asked = "/" + urlsplit(path).path.lstrip("/")
    absolute = urlunsplit(there._replace(fragment=""))
    if "://" in path or (here.scheme, here.netloc) != (there.scheme, there.netloc) or not here.path.endswith(asked):
        return absolute
    base = here.path.removesuffix(asked)
    if not there.path.startswith(base + "/"):
        return absolute
    return urlunsplit(("", "", there.path.removeprefix(base), there.query, ""))


def without(link: str, hidden: frozenset[str]) -> str:
    """A link without the query parameters that carry a credential: it is stored as a cursor."""
    if not hidden or "?" not in link:
        return link
    parts = urlsplit(link)
    kept = [pair for pair in parts.query.split("&") if parse_qsl(pair, True)[:1] and _name(pair) not in hidden]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _name(pair: str) -> str:
    return parse_qsl(pair, True)[0][0]
