"""Everything that runs as one picture: what `syncd status`, the page and `/health` show, from memory and few queries."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd import __version__, causes, metrics, standing
from syncd.backfills import Backfills
from syncd.clock import Clock
from syncd.conditions import Condition, Conditions
from syncd.conditions.gauges import OF_DATABASE
from syncd.conditions.ledger import Looked
from syncd.conditions.of_integrations import of_idle, of_integrations
from syncd.conditions.own import Own
from syncd.config import Config
from syncd.depths import Depths
from syncd.errors import StoreError
from syncd.explain import Explanation, Severity, State
from syncd.figures import Figures
from syncd.pushing import Pushing
from syncd.server.ports import STATUS_SCHEMA, HealthReport, ServiceHealth
from syncd.server.refusals import Refused
from syncd.standing import Judged
from syncd.store import Store
from syncd.supervisor import Supervisor
from syncd.sync.account import Account

AFTER_SECONDS = 60.0
"""The database is well again; what it made fail is tried again within so long."""
LOST_SECONDS = 15.0
"""A lease that was ours so lately is likely to be ours again."""
STORE_SECONDS = 5.0
"""Longest that a status waits for the database."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a status takes from rows; nothing, where the database is away."""

    last: standing.By = field(default_factory=dict)
    ended: standing.By = field(default_factory=dict)
    counts: Mapping[tuple[str, str], int] | None = None
    more: Mapping[str, Any] = field(
        default_factory=lambda: {"dead_letters": None, "rejects": None, "pushes": [], "backfills": []}
    )


