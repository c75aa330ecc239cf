"""A walk over what changed that needs more than pages: `since.onward` and `since.then`. Any other is paged as it is.

`onward`: the cursor is `moment+inner`, what changed from that moment on and a cursor within it. `then`: a second listing with
another filter, whose cursors begin with `then|`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from syncd.kit import coerce, paging
from syncd.kit.listing import Since, Then
from syncd.kit.moments import since_param, since_text, step_of
from syncd.kit.resource import Resource
from syncd.model import Request, Response

THEN: Final = "then|"


def walked(resource: Resource, request: Request) -> bool:
    """Is this call of a walk whose next call only the answer tells?"""
    since, params = resource.since, dict(request.params)
    if since is None or not (since.onward or since.then):
        return False
    return since.param in params or (since.then is not None and since.then.param in params)


def begun(resource: Resource, whole: Request, cursor: str | None, hidden: frozenset[str]) -> Request:
    """The listing's call turned into the one at this cursor."""
    since = resource.since
    if since is None or cursor is None or since.param not in dict(whole.params):
        return paging.at_cursor(resource, whole, cursor, hidden)
    moment, plus, inner = cursor.partition("+")
    if since.onward and plus:
        whole = _from(since, whole, coerce.moment(moment))
    elif since.then is not None and cursor.startswith(THEN):
        whole, inner = _second(since, since.then, whole), cursor.removeprefix(THEN)
    else:
        inner = cursor
    return replace(paging.at_cursor(resource, whole, inner or None, hidden), cursor=cursor)


def following(resource: Resource, request: Request, response: Response, hidden: frozenset[str]) -> Request | None:
    """The call after this one; None at the end."""
    since, params = resource.since, dict(request.params)
    if since is not None and since.onward and since.param in params:
        return _onward(resource, since, request, response, hidden)
    if since is not None and since.then is not None and (since.param in params or since.then.param in params):
        return _then(resource, since, since.then, request, response, hidden)
    return paging.following(resource, request, response, hidden)


def _onward(
    resource: Resource, since: Since, request: Request, response: Response, hidden: frozenset[str]
) -> Request | None:
    """On from the newest moment of the page; within it by pages, where it has more records than one."""
    moment, plus, inner = (request.cursor or "").partition("+")
    plain = replace(request, cursor=inner or None) if plus else request
    found = paging.following(resource, plain, response, hidden)
    if found is None:
        return None
    moments = (resource.reader.ordered_at(raw) for raw in reversed(resource.reader.records(response)))
    newest = next((at for at in moments if at is not None), None)
    last = newest if newest is None else _as_asked(since, newest)
    if last is None or (plus and last <= coerce.moment(moment)):
        return replace(found, cursor=f"{moment}+{found.cursor}") if plus else found
    return replace(_from(since, _first(resource, request), last), cursor=f"{since_text(last, 'iso')}+")


def _as_asked(since: Since, moment: datetime) -> datetime:
    """A moment as exact as a cursor and the filter are: within what both call one moment it goes on by pages."""
    step = max(step_of(since.format), timedelta(milliseconds=1))
    return moment - (moment - coerce.EPOCH) % step


def _from(since: Since, request: Request, moment: datetime) -> Request:
    """The same call for what changed at a moment or later."""
    asked = moment - step_of(since.format) if since.onward == "after" else moment
    return paging.with_params(request, {since.param or "": since_param(since, asked)})


def _then(
    resource: Resource, since: Since, then: Then, request: Request, response: Response, hidden: frozenset[str]
) -> Request | None:
    begins = THEN if (request.cursor or "").startswith(THEN) else ""
    inner = (request.cursor or "").removeprefix(THEN)
    found = paging.following(resource, replace(request, cursor=inner or None), response, hidden)
    if found is not None:
        return replace(found, cursor=f"{begins}{found.cursor}")
    return None if begins else replace(_second(since, then, _first(resource, request)), cursor=THEN)


def _second(since: Since, then: Then, request: Request) -> Request:
    """The first listing's call as that of the second."""
    params = dict(request.params)
    # The filter's own text of that moment: `plain` does not say that it is UTC.
    moment = coerce.moment(params.pop(since.param or ""), UTC)
    return replace(request, params={**params, then.param: since_text(moment - timedelta(days=then.days), then.format)})


def _first(resource: Resource, request: Request) -> Request:
    """The same listing from its first page."""
    params = {name: value for name, value in dict(request.params).items() if name != resource.pages.param}
    return paging.at_cursor(resource, replace(request, params=params, cursor=None), None)
