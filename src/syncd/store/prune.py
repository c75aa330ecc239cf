"""Retention: old rows go in small steps, so that no statement holds anything for long.

Nothing unprocessed is ever pruned, and keys outlive payloads: an inbox row first loses its body, and goes later, so the
same event stays known as seen. Each rule is done by itself: what keeps one from being done keeps back no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.database import Database
from syncd.store.prune_steps import Passes, Progress, Tombstones, Walk, WalkRule

log = structlog.get_logger()

WANTED_SECONDS = (0.1, 0.5)
"""A step that takes less is followed by a larger one, a step that takes more by a smaller one."""
GROWTH = 20
"""Rows of the largest step, as a multiple of the first one's."""
TRIES = 3
"""Of one step, each smaller than the one before."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each table keeps what is over and done with."""

    changes: timedelta = timedelta(days=90)
    runs: timedelta = timedelta(days=30)
    inbox_bodies: timedelta = timedelta(days=7)
    inbox_keys: timedelta = timedelta(days=30)
    outbox: timedelta = timedelta(days=30)
    rejects: timedelta = timedelta(days=90)
    dead_letters: timedelta = timedelta(days=30)
    """Of those replayed or discarded; open ones stay."""
    tombstones: timedelta = timedelta(days=90)
    audit_log: timedelta = timedelta(days=400)


@dataclass(slots=True)
class Pruned:
    """What one round did, by rule: the table's name, and `inbox_bodies` for deliveries that lost their payload."""

    removed: dict[str, int] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    """Rows that had to be looked at."""
    unfinished: dict[str, str] = field(default_factory=dict)
    """Rules that are not done, and why."""


_OVER = "{t}.finished_at < $1 AND {t}.state IN ('done', 'dropped')"
_NOT_THE_LAST = (
    "{t}.id < (SELECT max(n.id) FROM syncd.runs n WHERE n.integration = {t}.integration AND n.resource = {t}.resource)"
)
_ID = (("id", "bigint"),)
_OF_EACH = (("integration", "text"), ("id", "bigint"))

RULES: tuple[WalkRule | type[Tombstones] | type[Passes], ...] = (
    WalkRule("inbox_bodies", "inbox_bodies", "inbox", _ID, f"{_OVER} AND {{t}}.body IS NOT NULL", "received_at", True, True),
    WalkRule("inbox", "inbox_keys", "inbox", _ID, _OVER, "received_at", True),
    WalkRule("changes", "changes", "changes", _ID, "{t}.changed_at < $1", "changed_at"),
    WalkRule("runs", "runs", "runs", _ID, f"{{t}}.ended_at < $1 AND {_NOT_THE_LAST}", "started_at", True),
    WalkRule("backfills", "runs", "backfills", _OF_EACH, "{t}.ended_at < $1 AND {t}.state NOT IN ('waiting', 'running')"),
    WalkRule("renormalizations", "runs", "renormalizations", _OF_EACH, "{t}.ended_at < $1"),
    WalkRule("outbox", "outbox", "outbox", _ID, _OVER, "created_at", True),
    WalkRule(
        "rejects",
        "rejects",
        "rejects",
        (("integration", "text"), ("resource", "text"), ("external_id", "text")),
        "{t}.last_at < $1",
    ),
    WalkRule(
        "refusals",
        "changes",
        "refusals",
        (("integration", "text"), ("resource", "text"), ("external_id", "text")),
        "{t}.last_at < $1",
    ),
    WalkRule("dead_letters", "dead_letters", "dead_letters", _ID, "{t}.settled_at < $1 AND {t}.state <> 'open'", "buried_at"),
    WalkRule("replays", "dead_letters", "replays", _OF_EACH, "{t}.ended_at < $1"),
    Tombstones,
    WalkRule("audit_log", "audit_log", "audit_log", _ID, "{t}.at < $1", "at", True),
    Passes,
)  # fmt: skip


class Prune:
    """The nightly broom. When it runs is the engine's business."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._under_way: dict[str, Progress] = {}

    async def run(
        self,
        retention: Retention,
        *,
        only: Collection[str] | None = None,
        batch: int = 1000,
        pause_seconds: float = 0.05,
        most_seconds: float = 1800.0,
    ) -> Pruned:
        """Remove what is older than its retention; `only` these rules.

        A step looks at `batch` rows, or more while that is quick, and is followed by a pause as long as it took. A rule that
        is not done after `most_seconds` lets the others go on, and goes on where it stood when it is asked for again, as
        does one that failed. Never raises StoreError.
        """
        done = Pruned()
        now = self._database.clock.now()
        for rule in RULES:
            if only is not None and rule.name not in only:
                continue
            progress = self._under_way.pop(rule.name, None)
            if progress is None:
                before = now - getattr(retention, rule.keep)
                progress = (
                    Walk(self._database, rule, before, now)
                    if isinstance(rule, WalkRule)
                    else rule(self._database, before, now)
                )
            try:
                over = await self._sweep(progress, Pace(self._database.clock, batch, pause_seconds), most_seconds)
                why = "" if over else f"not over within {most_seconds:.0f} s; it goes on where it stands"
            except StoreError as error:
                why = str(error)
            except Exception as error:
                log.exception("prune_crashed", table=rule.name)
                why = f"a defect: {type(error).__name__}"
            done.looked[rule.name], done.removed[rule.name] = progress.counted()
            if why:
                self._under_way[rule.name] = progress
                done.unfinished[rule.name] = why
        return done

    async def _sweep(self, progress: Progress, pace: Pace, most_seconds: float) -> bool:
        began, failures = pace.clock.monotonic(), 0
        while True:
            stepped = pace.clock.monotonic()
            try:
                over = await progress.step(pace.size)
            except StoreError:
                failures += 1
                if failures == TRIES:
                    raise
                pace.falter()
                await pace.clock.sleep(1.0)
                continue
            failures = 0
            elapsed = pace.clock.monotonic() - stepped
            if over:
                return True
            if pace.clock.monotonic() - began >= most_seconds:
                return False
            await pace.rest(elapsed)


class Pace:
    """How many rows a step looks at: as many as take a fraction of a second."""

    def __init__(self, clock: Clock, batch: int, pause_seconds: float) -> None:
        self.clock = clock
        self.size = batch
        self._batch = batch
        self._pause_seconds = pause_seconds

    async def rest(self, elapsed: float) -> None:
        if elapsed < WANTED_SECONDS[0]:
            self.size = min(self.size * 2, self._batch * GROWTH)
        elif elapsed > WANTED_SECONDS[1]:
            self.size = max(self.size // 2, 1)
        await self.clock.sleep(max(self._pause_seconds, elapsed) if self._pause_seconds else 0.0)

    def falter(self) -> None:
        """A step was too much for the database."""
        self.size = max(self.size // 8, 1)
