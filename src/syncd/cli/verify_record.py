"""The record `syncd verify` makes: pushed through the daemon's outbox, looked for in the copy, found again after a kill.

It is marked in its title and by the key of its push, which is a row before anything leaves. So whatever dies in between, the
next check finds what was made and ends it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from syncd.cli.exits import Exit
from syncd.cli.link import Link
from syncd.cli.output import Failure

if TYPE_CHECKING:
    from syncd.clock import Clock
    from syncd.kit import Canary
    from syncd.store import Store

KEY = "syncd-verify"
OVER = frozenset({"done", "dropped", "buried"})
PUSH_SECONDS = 90.0
"""How long one push may take, waiting for limits and all; what has not left by then is dropped."""
READ_SECONDS = 60.0
LOOK_SECONDS = 0.2
MOST_PUSHES = 1000


class StepError(Exception):
    """A step did not go well: what was seen, what to do, and the exit code it means."""

    def __init__(self, detail: str, do: str = "", exit: Exit = Exit.FAILURES) -> None:
        super().__init__(detail)
        self.do = do
        self.exit = exit


@dataclass(slots=True)
class Marked:
    """The record of one check."""

    link: Link
    store: Store
    clock: Clock
    integration: str
    canary: Canary
    mark: str
    record: str | None = None
    """The partner's id of it."""

    async def ended(self, mark: str, record: str, closes: Sequence[Mapping[str, Any]]) -> str:
        """End it, by the push that is under way already, or by one more."""
        going = next((row for row in closes if row["state"] not in OVER), None)
        if going is not None:
            row = await self.over(dict(going), PUSH_SECONDS)
        else:
            row = await self.pushed(self.closing(mark, record, len(closes)), PUSH_SECONDS)
        canary = self.canary
        if canary.kept_out or not canary.close.shows:
            return f"{canary.resource} {record} is ended (push {row['id']})"
        self.record = record
        return f"{canary.resource} {record} is ended: {await self.shown(canary.close.shows, None)} (push {row['id']})"

    def closing(self, mark: str, record: str, before: int) -> dict[str, Any]:
        close = self.canary.close
        return {"kind": close.kind, "data": close.marked(mark), "id": record, "key": f"{KEY}:{mark}:close:{before + 1}"}

    def ask_to_close(self) -> None:
        """For whoever is interrupted: leave the wish, and do not wait. Without an id yet the next check ends it."""
        if self.record is not None:
            said = {"integration": self.integration, "resource": self.canary.resource}
            try:
                self.link.post("pushes", {**said, **self.closing(self.mark, self.record, 0)})
            except Failure:
                return  # the next check finds it

    async def pushed(self, said: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        common = {"integration": self.integration, "resource": self.canary.resource, "cause": "syncd verify"}
        return await self.over(self.link.post("pushes", {**common, **said})["push"], seconds)

    async def over(self, row: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Wait until it is done. Raises StepError where it is not, or ends otherwise."""
        until = self.clock.monotonic() + seconds
        while row["state"] not in OVER and self.clock.monotonic() < until:
            await self.clock.sleep(LOOK_SECONDS)
            row = self.link.get("pushes/one", {"integration": self.integration, "id": row["id"]})["push"]
        if row["state"] == "done":
            return row
        show = f"syncd push show {self.integration} {row['id']}"
        reason = row["reason"] or row["state"]
        if row["state"] == "buried":
            do = f"syncd dlq list {self.integration}"
            if (
                row["record"] is not None
            ):  # deleted there by a person? A read finds that out, and it is looked for no more
                do = f"syncd sync {self.integration}/{self.canary.resource} --id {shlex.quote(row['record'])}; {do}"
            raise StepError(f"push {row['id']} failed: {reason}", do)
        raise StepError(f"push {row['id']} is {row['state']}: {reason}", show, Exit.TRY_LATER)

    async def shown(self, wanted: Mapping[str, Sequence[Any]], after: datetime | None) -> str:
        """Wait until the copy shows one of these, by a read later than `after`."""
        until = self.clock.monotonic() + READ_SECONDS
        while True:
            found = await self.stored()
            fresh = found is not None and (after is None or found[0] > after)
            if found is not None and fresh and all(found[1].get(name) in values for name, values in wanted.items()):
                return ", ".join(f"{name} {found[1].get(name)}" for name in wanted) or "it is there"
            if self.clock.monotonic() >= until:
                break
            await self.clock.sleep(LOOK_SECONDS)
        if found is None:
            raise StepError("it did not come into syncd.records", f"syncd status {self.integration}")
        seen = ", ".join(f"{name} {found[1].get(name)}" for name in wanted)
        late = "" if fresh else "; no read of it came back"
        raise StepError(f"the copy says {seen or 'nothing'}{late}", f"syncd status {self.integration}")

    async def stored(self) -> tuple[datetime, Mapping[str, Any], int] | None:
        """When it was read last, what it says, its version."""
        if self.record is None:
            return None
        found = await self.store.records.get(self.integration, self.canary.resource, self.record)
        return None if found is None else (found.fetched_at, found.data, found.row_version)

    async def unended(self) -> dict[str, tuple[str | None, list[Mapping[str, Any]]]]:
        """By mark: the record a check made (None: not known yet) and has not ended, and its pushes that were to."""
        query = {"integration": self.integration, "resource": self.canary.resource, "limit": MOST_PUSHES}
        made: dict[str, Mapping[str, Any]] = {}
        closes: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.link.get("pushes", query)["pushes"]:
            prefix, _, rest = row["key"].partition(":")
            mark, _, what = rest.partition(":")
            if prefix == KEY and what == "create":
                made[mark] = row
            elif prefix == KEY and what.startswith("close"):
                closes.setdefault(mark, []).append(row)
        return {
            mark: (row["record"] if row["state"] == "done" else None, closes.get(mark, []))
            for mark, row in made.items()
            if row["state"] not in {"dropped", "buried"}
            and not any(one["state"] == "done" for one in closes.get(mark, ()))
            and not await self._is_gone(row["record"])
        }

    async def _is_gone(self, record: str | None) -> bool:
        """Did somebody delete it at the partner?"""
        if record is None:
            return False
        found = await self.store.records.get(self.integration, self.canary.resource, record)
        return found is not None and found.deleted_at is not None