class Overview:
    """Looks at every integration once, for all who ask at that moment."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        accounts: Callable[[], list[Account]],
        supervisor: Callable[[], Supervisor | None],
        store: Callable[[], Store],
        clock: Clock,
        stuck: Callable[[], list[str]],
        unready: Callable[[], Awaitable[list[str]]],
        refusing: Callable[[], Mapping[str, Explanation]],
        refused: Callable[[], Mapping[str, Refused]],
        depths: Depths,
        figures: Figures,
        pushes: Pushing,
        backfills: Backfills,
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._supervisor = supervisor
        self._store = store
        self._clock = clock
        self._stuck = stuck
        self._unready = unready
        self._refusing = refusing
        self._refused = refused
        self._depths = depths
        self._figures = figures
        self._pushes = pushes
        self._backfills = backfills
        self._started_at = clock.now()
        self.conditions = Conditions(lambda: self._looked(self._judged()), clock, authenticated=self._authenticated)
        self.own = Own(clock)
        self._database_ill_at = -math.inf
        self._held_at: dict[str, float] = {}
        """When each integration's scope was seen to be ours the last time."""
        self._counted: dict[str, State] = {}
        """The state of each integration that the metric shows."""
        self.reminders: Callable[[], Iterable[Condition]] = tuple
        """What is to be said before it becomes a trouble."""

    # -- health ----------------------------------------------------------------------------------------------------

    def health(self) -> HealthReport:
        judged = self._judged()
        self.conditions.look(self._looked(judged))
        return self._health(judged)

    def summary(self) -> str:
        """One line: what `systemctl status` shows too."""
        return self._summary(self.health())

    def _health(self, judged: Sequence[Judged]) -> HealthReport:
        services: dict[str, ServiceHealth] = {}
        here = {one.account.name for one in judged}
        self._counted = {name: state for name, state in self._counted.items() if name in here}
        for one in judged:
            name = one.account.name
            services[name] = ServiceHealth(one.state, one.account.health.latency_ms, one.told)
            if self._counted.get(name) is not one.state:
                self._counted[name] = one.state
                for state in State:
                    metrics.HEALTH.labels(name, str(state)).set(1.0 if state is one.state else 0.0)
        for name, (partner, _) in self._config().integrations.items():
            if (reason := self._broken().get(partner.name)) is not None and partner.is_enabled(name):
                services[name] = ServiceHealth(State.DOWN, None, standing.not_started(reason))
        own = [one.told for one in self.conditions.daemon if one.severity is not Severity.NOTE]
        return HealthReport(services, self._clock.now(), self._stuck(), own)

    def _summary(self, report: HealthReport) -> str:
        states = [service.state for service in report.services.values()]
        if report.stuck:
            return f"STUCK: {', '.join(report.stuck)}"
        parts = [f"{states.count(state)} {state.value.replace('_', ' ')}" for state in State if states.count(state)]
        text = f"{len(states)} integration{'s' if len(states) != 1 else ''}: {', '.join(reversed(parts)) or 'none'}"
        worst = next((one for one in self.conditions.current if one.severity is not Severity.NOTE), None)
        worst = worst or next((one for one in self.conditions.current if one.state is not State.HEALTHY), None)
        if worst is not None:
            text += (
                f". {worst.integration or 'syncd'}: {worst.told.reason}. Do: {worst.told.action or 'see syncd status'}"
            )
        return text

    # -- everything ------------------------------------------------------------------------------------------------

    async def view(self) -> dict[str, Any]:
        """Everything; without the database what this process knows by itself, and `unread` says why there is no more."""
        now = self._clock.now()
        names = [account.name for account in self._accounts()]
        seen, unread = _Seen(), ""
        try:
            async with self._clock.timeout(STORE_SECONDS):
                seen = await self._seen(names)
        except TimeoutError:
            unread = f"the database did not answer within {STORE_SECONDS:.0f} s"
        except StoreError as error:
            unread = str(error)
        ready = await self._unready()
        return self._drawn(seen, unread, ready, now)

    def _drawn(self, seen: _Seen, unread: str, ready: list[str], now: datetime) -> dict[str, Any]:
        """What is shown, of what the rows said: no await in between, so that it all is of one moment."""
        judged = self._judged()
        conditions = self.conditions.look(self._looked(judged))
        supervisor = self._supervisor()
        running = supervisor.running if supervisor is not None else {}
        integrations = [
            standing.integration(
                one,
                running[one.account.partner].runner,
                seen.last,
                seen.ended,
                seen.counts,
                now,
                self.company(one.account.name),
                self._figures.hour(one.account.name),
            )
            for one in judged
        ]
        there = [one.account.name for one in judged]
        integrations += standing.idle(self._config(), self._broken(), there)
        integrations.sort(key=lambda one: (State(one["state"]).rank, one["name"]))
        return {
            "schema": STATUS_SCHEMA,
            "version": __version__,
            "started_at": self._started_at,
            "now": now,
            "summary": self._summary(self._health(judged)),
            "conditions": [one.as_dict() for one in conditions],
            "ready": ready,
            "unread": unread or None,
            "stuck": self._stuck(),
            "integrations": integrations,
            "scopes": standing.scopes(judged, now),
            "queues": [] if unread else self._depths.view(),
            "workers": standing.workers(supervisor),
            **seen.more,
            "reload": {"ok": self.own.reload_ok, "at": self.own.reloaded_at},
            "retention": {"unfinished": dict(self.own.unpruned)},
        }

    async def _seen(self, names: Sequence[str]) -> _Seen:
        """What the rows say. Raises StoreError."""
        store = self._store()
        last = {(run.integration, run.resource): run for run in await store.runs.latest()}
        ended = {(run.integration, run.resource): run for run in await store.runs.recent(names, each=1)}
        counts = {key: live for key, (live, _) in (await store.records.counts()).items()}
        letters = await store.dead_letters.grouped()
        await self._depths.measure()
        more = {
            "dead_letters": {
                "total": sum(trouble.count for trouble in letters),
                "causes": len(letters),
                "top": causes.top(letters),
                "replays": len(await store.replays.running()),
            },
            "rejects": {"total": sum((await store.rejects.counts()).values())},
            "pushes": await self._pushes.standing(),
            "backfills": await self._backfills.under_way(names),
        }
        return _Seen(last, ended, counts, more)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _judged(self) -> list[Judged]:
        now, refusing, refused = self._clock.now(), self._refusing(), self._refused()
        accounts = self._accounts()
        for account in accounts:
            account.watch(refused.get(account.name))
        return [standing.judge(account, now, refusing.get(account.name)) for account in accounts]

    def _looked(self, judged: Sequence[Judged]) -> Looked:
        """What is wrong, as the list of conditions takes it."""
        now = self._clock.now()
        idle, coming = of_idle(self._config(), self._broken(), [one.account.name for one in judged])
        coming |= self._just_lost(judged)
        judged = [one for one in judged if one.account.name not in coming]
        own = list(self.own.conditions())
        found = [*own, *of_integrations(judged, now, self.company), *self.reminders(), *idle]
        if any(one.told.code in OF_DATABASE for one in own):
            self._database_ill_at = self._clock.monotonic()
        ill = self._clock.monotonic() - self._database_ill_at < AFTER_SECONDS
        # What comes of it is not said again of everybody; nor is a server that was started anew, before it is tried again.
        return [one for one in found if not _of_database(one) or not (ill or _is_fresh(one, now))], coming

    def _just_lost(self, judged: Sequence[Judged]) -> frozenset[str]:
        """Those whose lease was ours until a moment ago: with a database that falters it is ours again in a moment, and
        nothing that is wrong with them has ended meanwhile."""
        now = self._clock.monotonic()
        for one in judged:
            if one.account.ownership.held:
                self._held_at[one.account.name] = now
        return frozenset(
            one.account.name
            for one in judged
            if not one.account.ownership.held and now - self._held_at.get(one.account.name, -math.inf) < LOST_SECONDS
        )

    def _broken(self) -> Mapping[str, str]:
        supervisor = self._supervisor()
        return supervisor.broken if supervisor is not None else {}

    def company(self, name: str) -> str:
        """Whose account it is, as people call it."""
        for partner in self._config().partners.values():
            if (settings := partner.integrations.get(name)) is not None:
                return settings.company or name
        return name

    def _authenticated(self) -> dict[str, datetime]:
        found = {account.name: account.session.pace.authenticated_at for account in self._accounts()}
        return {name: at for name, at in found.items() if at is not None}


def _of_database(one: Condition) -> bool:
    """Is it only that an integration's work could not be stored?"""
    return one.integration != "" and one.told.code == "database-down"


def _is_fresh(one: Condition, now: datetime) -> bool:
    return one.since is None or (now - one.since).total_seconds() < AFTER_SECONDS
