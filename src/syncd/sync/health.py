"""What state an integration is in, derived from what happened to its last calls and runs.

One `Health` per integration remembers facts (a run failed, a credential was refused, deletions are held); `judge` turns
them, with what the gate says now, into one State and one Explanation. Nothing here is stored: facts that must outlive
the process (held deletions, pauses) live in rows and are told again after a start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    PartnerError,
    PayloadError,
    PoisonError,
    RateLimitError,
    RejectedError,
    StoreError,
)
from syncd.explain import NOTHING_TO_DO, Explanation, State
from syncd.kit import Resource
from syncd.store import KILLED, Stand, Sweep
from syncd.sync import outage, scope
from syncd.sync.rejections import Rejections

DOWN_AFTER = 3
"""Runs of one resource failing in a row, with no success of any other since, before the integration is called down."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Records a complete pass added, changed or deleted which webhooks, feeds and incremental runs should have brought."""

    added: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        return self.added + self.updated + self.deleted


@dataclass(slots=True)
class ResourceHealth:
    """What is known of one resource."""

    last_success_at: datetime | None = None
    failed_since: datetime | None = None
    failures: int = 0
    trouble: Explanation | None = None
    held_count: int = 0
    held: Explanation | None = None
    """Deletions that wait for a person; does not stop the resource."""
    rejected: int = 0
    """Records of the last run that failed validation."""
    queues: dict[str, dict[str, datetime]] = field(default_factory=dict)
    """By queue: its messages as last shown, and since when each has been."""
    unattested: Explanation | None = None
    """A listing does not show records it should: nothing is deleted for that."""
    renewed: Explanation | None = None
    """Records went while others with the same names came: perhaps they are the same ones."""
    unacknowledged: Explanation | None = None
    """Messages of a queue are shown again and again."""
    refused: Explanation | None = None
    """Some of what it lists in parts is refused; the rest is read."""
    refused_places: frozenset[str] = frozenset()
    """Which."""
    limited_until: datetime | None = None
    """The last run was put off: its next call could not have left for so long."""
    limited_by: str = ""
    """What held it."""
    told_at: datetime | None = None
    """When a webhook last told of a record of it."""
    told_since: datetime | None = None
    """When one first did."""
    silent: bool = False
    """The silence watch misses deliveries: it is polled until one comes."""
    drift: Drift | None = None
    """What the last complete pass, or a backup since that found more, had to mend; None: no pass could tell yet."""
    drift_of_pass: Drift | None = None
    shape: Explanation | None = None
    """Its records come in another shape than before."""
    misshapen: bool = False
    """And that is a trouble."""


