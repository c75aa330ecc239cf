"""What `syncd verify` does, step by step, through the running daemon: its limits, its queue of pushes, its credential.

The record it makes is marked in its title and by the key of its push, which is a row before anything leaves. So whatever
dies in between, the next check finds what was made and ends it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from syncd.cli.exits import Exit
from syncd.cli.link import Link, Unreachable
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


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str
    do: str = ""
    seconds: float = 0.0
    exit: Exit = Exit.OK


class StepError(Exception):
    """A step did not go well: what was seen, what to do, and the exit code it means."""

    def __init__(self, detail: str, do: str = "", exit: Exit = Exit.FAILURES) -> None:
        super().__init__(detail)
        self.do = do
        self.exit = exit


@dataclass(slots=True)
class Check:
    """One run of `syncd verify` of one integration."""

    link: Link
    public: Link
    store: Store
    clock: Clock
    integration: str
    canary: Canary | None
    mark: str
    record: str | None = None
    made: list[str] = field(default_factory=list)
    """Marks of checks whose record may be there and open."""
    sent: bool = False
    """Has a push left us that makes one?"""

    async def run(self) -> AsyncGenerator[Step]:
        """Each step as it ends. What was made is ended whatever happens, also where nobody listens any more."""
        ended = True
        try:
            async for step in self._before():
                yield step
                if not step.ok:
                    return
            if self.canary is not None:
                ended = False
                for name, work in (("create", self._create), ("read back", self._read), ("copy", self._copied)):
                    step = await self._step(name, work)
                    yield step
                    if not step.ok:
                        break
                if self.sent:
                    ended = True
                    yield await self._step("close", self._close)
                ended = True
            else:
                yield await self._step("data", self._fresh)
            yield await self._step("metrics", self._metrics)
        finally:
            if not ended and self.sent:
                self.ask_to_close()

    async def _before(self) -> AsyncIterator[Step]:
        yield await self._step("health", self._health)
        yield await self._step("partner", self._partner)
        if self.canary is not None:
            yield await self._step("left over", self._left_over)

    async def _step(self, name: str, work: Callable[[], Awaitable[str]]) -> Step:
        began = self.clock.monotonic()
        try:
            detail = await work()
            return Step(name, True, detail, seconds=self.clock.monotonic() - began)
        except StepError as wrong:
            detail, do, code = str(wrong), wrong.do, wrong.exit
        except Unreachable as away:
            detail, do, code = f"{away.what}: {away.why}", away.do, Exit.UNREACHABLE
        except Failure as failed:
            detail, do, code = failed.why or failed.what, failed.do, Exit(failed.exit_code)
        return Step(name, False, detail, do, self.clock.monotonic() - began, code)

    # -- the steps

    async def _health(self) -> str:
        status, body = self.public.probe("/health")
        told = _object(body)
        service = told.get("services", {}).get(self.integration)
        if status != 200:
            raise StepError(f"/health answered {status}: {', '.join(told.get('stuck', []))}", "systemctl restart syncd")
        if service is None:
            raise StepError("/health does not name it", "enable it in its file; then: syncd reload --wait")
        if service["status"] == "paused":
            raise StepError(
                f"it is paused: {service.get('reason', '')}", f"syncd resume {self.integration}", Exit.TRY_LATER
            )
        why = f": {service['reason']}" if service.get("reason") and service["status"] != "healthy" else ""
        return f"{service['status'].replace('_', ' ')}{why}"

    async def _partner(self) -> str:
        told = self.link.post("test", {"integration": self.integration}, seconds=90.0)
        took = "" if told.get("latency_ms") is None else f" in {told['latency_ms']:.0f} ms"
        if told["ok"]:
            return f"let us in: {told['status']}{took}"
        why = told.get("explanation") or {}
        raise StepError(
            str(why.get("reason") or f"answered {told.get('status')}"),
            str(why.get("action") or f"syncd credential test {self.integration}"),
            Exit.REFUSED if told.get("refused") else Exit.TRY_LATER,
        )

    async def _left_over(self) -> str:
        """Records of checks that were cut off."""
        ended = []
        for mark, (record, closes) in sorted((await self._unended()).items()):
            if record is None:
                raise StepError(
                    f"the push of check {mark} is not over: a record of it may be made yet",
                    f"syncd push list {self.integration}",
                    Exit.TRY_LATER,
                )
            await self._ended(mark, record, closes)
            ended.append(record)
        return "none" if not ended else f"ended what a check before had made: {', '.join(ended)}"

    async def _create(self) -> str:
        canary = self._one
        expires = (self.clock.now() + timedelta(seconds=PUSH_SECONDS)).isoformat()
        said = {"kind": canary.create.kind, "data": canary.create.marked(self.mark), "expires_at": expires}
        self.sent = True
        row = await self._pushed({**said, "key": f"{KEY}:{self.mark}:create"}, PUSH_SECONDS + READ_SECONDS)
        self.record = row["record"]
        if self.record is None:
            raise StepError(
                "it was made, and its answer named no id", f"syncd push show {self.integration} {row['id']}"
            )
        return f"{canary.resource} {self.record}, marked {self.mark} (push {row['id']})"

    async def _read(self) -> str:
        """By a read of its own, made by the daemon in the high lane."""
        canary = self._one
        if canary.kept_out:
            return f"not read: {canary.kept_out}"
        before = await self._stored()
        said = {"integration": self.integration, "resource": canary.resource, "id": self.record}
        self.link.post("sync", said)
        after = None if before is None else before[0]
        return f"read by its id: {await self._shown(canary.create.shows, after)}"

    async def _copied(self) -> str:
        found = await self._stored()
        if self._one.kept_out:
            if found is not None:
                raise StepError("it is in syncd.records and was to be kept out", "a fault of the driver: report it")
            return f"kept out: {self._one.kept_out}"
        if found is None:
            raise StepError("syncd.records has it not", f"syncd dlq list {self.integration}")
        return f"syncd.records has it, version {found[2]}"

    async def _close(self) -> str:
        marks = await self._unended()
        record, closes = marks.get(self.mark, (self.record, ()))
        record = record or self.record
        if record is None:
            raise StepError(
                "whether it was made is not known yet",
                f"the next check finds it: syncd verify {self.integration}",
                Exit.TRY_LATER,
            )
        return await self._ended(self.mark, record, closes)

    async def _fresh(self) -> str:
        """Of a driver that makes no record: when its data came last."""
        status = self.link.get("status")
        mine = next((one for one in status["integrations"] if one["name"] == self.integration), None)
        if mine is None:
            raise StepError("the status does not name it", "syncd reload --wait")
        good = [one["name"] for one in mine["resources"] if one["last_success_at"]]
        if not good:
            raise StepError("nothing has been read yet", f"syncd sync {self.integration}", Exit.TRY_LATER)
        records = sum(one["records"] or 0 for one in mine["resources"])
        return f"{len(good)} of {len(mine['resources'])} resources were read, {records:,} records; nothing was made"

    async def _metrics(self) -> str:
        status, body = self.public.probe("/metrics")
        series = sum(bool(line) and not line.startswith("#") for line in body.splitlines())
        if status != 200 or not series:
            raise StepError(f"/metrics answered {status} with {series} series", "journalctl -u syncd -n 50")
        return f"/metrics answers, {series:,} series"

    # -- what they are made of

    @property
    def _one(self) -> Canary:
        assert self.canary is not None
        return self.canary

    async def _ended(self, mark: str, record: str, closes: Sequence[Mapping[str, Any]]) -> str:
        """End it, by the push that is under way already, or by one more."""
        going = next((row for row in closes if row["state"] not in OVER), None)
        if going is not None:
            row = await self._over(dict(going), PUSH_SECONDS)
        else:
            row = await self._pushed(self._closing(mark, record, len(closes)), PUSH_SECONDS)
        canary = self._one
        if canary.kept_out or not canary.close.shows:
            return f"{canary.resource} {record} is ended (push {row['id']})"
        self.record = record
        return f"{canary.resource} {record} is ended: {await self._shown(canary.close.shows, None)} (push {row['id']})"

    def _closing(self, mark: str, record: str, before: int) -> dict[str, Any]:
        close = self._one.close
        return {"kind": close.kind, "data": close.marked(mark), "id": record, "key": f"{KEY}:{mark}:close:{before + 1}"}

    def ask_to_close(self) -> None:
        """For whoever is interrupted: leave the wish, and do not wait. Without an id yet the next check ends it."""
        if self.record is not None:
            said = {"integration": self.integration, "resource": self._one.resource}
            try:
                self.link.post("pushes", {**said, **self._closing(self.mark, self.record, 0)})
            except Failure:
                return  # the next check finds it

    async def _pushed(self, said: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        common = {"integration": self.integration, "resource": self._one.resource, "cause": "syncd verify"}
        return await self._over(self.link.post("pushes", {**common, **said})["push"], seconds)

    async def _over(self, row: dict[str, Any], seconds: float) -> dict[str, Any]:
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
            raise StepError(f"push {row['id']} failed: {reason}", "syncd dlq list " + self.integration)
        raise StepError(f"push {row['id']} is {row['state']}: {reason}", show, Exit.TRY_LATER)

    async def _shown(self, wanted: Mapping[str, Sequence[Any]], after: datetime | None) -> str:
        """Wait until the copy shows one of these, by a read later than `after`."""
        until = self.clock.monotonic() + READ_SECONDS
        while True:
            found = await self._stored()
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

    async def _stored(self) -> tuple[datetime, Mapping[str, Any], int] | None:
        """When it was read last, what it says, its version."""
        if self.record is None:
            return None
        found = await self.store.records.get(self.integration, self._one.resource, self.record)
        return None if found is None else (found.fetched_at, found.data, found.row_version)

    async def _unended(self) -> dict[str, tuple[str | None, list[Mapping[str, Any]]]]:
        """By mark: the record a check made (None: not known yet) and has not ended, and its pushes that were to."""
        query = {"integration": self.integration, "resource": self._one.resource, "limit": MOST_PUSHES}
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
        }


def _object(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
