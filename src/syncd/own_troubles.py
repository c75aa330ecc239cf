"""The wording of the daemon's own troubles. A reason is told to everybody, so hosts, users and paths stand in the cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from syncd.explain import NOTHING_TO_DO, Explanation
from syncd.wording import lasting

LOOK = "syncd check --env"
"""What tells more of the database."""


def database_down(why: str, since: datetime | None = None) -> Explanation:
    """Nothing can be read or stored."""
    return Explanation(
        "database-down",
        "the database cannot be used; deliveries are answered 503, so that partners send them again",
        since,
        cause=why,
        action=LOOK,
    )


def alerts_undelivered(why: str, since: datetime) -> Explanation:
    """The address under `alerts` does not take what it is sent."""
    return Explanation(
        "alerts-undelivered",
        "messages about what is wrong could not be delivered to the address under `alerts`",
        since,
        cause=why,
        action="syncd alerts test",
    )


def database_slow(seconds: float, usual: float | None, slow: int, total: int, since: datetime | None) -> Explanation:
    """Statements take long: `slow` of the last `total` did, on average `seconds` all of them."""
    before = f", usually {_short(usual)}" if usual else ""
    return Explanation(
        "database-slow",
        f"the database is slow: a statement takes {_short(seconds)}{before}",
        since,
        cause=f"{slow} of the last {total} statements were slow: its machine is busy, its disk is, or the way there is long",
        action=LOOK,
    )


def disk_full_database(why: str, since: datetime | None) -> Explanation:
    """PostgreSQL has no room left."""
    return Explanation(
        "disk-full",
        "the disk of the database is full: what came last was not stored",
        since,
        cause=why,
        action="make room there, for PostgreSQL cannot: df -h",
    )


def disk_full(what: str, path: str, free: int, size: int) -> Explanation:
    """A directory of ours has next to no room left; sizes in bytes."""
    return Explanation(
        "disk-full",
        f"the disk of the {what} is full: {_bytes(free)} of {_bytes(size)} left",
        cause=f"it is that of {path}",
        action="make room there: df -h",
    )


def queue_stuck(queues: Sequence[str], waiting: int, idle_seconds: float) -> Explanation:
    """Work could be done and is not."""
    return Explanation(
        "queue-stuck",
        f"{waiting:,} waiting in {_listed(queues)} could be done, and nothing has been for {lasting(idle_seconds)}",
        cause="a worker hangs or has ended, or rows are locked by somebody else",
        action="systemctl restart syncd",
    )


def tables_locked(tables: Sequence[str], since: datetime | None) -> Explanation:
    """Statements have waited for a lock until they gave up."""
    return Explanation(
        "queue-stuck",
        f"nothing can be written to {_listed(tables)}: another session in the database holds a lock on it",
        since,
        cause="somebody alters the table, builds an index, or has left a transaction open in another window",
        action=LOOK,
    )


def workers_dead(partners: Mapping[str, tuple[int, int]], since: datetime | None) -> Explanation:
    """Fewer coroutines live than should; by partner how many do, of how many."""
    told = _listed([f"{alive} of {total} of {name}" for name, (alive, total) in sorted(partners.items())])
    return Explanation(
        "workers-dead",
        f"workers have ended: {told} are alive",
        since,
        cause="a fault in syncd or in a driver: the log has it, as partner_crashed",
        action="systemctl restart syncd",
    )


def reload_failed(
    kept: Sequence[str], idle: Sequence[str], first: str, more: int, check: str, since: datetime
) -> Explanation:
    """The files were not taken over; `kept`: partners that run on with their old settings, `idle`: those of which nothing
    runs. Neither: everything runs on."""
    what = []
    if kept or not idle:
        who = f"{_listed(kept)} {'runs' if len(kept) == 1 else 'run'}" if kept else "everything runs"
        what.append(f"{who} on with the settings of before")
    if idle:
        what.append(f"{_listed(idle)} {'does' if len(idle) == 1 else 'do'} not run")
    return Explanation(
        "reload-failed",
        f"the last reload was not applied whole: {', and '.join(what)}",
        since,
        cause=first + (f" (and {more} more)" if more else ""),
        action=check,
    )


def loop_late(seconds: float, stuck: bool, since: datetime | None) -> Explanation:
    """The event loop runs its timers so late."""
    return Explanation(
        "loop-late",
        f"the process is late by {_short(seconds)} with everything it does",
        since,
        cause="something keeps its one thread: a driver that computes for long, or a machine that is too busy",
        action="systemctl restart syncd" if stuck else "journalctl -u syncd --grep loop_step_slow",
    )


def memory_high(used: int, ceiling: int, narrowed: str, since: datetime | None) -> Explanation:
    """Resident memory is above its ceiling; `narrowed`: what is done about it. Sizes in bytes."""
    return Explanation(
        "memory-high",
        f"{_bytes(used)} of memory in use, of {_bytes(ceiling)} it may have" + (f": {narrowed}" if narrowed else ""),
        since,
        cause="large pages or answers, many at once, or something that is kept for too long",
        action="syncd memory --trace 60s",
    )


def old_rows_stay(unfinished: Mapping[str, str], since: datetime | None) -> Explanation:
    """Retention could not remove what is due; by table, why not."""
    tables = sorted(unfinished)
    return Explanation(
        "old-rows-stay",
        f"old rows stay in {_listed(tables)}: the nightly prune did not come to its end",
        since,
        cause="; ".join(dict.fromkeys(unfinished[table] for table in tables)),
        action=f"{NOTHING_TO_DO}, it is tried again every 10 minutes; where it stays: syncd runbook old-rows-stay",
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes everything")