@dataclass(slots=True)
class Health:
    """The memory behind an integration's state."""

    integration: str
    resources: dict[str, ResourceHealth] = field(default_factory=dict)
    auth: Explanation | None = None
    auth_retry_at: datetime | None = None
    """Until then nothing is called with the refused credential."""
    paused: Explanation | None = None
    latency_ms: float | None = None
    last_success_at: datetime | None = None
    registered: bool = False
    """syncd has subscribed to its partner's webhooks."""
    silence: Explanation | None = None
    """No webhook has come for much longer than usual."""
    rotation: Explanation | None = None
    """The partner handed us credentials and does not take them."""
    missed: bool = False
    """And pulls found what they should have told."""
    contract: Explanation | None = None
    """The partner answers otherwise than its driver relies on, or than is published."""
    contract_broken: bool = False
    """It is something that the driver relies on."""

    def of(self, resource: str) -> ResourceHealth:
        return self.resources.setdefault(resource, ResourceHealth())

    def began(self, resource: str) -> None:
        """A run goes on: whatever limit the last one was put off for lets calls go again, or will be met anew."""
        self.of(resource).limited_until = None

    def succeeded(self, resource: str, now: datetime, rejections: Rejections | None = None) -> bool:
        """A run ended well. Returns True when this heals a trouble that had been said.

        Where too many of its records were rejected the partner's shape has changed: that is a trouble too.
        """
        known = self.of(resource)
        before = known.trouble
        healed = before is not None or self.auth is not None
        known.last_success_at = self.last_success_at = now
        known.failed_since, known.failures, known.trouble = None, 0, None
        known.rejected = rejections.rejected if rejections is not None else 0
        known.limited_until = None
        self.auth = self.auth_retry_at = None
        if rejections is not None:
            known.trouble = rejections.explanation(self.integration, resource, before, now)
        return healed and known.trouble is None

    def failed(self, resource: str, error: BaseException, now: datetime) -> bool:
        """A run failed. Returns True when this is news (worth saying once).

        Waiting for a limit is no trouble: the gate says until when. Nor is a hold or an open breaker: the gate says what is
        wrong for as long as it lasts, and the trouble that opened it stays what it was.
        """
        known = self.of(resource)
        if isinstance(error, BreakerOpenError):
            return False
        if isinstance(error, RateLimitError) and not error.hopeless:
            known.limited_until, known.limited_by = error.retry_at, str(error)
            return False
        known.failures += 1
        known.failed_since = known.failed_since or now
        told = explain_error(self.integration, resource, error, known.failed_since)
        news = known.trouble is None or known.trouble.code != told.code
        known.trouble = told
        if isinstance(error, AuthError) and (self.auth is None or self.auth.code != told.code):
            self.auth = told
        return news

    def parks(self, resource: str, error: PoisonError, since: datetime) -> bool:
        """An earlier process has parked this resource. Returns True when this is news."""
        known = self.of(resource)
        if known.trouble is not None:
            return False
        known.failures, known.failed_since = max(known.failures, 1), known.failed_since or since
        known.trouble = explain_error(self.integration, resource, error, since)
        return True

    def task_failed(self, resource: str, error: BaseException, now: datetime) -> None:
        """A piece of derived work failed: only a refused credential says something about the whole integration."""
        if isinstance(error, AuthError) and self.auth is None:
            self.auth = explain_error(self.integration, resource, error, now)

    def revoked(self, event_type: str, since: datetime, until: datetime) -> Explanation:
        """A signed delivery says that our access was taken away: nothing is called before `until`."""
        self.auth = Explanation(
            "auth-failed",
            f"the partner says that access was taken away ({event_type or 'by webhook'})",
            since,
            cause="somebody at the account removed the connection or its grant",
            action=f"connect the account again, then: syncd credential test {self.integration}",
        )
        self.auth_retry_at = until
        return self.auth

    def shown(self, resource: Resource, queue: str, ids: Sequence[str], now: datetime) -> None:
        """A queue shows these messages, and no others: what was acknowledged is not among them."""
        rules, known = resource.queue, self.of(resource.name)
        if rules is None:
            return
        before = known.queues.get(queue, {})
        known.queues[queue] = {one: min(before.get(one, now), now) for one in ids}
        late = [
            at for shown in known.queues.values() for at in shown.values() if (now - at).total_seconds() > rules.within
        ]
        known.unacknowledged = None
        if late:
            known.unacknowledged = Explanation(
                "unacknowledged",
                f"{resource.name}: {len(late)} messages are not acknowledged, the oldest for "
                f"{(now - min(late)).total_seconds() / 60:.0f} minutes",
                since=min(late),
                cause="they cannot be read, or the partner does not take their acknowledgement"
                + (f"; {rules.otherwise}" if rules.otherwise else ""),
                action=f"syncd dlq list {self.integration}",
            )

    def falls_silent(self, told: Explanation, resources: Sequence[str], *, missed: bool) -> None:
        """Webhooks no longer come: what they fed is polled until one does."""
        self.silence, self.missed = told, missed
        for resource in resources:
            self.of(resource).silent = True

    def hears(self) -> None:
        """A delivery came."""
        self.silence, self.missed = None, False
        for known in self.resources.values():
            known.silent = False

    def probed(self, error: BaseException | None, now: datetime) -> None:
        """The cheap probe answered, or did not."""
        error = shut_out(error)
        if error is None:
            self.auth = self.auth_retry_at = None
        elif isinstance(error, AuthError) and self.auth is None:
            self.auth = explain_error(self.integration, "", error, now)

    def shape_told(self, resource: str, told: Explanation | None, trouble: bool) -> None:
        """What the schema watch has to say of a resource."""
        known = self.of(resource)
        known.shape, known.misshapen = told, trouble

    def holds(self, resource: str, sweep: Sweep, since: datetime) -> bool:
        """Deletions are held, or no longer. Returns True when this is news."""
        known = self.of(resource)
        before = known.held_count
        known.held_count = sweep.held
        known.held = held_explanation(self.integration, resource, sweep, since) if sweep.held else None
        return sweep.held > 0 and before == 0

    def recall(self, resource: str, stand: Stand) -> None:
        """After a time in which others called for it: what the rows say of that."""
        known = self.of(resource)
        if stand.passed_at is not None:
            known.last_success_at = stand.passed_at
        if stand.held is not None:
            missed, live = int(stand.held["missed"]), int(stand.held["live"])
            since = datetime.fromisoformat(str(stand.held["since"]))
            self.holds(resource, Sweep(held=missed, missed=missed, total=live, reason=str(stand.held["reason"])), since)
        else:
            known.held_count, known.held = 0, None

    def judge(
        self, gate: Mapping[str, Any], now: datetime, needs: Collection[Sequence[str]] = ()
    ) -> tuple[State, Explanation | None]:
        """The integration's state and why. `gate` is the `view()` of its scope's gate; `needs` are, for each resource, the
        endpoint groups it needs (none: all the gate knows).

        Healthy may have something to say too: a limit that was learned, a ramp after an outage.
        """
        if self.paused is not None:
            return State.PAUSED, self.paused
        if self.auth is not None:
            return State.AUTH_REQUIRED, self.auth
        troubles = sorted(
            (known.trouble for known in self.resources.values() if known.trouble is not None),
            key=lambda told: told.since or now,
        )
        needs = needs or [("", *(gate.get("breakers") or {}))]
        served = any(all(outage.blocked(gate, group) is None for group in one) for one in needs)
        breaker = outage.worst(self.integration, gate, sorted({group for one in needs for group in one}), now)
        if breaker is not None and breaker.code == outage.OPEN:
            return (State.DEGRADED if served and not self._is_down() else State.DOWN), breaker
        if breaker is not None and not served:
            return State.PAUSED, breaker
        if self._is_down():
            return State.DOWN, troubles[0]
        held = [known.held for known in self.resources.values() if known.held is not None]
        if troubles:
            return State.DEGRADED, troubles[0]
        refused = [known.refused for known in self.resources.values() if known.refused is not None]
        if refused:
            return State.DEGRADED, refused[0]
        shapes = [known.shape for known in self.resources.values() if known.shape is not None and known.misshapen]
        if shapes:
            return State.DEGRADED, shapes[0]
        if held:
            return State.DEGRADED, held[0]
        unacknowledged = [known.unacknowledged for known in self.resources.values() if known.unacknowledged is not None]
        if unacknowledged:
            return State.DEGRADED, unacknowledged[0]
        if self.rotation is not None:
            return State.DEGRADED, self.rotation
        if self.silence is not None and self.missed:
            return State.DEGRADED, self.silence
        if self.contract is not None and self.contract_broken:
            return State.DEGRADED, self.contract
        if breaker is not None:
            return State.PAUSED, breaker
        put_off = [told for name in self.resources if (told := self._put_off(name, now)) is not None]
        waits = scope.rate_limited(gate, now) or scope.used_up(gate, now, wanted=bool(put_off))
        if waits is not None or put_off:
            return State.WAITING, waits or put_off[0]
        remark = self.silence or next((known.shape for known in self.resources.values() if known.shape), None)
        remark = (
            remark or self.contract or next((one.unattested for one in self.resources.values() if one.unattested), None)
        )
        remark = remark or next((one.renewed for one in self.resources.values() if one.renewed), None)
        return State.HEALTHY, remark or next(scope.remarks(gate, now), None)

    def resource_state(
        self, resource: str, gate: Mapping[str, Any], now: datetime, groups: Sequence[str] = ("",)
    ) -> tuple[State, Explanation | None]:
        """One resource's state and why; `groups` are the endpoint groups it needs."""
        known = self.of(resource)
        if self.paused is not None:
            return State.PAUSED, self.paused
        if self.auth is not None:
            return State.AUTH_REQUIRED, self.auth
        breaker = outage.worst(self.integration, gate, groups, now)
        if breaker is not None:
            return (State.DOWN if breaker.code == outage.OPEN else State.PAUSED), breaker
        if known.trouble is not None:
            return (State.DOWN if known.failures >= DOWN_AFTER else State.DEGRADED), known.trouble
        if known.refused is not None:
            return State.DEGRADED, known.refused
        if known.shape is not None and known.misshapen:
            return State.DEGRADED, known.shape
        if known.held is not None:
            return State.DEGRADED, known.held
        if known.unacknowledged is not None:
            return State.DEGRADED, known.unacknowledged
        put_off = self._put_off(resource, now)
        return (State.HEALTHY, known.shape or known.renewed) if put_off is None else (State.WAITING, put_off)

    def _put_off(self, resource: str, now: datetime) -> Explanation | None:
        """A run that waits in its row for a limit: of its route, of the token endpoint, of a whole day."""
        known = self.of(resource)
        if known.limited_until is None or (known.limited_until - now).total_seconds() < scope.LONG_SECONDS:
            return None
        return Explanation(
            "rate-limited",
            f"{resource}: next call at {scope.clock(known.limited_until, now)}: {known.limited_by}",
            cause="syncd keeps within what the partner allows, and waits as it was told",
            action=NOTHING_TO_DO,
        )

    def _is_down(self) -> bool:
        failing = [known for known in self.resources.values() if known.failures >= DOWN_AFTER]
        if not failing:
            return False
        since = min(known.failed_since for known in failing if known.failed_since is not None)
        return self.last_success_at is None or self.last_success_at < since


