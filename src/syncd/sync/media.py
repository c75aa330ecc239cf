"""Files of records: photos, documents, recordings. Fetched in the lowest lane into the integration's directory.

A record's file is fetched when the record came or changed. What it is known by (ETag, Last-Modified) is asked with, so a
listing whose text changed does not bring its photos again. A link that is no longer good is read anew with its record, once:
many partners sign their links for an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anyio import to_thread

from syncd.client import checked_header
from syncd.errors import GoneError, PayloadError, RejectedError, TransientError
from syncd.kit import Raw, Request, Response
from syncd.store import Medium, NewTask, Task
from syncd.sync.account import Account
from syncd.sync.depot import Depot
from syncd.sync.plan import ResourcePlan

MOST_FILES = 500
"""Of one record; further links are left out."""
LONGEST_SECONDS = 300.0
"""One file may take so long."""
LACKING_AT_ONCE = 1000
KEPT_SECONDS = 86400.0
"""A file that no record has is kept so long: its row may be on its way."""
_HTML = "text/html"


class MediaFetcher:
    """Of one integration."""

    def __init__(self, account: Account, depot: Depot) -> None:
        self._account = account
        self._depot = depot

    async def fetch(self, plan: ResourcePlan, task: Task) -> bool:
        """Bring the files of one record. False: it has none, or is gone."""
        account = self._account
        assert task.external_id is not None
        stored = await account.store.records.get(account.name, plan.name, task.external_id)
        if stored is None or stored.deleted_at is not None:
            return False
        known = await account.store.media.of(account.name, plan.name, task.external_id)
        links = plan.resource.links(stored.raw)[:MOST_FILES]
        try:
            found = await self._all(plan, links, known, task)
        except (GoneError, RejectedError) as error:
            if isinstance(error, RejectedError) and error.status is None:
                raise  # nobody was asked: a fresh link leads to the same place, and costs a call
            fresh = await self._links_anew(plan, task)
            if isinstance(error, RejectedError) and (fresh is None or fresh == links):
                raise
            links = links if fresh is None else fresh[:MOST_FILES]
            found = await self._all(plan, links, known, task, without_gone=True)
        if found or known:
            await account.store.media.keep(
                account.name, plan.name, task.external_id, found, scope=account.scope, fence=account.fence
            )
        return bool(found)

    async def _all(
        self,
        plan: ResourcePlan,
        links: Sequence[str],
        known: Sequence[Medium],
        task: Task,
        *,
        without_gone: bool = False,
    ) -> list[Medium]:
        by_url = {one.url: one for one in known}
        found = []
        for place, link in enumerate(links):
            try:
                found.append(await self._one(plan, place, link, by_url.get(_plain(link)), task))
            except GoneError:
                if not without_gone:
                    raise  # the link may only have grown old
        return found

    async def _one(self, plan: ResourcePlan, place: int, link: str, before: Medium | None, task: Task) -> Medium:
        account, depot = self._account, self._depot
        headers: dict[str, str] = {}
        if before is not None and depot.holds(before.sha256):
            headers = _known_by(before)
        request = Request(
            link,
            route=f"{plan.name} media",
            headers=headers,
            budget=plan.resource.budget,
            group=f"{plan.resource.group or plan.name} media",
            deadline_seconds=LONGEST_SECONDS,
        )
        with depot.grow() as growing:
            response = await account.session.call(request, lane=task.lane, into=growing)
            if response.status_code == 304 and before is not None and headers:
                return replace(before, place=place)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 200 or kind == _HTML:
                raise TransientError(f"{plan.name}: a page for people came where a file was due", breaks=False)
            digest = growing.keep()
            return Medium(
                place,
                _plain(link),
                digest,
                growing.size,
                kind[:200],
                _header(response, "etag"),
                _header(response, "last-modified"),
                response.requested_at or account.clock.now(),
            )

    async def _links_anew(self, plan: ResourcePlan, task: Task) -> list[str] | None:
        """The record's links as the partner gives them now; None where it cannot be asked."""
        account = self._account
        request = account.driver.one(plan.resource, task.external_id or "")
        if request is None:
            return None
        try:
            raw: Raw | None = account.driver.item(
                plan.resource, await account.session.call(request, lane=task.lane)
            ).raw
        except (GoneError, PayloadError):
            return None
        return plan.resource.links(raw) if raw is not None else None


def _plain(link: str) -> str:
    """A link without its query and fragment: those may hold a signature, and it changes with each reading."""
    return link.partition("#")[0].partition("?")[0]


def _known_by(medium: Medium) -> dict[str, str]:
    told = {"If-None-Match": medium.etag, "If-Modified-Since": medium.modified}
    return {name: value for name, value in told.items() if value is not None}


def _header(response: Response, name: str) -> str | None:
    value = response.headers.get(name, "").strip()
    return value if 0 < len(value) <= 500 and checked_header(name, value) else None


async def ask_for_lacking(account: Account, plan: ResourcePlan) -> int:
    """After a complete pass: tasks for records whose files are lacking, above all where they were just asked for."""
    if account.depot is None or plan.resource.media is None:
        return 0
    after, asked = "", 0
    while found := await account.store.media.lacking(account.name, plan.name, after=after, limit=LACKING_AT_ONCE):
        after = found[-1][0]
        tasks = [
            NewTask.media(plan.name, external_id, "its files are lacking")
            for external_id, raw in found
            if isinstance(raw, dict) and plan.resource.links(raw)
        ]
        if tasks:
            await account.store.tasks.put(account.name, *tasks)
            asked += len(tasks)
    if asked:
        account.tasks_added()
    return asked


async def clear(account: Account) -> int:
    """Remove the files that no record has any more, a day after they came; returns how many."""
    depot = account.depot
    if depot is None:
        return 0
    await account.store.media.forget(account.name)
    before = account.clock.now().timestamp() - KEPT_SECONDS
    found = await to_thread.run_sync(lambda: list(depot.digests(before)))
    removed = 0
    for first in range(0, len(found), LACKING_AT_ONCE):
        chunk = found[first : first + LACKING_AT_ONCE]
        wanted = await account.store.media.wanted(chunk)
        for digest in chunk:
            if digest not in wanted:
                depot.drop(digest)
                removed += 1
    return removed
