"""Where the next page of a run comes from: a driver's own pages, or a listing below every parent in turn."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncd import codec
from syncd.errors import PayloadError
from syncd.kit import Driver, Request, Resource, Response
from syncd.kit.unsettled import has_some
from syncd.model import Checkpoint

PARENTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a listing and what the engine has to know beside it."""

    request: Request
    cursor: str | None
    """Where the run resumes if it dies before this page is stored; None is the start of the run."""
    parent_id: str | None = None


class Listing:
    """The pages of one resource, as its driver walks them. Independent pages are named ahead where the driver can."""

    def __init__(self, driver: Driver, resource: Resource, first: Request, *, cursor: str | None = None) -> None:
        self._driver = driver
        self._resource = resource
        self._first = Step(first, cursor)
        self._walk: Generator[Request, Response, None] | None = None

    async def first(self) -> Step | None:
        return self._first

    def ahead(self, step: Step, response: Response) -> list[Step]:
        """Further pages that do not depend on each other; none where each needs the one before."""
        rest = self._driver.spread(self._resource, step.request, response)
        return [Step(request, request.cursor) for request in rest or ()]

    async def after(self, step: Step, response: Response | None) -> Step | None:
        """The page after this one; None when the listing has ended. No answer: what the call was to list refuses to be."""
        if response is None:
            beyond, self._walk = self._driver.beyond(self._resource, step.request), None
            onward = None if beyond is None else beyond.following
            return None if onward is None else Step(onward, onward.cursor)
        if self._walk is None:
            self._walk = self._driver.pages(self._resource, step.request)
            next(self._walk)
        try:
            following = self._walk.send(response)
        except StopIteration:
            return None
        if following.cursor is None:
            raise PayloadError(f"{self._resource.name}: the driver gave a page without a cursor to resume it by")
        return Step(following, following.cursor)

    def expects(self, step: Step, response: Response) -> str | None:
        """The cursor that should follow this page; used to find out whether pages named ahead still fit together."""
        following = self._driver.following(self._resource, step.request, response)
        return following.cursor if following is not None else None

    def restart(self) -> None:
        """Forget the walk: the next page is asked for from another place."""
        self._walk = None


Parents = Callable[[str, int], Awaitable[list[tuple[str, Mapping[str, Any] | None]]]]
"""Live parents with ids above the given one, at most so many, each with its normalized fields where those are needed."""


class ChildListing:
    """A complete pass of a child resource: the listing below each live parent, in the order of the parents' ids.

    The cursor holds the parent and the place in its listing, so that a death costs one page.
    """

    def __init__(self, driver: Driver, child: Resource, cursor: str | None, parents: Parents) -> None:
        self._driver = driver
        self._child = child
        self._parents = parents
        self._waiting: deque[tuple[str, Mapping[str, Any] | None]] = deque()
        self._last_parent = ""
        self._resume: tuple[str, str | None] | None = None
        self._walk: Listing | None = None
        self._cursor = cursor
        if cursor is not None:
            place = codec.loads(base64.urlsafe_b64decode(cursor))
            self._resume = (place["parent"], place["at"])
            self._last_parent = place["before"]

    async def first(self) -> Step | None:
        """None where there is no parent to list below. Its cursor is the stored one, whichever parent comes first by now."""
        step = await self._next_parent()
        return replace(step, cursor=self._cursor) if step is not None else None

    def ahead(self, step: Step, response: Response) -> list[Step]:
        return []

    async def after(self, step: Step, response: Response | None) -> Step | None:
        """The next page below the same parent, or the first below the next. No answer: that parent is gone."""
        assert step.parent_id is not None and self._walk is not None
        if response is not None:
            inner = await self._walk.after(step, response)
            if inner is not None:
                return Step(inner.request, self._place(step.parent_id, inner.cursor), step.parent_id)
        self._last_parent = step.parent_id
        return await self._next_parent()

    async def _next_parent(self) -> Step | None:
        resume, self._resume = self._resume, None
        while True:
            if not self._waiting:
                self._waiting.extend(await self._parents(self._last_parent, PARENTS_AT_ONCE))
            if not self._waiting:
                return None
            parent, fields = self._waiting.popleft()
            if (resume is None or parent >= resume[0]) and has_some(self._child.where, fields):
                break
            # Nothing is below it, or it came since then, before the place: its own task lists what is below it.
            self._last_parent = parent
        at = resume[1] if resume is not None and resume[0] == parent else None
        self._walk = below(self._driver, self._child, parent, fields, at)
        inner = await self._walk.first()
        assert inner is not None
        return Step(inner.request, self._place(parent, at), parent)

    def _place(self, parent_id: str, at: str | None) -> str:
        return base64.urlsafe_b64encode(
            codec.dumps({"parent": parent_id, "at": at, "before": self._last_parent})
        ).decode()


def below(
    driver: Driver, child: Resource, parent_id: str, fields: Mapping[str, Any] | None, at: str | None = None
) -> Listing:
    """The listing of `child` below one parent, from its start or from the place `at`."""
    checkpoint = Checkpoint("", child.name, cursor=at)
    return Listing(driver, child, driver.child_request(child, parent_id, checkpoint, fields), cursor=at)


def needs_fields(child: Resource) -> bool:
    """Does the child's listing need more of its parent than the id?"""
    return bool(child.placeholders - {"id"}) or child.where is not None