def shut_out(error: BaseException | None) -> BaseException | None:
    """What the credential's own test was refused with: a word of permission is there no matter of one call, but of all."""
    if isinstance(error, RejectedError) and error.status in (401, 403):
        hint = "the credential lacks all rights: give them back at the partner, or another credential"
        return AuthError(str(error), permanent=True, status=error.status, code=error.code, hint=hint)
    return error


def explain_error(integration: str, resource: str, error: BaseException, since: datetime) -> Explanation:
    """The wording of every failure of a run; the codes are the runbook's page names."""
    where = f"{integration}/{resource}"
    text = str(error) or type(error).__name__
    hint = getattr(error, "hint", "")
    match error:
        case AuthError():
            return Explanation(
                "auth-failed",
                text,
                since,
                cause="the credential was revoked, rotated or lacks rights",
                action=hint or f"syncd credential test {integration}",
            )
        case RateLimitError():
            return Explanation(
                "rate-limited", text, since, cause="the partner counts too many calls", action=hint or NOTHING_TO_DO
            )
        case BreakerOpenError(held=held, group=group):
            command = f"syncd breaker {integration} {'release' if held else 'reset'}"
            command += f" --group {group}" if group else ""
            action = command if held else f"{NOTHING_TO_DO}, it is tried again by itself; now: {command}"
            return Explanation(outage.HELD if held else outage.OPEN, text, since, action=hint or action)
        case PayloadError():
            return Explanation(
                "schema-changed",
                text,
                since,
                cause="the partner's answer no longer has the shape the driver expects",
                action=hint or f"syncd dlq list {integration}",
            )
        case PoisonError():
            return Explanation(
                KILLED,
                text,
                since,
                cause="a fault in the driver, or in a library it uses, that ends the process",
                action=hint or f"syncd dlq list {integration}",
            )
        case PartnerError(status=status) if status is not None and 400 <= status < 500:
            return Explanation(
                "request-rejected",
                text,
                since,
                cause="the partner refuses the request itself: a missing right, or a changed API",
                action=hint or f"syncd dlq list {integration}",
            )
        case PartnerError():
            return Explanation(
                "partner-down",
                text,
                since,
                cause="the partner or the way to it is down",
                action=hint or f"{NOTHING_TO_DO}, it is tried again by itself; now: syncd sync {where}",
            )
        case StoreError():
            return Explanation(
                "database-down", text, since, cause="PostgreSQL refused or is away", action=hint or "syncd check --env"
            )
        case _:
            return Explanation(
                "internal-error",
                f"{type(error).__name__}: {text}",
                since,
                cause="a fault in syncd or in a driver",
                action=f"syncd dlq list {integration}",
            )


def held_explanation(integration: str, resource: str, sweep: Sweep, since: datetime) -> Explanation:
    """What is said while deletions wait for a person (R9)."""
    return Explanation(
        "deletions-held",
        f"{resource}: {sweep.reason}; nothing was deleted",
        since=since,
        cause="the listing was empty, cut short or of another account, unless they were really deleted",
        action=f"look at the partner first; to delete them: syncd reconcile {integration}/{resource} --confirm",
    )
