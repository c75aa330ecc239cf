"""Tasks and deliveries as spans: each in the trace of what caused it, though they share calls and transactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime

from syncd import spans
from syncd.store import Task
from syncd.store.inbox import Taken
from syncd.sync.account import Account

STORED = {"db.system.name": "postgresql", "db.operation.name": "INSERT", "db.collection.name": "syncd.records"}


@contextmanager
def traced(batch: Sequence[Task], partner: str) -> Iterator[None]:
    """Round a batch of tasks. Their calls stand below the first one; the others are linked to it."""
    if not spans.on():
        yield
        return
    with ExitStack() as stack:
        first = _enter(stack, batch[0], partner, ())
        for task in batch[1:]:
            _enter(stack, task, partner, (first,))
        with spans.within(first):
            yield


def _enter(stack: ExitStack, task: Task, partner: str, links: Sequence[spans.Span]) -> spans.Span:
    told = {
        "syncd.partner": partner,
        "syncd.integration": task.integration,
        "syncd.resource": task.resource,
        "syncd.task_id": task.id,
        "syncd.attempt": task.attempts,
    }
    name = f"task {task.kind} {task.resource}"
    key = spans.key_of(task.integration, task.cause)
    return stack.enter_context(spans.span(name, "consumer", told, trace=key, links=links, apart=True))


def deliveries(account: Account, taken: Sequence[Taken], began_at: datetime, stored: int) -> None:
    """What became of deliveries that were worked on together. `stored`: so many rows they brought."""
    if not spans.on():
        return
    now = account.clock.now()
    below: list[tuple[str, spans.Kind, spans.Attributes]] = []
    if stored:
        below.append(("INSERT syncd.records", "client", {**STORED, "db.operation.batch.size": stored}))
    for one in taken:
        told = {
            "syncd.partner": account.partner,
            "syncd.integration": account.name,
            "syncd.delivery_id": one.id,
            "syncd.attempt": one.attempts + 1,
        }
        key = spans.webhook_key(account.name, one.event_id)
        spans.record("process delivery", "consumer", told, began_at, now, trace=key, below=below)
