"""Where the next page of a run comes from: a driver's own pages, or a listing below every parent in turn."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace

from syncd import codec
from syncd.errors import PayloadError
from syncd.kit import Driver, Request, Resource, Response
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

    def __init__(self, driver: Driver, resource: Resource, checkpoint: Checkpoint) -> None:
        self._driver = driver
        self._resource = resource
        self._checkpoint = checkpoint
        self._first: Request | None = None
        self._walk: Generator[Request, Response, None] | None = None
        self._known: deque[Step] = deque()
        self._stored_total: int | None = None

    async def first(self) -> Step:
        self._first = self._driver.request(self._resource, self._checkpoint)
        return Step(self._first, self._checkpoint.cursor)

    def ahead(self, response: Response) -> list[Step] | None:
        """After the first answer: all further pages, where they do not depend on each other; else None."""
        assert self._first is not None
        rest = self._driver.spread(self._resource, self._first, response)
        if rest is None:
            return None
        return [Step(request, request.cursor) for request in rest]

    async def after(self, step: Step, response: Response) -> Step | None:
        """The page after this one; None when the listing has ended."""
        try:
            if self._walk is None:
                self._walk = self._driver.pages(self._resource, step.request)
                following = next(self._walk)
                if following is step.request or following == step.request:
                    following = self._walk.send(response)
            else:
                following = self._walk.send(response)
        except StopIteration:
            return None
        if following.cursor is None:
            raise PayloadError(f"{self._resource.name}: the driver gave a page without a cursor to resume it by")
        return Step(following, following.cursor)


class ChildListing:
    """A complete pass of a child resource: the listing below each live parent, in the order of the parents' ids.

    The cursor holds the parent and the place in its listing, so that a death costs one page.
    """

    def __init__(
        self,
        driver: Driver,
        child: Resource,
        checkpoint: Checkpoint,
        parents_after: Callable[[str, int], Awaitable[list[str]]],
    ) -> None:
        self._driver = driver
        self._child = child
        self._parents_after = parents_after
        self._waiting: deque[str] = deque()
        self._last_parent = ""
        self._resume: str | None = None
        self._walk: Listing | None = None
        if checkpoint.cursor is not None:
            place = codec.loads(base64.urlsafe_b64decode(checkpoint.cursor))
            self._waiting.append(place["parent"])
            self._resume = place.get("at")

    async def first(self) -> Step | None:
        """None where there is no parent to list below."""
        return await self._next_parent()

    def ahead(self, response: Response) -> list[Step] | None:
        return None

    async def after(self, step: Step, response: Response | None) -> Step | None:
        """The next page below the same parent, or the first below the next. No answer: that parent is gone."""
        assert step.parent_id is not None and self._walk is not None
        if response is not None:
            inner = await self._walk.after(Step(step.request, None), response)
            if inner is not None:
                return Step(inner.request, _place(step.parent_id, inner.cursor), step.parent_id)
        return await self._next_parent()

    async def _next_parent(self) -> Step | None:
        if not self._waiting:
            self._waiting.extend(await self._parents_after(self._last_parent, PARENTS_AT_ONCE))
        if not self._waiting:
            return None
        parent = self._last_parent = self._waiting.popleft()
        at, self._resume = self._resume, None
        self._walk = below(self._driver, self._child, parent, at)
        inner = await self._walk.first()
        return Step(inner.request, _place(parent, at), parent)


def below(driver: Driver, child: Resource, parent_id: str, at: str | None = None) -> Listing:
    """The listing of `child` below one parent, from its start or from the place `at`."""
    first = driver.child_request(child, parent_id)
    return _Below(driver, child, first, at)


class _Below(Listing):
    def __init__(self, driver: Driver, child: Resource, first: Request, at: str | None) -> None:
        super().__init__(driver, child, Checkpoint("", child.name, cursor=at))
        self._parent_first = first

    async def first(self) -> Step:
        if self._checkpoint.cursor is None:
            self._first = self._parent_first
        else:
            again = self._driver.request(self._resource, self._checkpoint)
            self._first = replace(again, path=self._parent_first.path, route=self._parent_first.route)
        return Step(self._first, self._checkpoint.cursor)


def _place(parent_id: str, at: str | None) -> str:
    return base64.urlsafe_b64encode(codec.dumps({"parent": parent_id, "at": at})).decode()
