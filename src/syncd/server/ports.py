"""What the HTTP surfaces ask of the engine, stated as one Protocol; `daemon.py` hands the real thing over.

Everything here is data and questions. Names of integrations and resources that reach these methods have been checked
against `names()` by the admin API, so an implementation may treat an unknown one as a mistake of ours. Errors are
those of `errors.py`; the admin API turns them into answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from syncd.explain import Explanation, State

STATUS_SCHEMA = "syncd.status/1"


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One integration, as `/health` shows it."""

    state: State
    latency_ms: float | None = None
    """Of the last real call, or of the cheap probe that stood in for it; None before the first one."""
    explanation: Explanation | None = None
    """Why the state is not healthy; None where there is nothing to explain."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Answered from memory: the process's own life, and what it last saw of each integration."""

    services: Mapping[str, ServiceHealth]
    at: datetime
    stuck: Sequence[str] = ()
    """Parts of this process that make no progress ("event loop", "workers of guesty"). Any of them makes `/health` 503;
    the state of a partner never does."""
    conditions: Sequence[Explanation] = ()
    """What is wrong with the daemon itself, the worst first: it makes the whole `degraded`, and no more. No reason names a
    host, a user or a path: it is told to everybody."""


class RunState(StrEnum):
    """Where one wish or run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """Held by a limit, a breaker or a pause: not failing. `waiting_reason` and `resumes_at` say more."""
    DONE = "done"
    FAILED = "failed"
    CUT = "cut"
    """Stopped by shutdown or death; the next run goes on at the stored cursor."""

    @property
    def ended(self) -> bool:
        return self in {RunState.DONE, RunState.FAILED, RunState.CUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of `syncd sync`'s live display: a wish and, once it was taken, its run."""

    wish_id: int
    integration: str
    resource: str
    external_id: str | None = None
    run_id: int | None = None
    """None until a runner took the wish."""
    state: RunState = RunState.QUEUED
    page: int = 0
    """Pages stored so far."""
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    deleted: int = 0
    calls: int = 0
    waited_seconds: float = 0.0
    """Spent waiting for limits so far."""
    waiting_reason: str = ""
    resumes_at: datetime | None = None
    total: int | None = None
    """Records the partner said there are, where it says so."""
    eta_seconds: float | None = None
    explanation: Explanation | None = None
    """Of a failed run, and of one that a pause, a hold or an open breaker keeps back; not of one that waits for a limit."""


def judged_as_before(integration: str) -> str:
    """How a line of `ReloadReport.kept` begins that is about nothing but what deliveries are verified with."""
    return f"webhooks of {integration} are judged as before: "


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport:
    """What a reload did. `kept` maps a partner whose file was not taken over to its problems: it runs on with the old one,
    unless it is among `idle`."""

    ok: bool
    """True when everything was applied."""
    applied: Sequence[str] = ()
    """Partners whose settings changed and are in force."""
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    idle: Sequence[str] = ()
    """Partners of `kept` of which nothing runs: they are new, switched off, or could not be started."""
    problems: Sequence[str] = ()
    """Whole-configuration problems (syncd.yaml itself): nothing was applied."""
    changes: Sequence[str] = ()
    """One line a difference (`guesty.limits.tiers 7/s -> 5/s`), secrets as short hashes."""
    check: str = "syncd check"
    """The command that shows what stood against it, where something did."""
    warnings: Sequence[str] = ()
    """What is legal in the files that changed and surely not meant, as `syncd check` says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What `syncd reconcile` set going."""

    wish_ids: Sequence[int] = ()
    """Complete passes to come; none when deletions were confirmed instead."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Resource -> deletions the guard holds at this moment."""
    confirmed: int = 0
    """Deletions let go by this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What one cheap authenticated call showed."""

    __test__ = False  # no test of ours, whatever a test runner makes of the name

    integration: str
    ok: bool
    status: int | None = None
    """HTTP status of the answer; None when none came."""
    latency_ms: float | None = None
    explanation: Explanation | None = None
    """Why it is not ok."""
    refused: bool = False
    """The credential itself was refused, rather than the partner away or busy."""
    scopes: Mapping[str, Any] | None = None
    """What it may do: told_by (None: this partner does not tell), held, needed, missing, at, trouble (why it could not be
    asked). None where nothing was asked, since the call itself got no answer."""
    expires_at: datetime | None = None
    """When the credential itself ends, where the partner says so."""
    remark: str = ""
    """What else is to be known of it, such as that it was made in a maintenance window."""


