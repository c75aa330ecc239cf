"""What `syncd verify` does, step by step, through the running daemon: its limits, its queue of pushes, its credential."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from syncd.cli.exits import Exit, exit_of
from syncd.cli.link import Link, Unreachable
from syncd.cli.output import Failure
from syncd.cli.verify_record import KEY, PUSH_SECONDS, READ_SECONDS, Marked, StepError
from syncd.errors import SyncdError

if TYPE_CHECKING:
    from syncd.clock import Clock


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str
    do: str = ""
    seconds: float = 0.0
    exit: Exit = Exit.OK


@dataclass(slots=True)
class Check:
    """One run of `syncd verify` of one integration."""

    link: Link
    public: Link
    clock: Clock
    integration: str
    marked: Marked | None
    """What is made; None: nothing."""
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
            if self.marked is not None:
                ended = False
                for name, work in (("create", self._create), ("read back", self._read), ("copy", self._copied)):
                    step = await self._step(name, work)
                    yield step
                    if not step.ok:
                        break
                if self.sent:
                    step = await self._step("close", self._close)
                    ended = True
                    yield step
                ended = True
            else:
                yield await self._step("data", self._fresh)
            yield await self._step("metrics", self._metrics)
        finally:
            if not ended and self.sent:
                self._one.ask_to_close()

    async def _before(self) -> AsyncIterator[Step]:
        yield await self._step("health", self._health)
        yield await self._step("partner", self._partner)
        if self.marked is not None:
            yield await self._step("left over", self._left_over)

    @property
    def _one(self) -> Marked:
        assert self.marked is not None
        return self.marked

    async def _step(self, name: str, work: Callable[[], Awaitable[str]]) -> Step:
        began = self.clock.monotonic()
        try:
            detail = await work()
            return Step(name, True, detail, seconds=self.clock.monotonic() - began)
        except StepError as wrong:
            detail, do, code = str(wrong), wrong.do, wrong.exit
        except SyncdError as error:
            detail, do, code = str(error), error.hint, exit_of(error)
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
        for mark, (record, closes) in sorted((await self._one.unended()).items()):
            if record is None:
                raise StepError(
                    f"the push of check {mark} is not over: a record of it may be made yet",
                    f"syncd push list {self.integration}",
                    Exit.TRY_LATER,
                )
            await self._one.ended(mark, record, closes)
            ended.append(record)
        return "none" if not ended else f"ended what a check before had made: {', '.join(ended)}"

    async def _create(self) -> str:
        canary = self._one.canary
        expires = (self.clock.now() + timedelta(seconds=PUSH_SECONDS)).isoformat()
        said = {"kind": canary.create.kind, "data": canary.create.marked(self._one.mark), "expires_at": expires}
        self.sent = True
        row = await self._one.pushed({**said, "key": f"{KEY}:{self._one.mark}:create"}, PUSH_SECONDS + READ_SECONDS)
        self._one.record = row["record"]
        if self._one.record is None:
            raise StepError(
                "it was made, and its answer named no id", f"syncd push show {self.integration} {row['id']}"
            )
        return f"{canary.resource} {self._one.record}, marked {self._one.mark} (push {row['id']})"

    async def _read(self) -> str:
        """By a read of its own, made by the daemon in the high lane."""
        canary = self._one.canary
        if canary.kept_out:
            return f"not read: {canary.kept_out}"
        before = await self._one.stored()
        said = {"integration": self.integration, "resource": canary.resource, "id": self._one.record}
        self.link.post("sync", said)
        after = None if before is None else before[0]
        return f"read by its id: {await self._one.shown(canary.create.shows, after)}"

    async def _copied(self) -> str:
        found = await self._one.stored()
        if self._one.canary.kept_out:
            if found is not None:
                raise StepError("it is in syncd.records and was to be kept out", "a fault of the driver: report it")
            return f"kept out: {self._one.canary.kept_out}"
        if found is None:
            raise StepError("syncd.records has it not", f"syncd dlq list {self.integration}")
        return f"syncd.records has it, version {found[2]}"

    async def _close(self) -> str:
        marks = await self._one.unended()
        record, closes = marks.get(self._one.mark, (self._one.record, ()))
        record = record or self._one.record
        if record is None and self._one.mark not in marks:
            return "nothing was made: there is nothing to end"
        if record is None:
            raise StepError(
                "whether it was made is not known yet",
                f"the next check finds it: syncd verify {self.integration}",
                Exit.TRY_LATER,
            )
        return await self._one.ended(self._one.mark, record, closes)

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
        return f"{len(good)} of {len(mine['resources'])} resources read, {records:,} records; nothing is made"

    async def _metrics(self) -> str:
        status, body = self.public.probe("/metrics")
        series = sum(bool(line) and not line.startswith("#") for line in body.splitlines())
        if status != 200 or not series:
            raise StepError(f"/metrics answered {status} with {series} series", "journalctl -u syncd -n 50")
        return f"/metrics answers, {series:,} series"


def _object(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
