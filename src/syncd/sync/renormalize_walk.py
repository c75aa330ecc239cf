"""One renormalization from its cursor on: the records, a batch ahead of being stored, then the rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from syncd import codec, metrics
from syncd.errors import PayloadError
from syncd.kit import Item
from syncd.model import History
from syncd.store import Batch, PageWrite, Reject, Renormalization, Reread, StoredRaw
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.page import PageIn, PageRead, merged
from syncd.sync.plan import ResourcePlan
from syncd.sync.shadow import UNREAD, differing, example
from syncd.sync.unsound import FAULTS, said, unsound

BATCH = 1_000
EXAMPLES = 20
BEFORE = timedelta(seconds=30)
"""A reject is dated that much before it was stored: what was stored since its request began is newer (R7)."""


@dataclass(slots=True)
class _Read:
    """A batch, read by the adapter and not yet stored."""

    batch: Batch
    rows: list[Reread]
    rejects: list[Reject]
    last: bool


class Walk:
    """One of them, from its cursor on."""

    def __init__(self, account: Account, plan: ResourcePlan, one: Renormalization, fence: int) -> None:
        self._account = account
        self._plan = plan
        self._one = one
        self._fence = fence
        self._cursor, self._phase = one.cursor, one.phase
        self.told: Counter[str] = Counter()

    async def run(self, going: Callable[[], bool]) -> bool:
        """Work on it as long as `going` says so. True: it has come to its end."""
        if self._phase == "records" and not await self._records(going):
            return False
        while going():
            if not await self._rejects():
                return True
            self._account.moved()
        return False

    # -- records

    async def _records(self, going: Callable[[], bool]) -> bool:
        """While a batch is being stored the next one is read, each by its own connection."""
        async with Ahead[_Read]() as reading:
            reading.push(self._read_after(self._cursor))
            while going():
                read = await reading.pop()
                if not read.last:
                    reading.push(self._read_after(read.batch.last_id))
                page = self._page(PageRead(rejects=read.rejects)) if read.rejects and not self._one.dry else None
                await self._commit(read.batch, read.rows, page, phase="rejects" if read.last else None)
                self._cursor = read.batch.last_id
                self._account.moved()
                if read.last:
                    self._phase = "rejects"
                    return True
        return False

    async def _read_after(self, external_id: str) -> _Read:
        one, store = self._one, self._account.store.renormalizations
        whole = one.dry or self._plan.resource.sparse
        found = await store.records(one.integration, one.resource, after=external_id, limit=BATCH, whole=whole)
        last = len(found) < BATCH
        batch = Batch(seen=len(found), last_id="" if last else found[-1].external_id)
        rows, rejects = self._reread(found, batch)
        return _Read(batch, rows, rejects, last)

    def _reread(self, found: Sequence[StoredRaw], batch: Batch) -> tuple[list[Reread], list[Reject]]:
        driver, resource = self._account.driver, self._plan.resource
        rows: list[Reread] = []
        rejects: list[Reject] = []
        fields: Counter[str] = Counter()
        examples: list[dict[str, Any]] = []
        for record in found:
            adapter = self._one.adapter or self._plan.adapter_of(record.external_id)
            _, read, hashable = driver.reading(resource, adapter)
            try:
                told = record.raw if hashable is None else hashable(record.raw)
                _, digest = codec.fingerprint(told, adapter)
                made = read(record.raw)
                if resource.sparse and record.data is not None:  # what its raw no longer tells stays as it is
                    known = resource.mapped(adapter)
                    made = {**{name: value for name, value in record.data.items() if name in known}, **made}
                mapped = codec.dumps_storable(made)
            except FAULTS as error:
                batch.rejected += 1
                fields[UNREAD] += 1
                examples.append({"id": record.external_id, "refused": said(error)[:200]})
                reject = unsound(self._plan.name, record.external_id, record.raw, error, self._cause)
                reject.adapter = adapter
                rejects.append(reject)
                continue
            if self._one.dry and record.data is not None:
                there = codec.loads(mapped)
                names = differing(record.data, there)
                batch.changed += bool(names)
                batch.unchanged += not names
                fields.update(names)
                if names and len(examples) < EXAMPLES:
                    shown = example(record.data, there, names)
                    examples.append({"id": record.external_id, "from": record.adapter, "to": adapter, "fields": shown})
            else:
                rows.append(Reread(record.external_id, record.content_hash, digest, mapped, adapter))
        batch.fields, batch.examples = fields, examples[-EXAMPLES:]
        return rows, rejects

    # -- rejects

    async def _rejects(self) -> bool:
        """A reject that is sound now becomes a record; one that is not stays as it is."""
        account, one = self._account, self._one
        found = await account.store.renormalizations.rejects(
            one.integration, one.resource, after=self._cursor, limit=BATCH
        )
        batch = Batch(last_id=found[-1][0] if found else self._cursor)
        ended = len(found) < BATCH
        pages, keys = [], []
        for key, raw, last_at in found:
            try:
                record = codec.loads(raw)
            except PayloadError:
                continue
            if isinstance(record, dict):
                pages.append(PageIn([Item(one.resource, record)], last_at - BEFORE, self._cause, listing=False))
                keys.append(key)
        page = None
        if pages and (one.adapter is None or not one.dry):
            reads = await account.processor.read_all(
                one.resource, pages, rejected={(one.resource, key) for key in keys}
            )
            healing = {}
            for read, key in zip(reads, keys, strict=True):
                if read.rejects:
                    read.rejects, read.rows, read.healed, read.tasks = [], [], [], []
                elif read.rows and not one.dry:
                    read.healed, healing[key] = [], read.rows[0].external_id
                else:  # it is stored as it is
                    batch.healed += 1
                    read.healed = [(one.resource, key)]
            whole, batch.healing, batch.readable = merged(reads), healing, self._plan.resource.one is not None
            if not one.dry:
                page = self._page(whole)
        await self._commit(batch, [], page, ended=ended)
        self._cursor = batch.last_id
        return not ended

    # -- both

    @property
    def _cause(self) -> str:
        return f"renormalize {self._one.id}"

    def _page(self, read: PageRead) -> PageWrite:
        return self._account.write(self._plan.name, self._cause, read, fence=self._fence)

    async def _commit(
        self,
        batch: Batch,
        rows: Sequence[Reread],
        page: PageWrite | None,
        *,
        phase: str | None = None,
        ended: bool = False,
    ) -> None:
        account, one = self._account, self._one
        done = await account.store.renormalizations.commit(
            one,
            batch,
            at=(self._phase, self._cursor),
            scope=account.scope,
            fence=self._fence,
            rows=rows,
            history=self._plan.history is not History.OFF,
            page=page,
            phase=phase,
            ended=ended,
        )
        for what in ("changed", "unchanged", "passed", "rejected", "healed"):
            number = getattr(done, what)
            if number:
                self.told[what] += number
                if not one.dry:
                    metrics.RENORMALIZED.labels(one.integration, one.resource, what).inc(number)
        if (page is not None and page.tasks) or done.asked:
            account.tasks_added()