class Status(Protocol):
    """The engine as its surfaces see it."""

    def health(self) -> HealthReport:
        """From memory, at once; never asks a partner or the database."""
        ...

    async def ready(self) -> list[str]:
        """Why a webhook sent now would not be stored, one reason a line; empty means ready. May ask the database."""
        ...

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources, also the disabled ones."""
        ...

    def partners(self) -> Mapping[str, Sequence[str]]:
        """Every configured partner and its integrations, also the disabled ones."""
        ...

    async def overview(self) -> dict[str, Any]:
        """Everything `syncd status` and the page show, as JSON-ready data: schema `syncd.status/1` (docs/cli.md).

        version, started_at, now (RFC 3339), summary (one sentence), ready (list of reasons), stuck,
        conditions: [{subject: daemon|integration, integration, partner, company, resource, state, severity: page|ticket|note,
            code, reason, since, cause, action, runbook}], worst first,
        integrations: [{name, partner, company, state, enabled, latency_ms, explanation|null,
            paused: {reason, who, since, until}|null,
            resources: [{name, state, explanation|null, strategy, last_run: {run_id, mode, outcome, started_at,
                ended_at, added, updated, deleted, unchanged, rejected, calls, waited_seconds}|null,
                last_success_at, next_run_at, running, records, held_deletions, hint: its runs outlast their interval|null}],
            limits: gate.view() of its scope, with "scope"}],
        scopes: [{scope, partner, integrations, owned, next_call: {at, in_seconds, why}, and gate.view(), whose tiers have
            also label, observed|null, learned: {limit, broke_at, since, events, source, yaml, proven, file}|null}],
        queues: [{name, kind, waiting, under_way, capacity, oldest_seconds, rate_per_second, drains_in_seconds, bound_by,
        state}], workers: {alive, total},
        dead_letters: {total, causes, top: [{cause, where, message, count, since, action}], replays},
        rejects: {total}, reload: {ok, at}.
        Times are aware UTC datetimes or RFC 3339 texts; the server writes either.
        """
        ...

    async def plan(
        self, integration: str | None, resource: str | None, assumed: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """What the schedules cost and whether they fit, of everything or of what is named: schema `syncd.plan/1`.

        `assumed`: as if there were so many records of these resources, whatever was counted.
        """
        ...

    async def test(self, integration: str) -> TestReport:
        """Make the driver's cheap test call through the integration's own gate, high lane. Never raises for an answer."""
        ...

    async def sync(self, integration: str, resource: str | None, external_id: str | None, *, who: str) -> list[int]:
        """Store a wish for each resource meant (all of the integration for None) and return their ids.

        Resolves once the wishes are committed, not when they are done. `external_id` wants one record re-read.
        """
        ...

    async def progress(self, wish_ids: Sequence[int]) -> list[Progress]:
        """Where these wishes stand, in the order asked; unknown ids are left out."""
        ...

    async def reload(self, *, who: str) -> ReloadReport:
        """Load all, check all, apply part by part (R13). Returns when it is over; never raises for a bad file."""
        ...

    async def pause(
        self, integration: str, resource: str | None, *, who: str, reason: str, until: datetime | None
    ) -> bool:
        """Stop calling for it until then, or until `resume`. False: it was paused already, and is now by this word."""
        ...

    async def resume(self, integration: str, resource: str | None, *, who: str) -> bool:
        """Take the pause away. False: there was none."""
        ...

    def breaker_groups(self, integration: str) -> Sequence[str]:
        """The endpoint groups of its scope that have a breaker of their own, besides the unnamed one."""
        ...

    async def breaker_view(self, integration: str | None) -> list[dict[str, Any]]:
        """Every scope's breakers, or those of one integration's: schema `syncd.breakers/1` (docs/cli.md).

        [{scope, partner, integrations, owned, held: {who, why, since, until}|null, groups: [{group, state, failures,
            failed_probes, since, next_probe_at, held, errors: [{at, error}], explanation|null}]}]
        """
        ...

    async def hold(
        self, integration: str, group: str | None, *, who: str, reason: str, until: datetime | None
    ) -> dict[str, Any]:
        """Let no call of the integration's scope go (group: of that endpoint group) until then, or until released.

        scope, integrations, group, already_held, until.
        """
        ...

    async def release(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        """End such holds: scope, integrations, released (how many), still_held (groups)."""
        ...

    async def reset(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        """Close open breakers now: scope, integrations, closed (groups; None: its owner is told), still_held (groups)."""
        ...

    async def reconcile(self, integration: str, resource: str | None, *, confirm: bool, who: str) -> ReconcileReport:
        """Wish for complete passes now; with `confirm` let the held deletions of those resources go instead."""
        ...
