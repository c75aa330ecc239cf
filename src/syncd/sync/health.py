"""What state an integration is in, derived from what happened to its last calls and runs.

One `Health` per integration remembers facts (a run failed, a credential was refused, deletions are held); `judge` turns
them, with what the gate says now, into one State and one Explanation. Nothing here is stored: facts that must outlive
the process (held deletions, pauses) live in rows and are told again after a start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from syncd.errors import AuthError, BreakerOpenError, PoisonError, RateLimitError
from syncd.explain import NOTHING_TO_DO, Explanation, State
from syncd.kit import Resource
from syncd.store import Stand, Sweep
from syncd.sync import outage, scope
from syncd.sync.rejections import Rejections
from syncd.sync.troubles import (
    explain_error,
    held_explanation,
    revoked_explanation,
    unacknowledged_explanation,
)

if TYPE_CHECKING:
    from syncd.sync.rights import Rights

DOWN_AFTER = 3
"""Runs of one resource failing in a row, with no success of any other since, before the integration is called down."""
ACCEPTED_SECONDS = 300.0
"""So often at most the cheap probe has everything tried that was refused: there are credentials that may do one thing and not
the other."""


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

    @property
    def flaws(self) -> tuple[Explanation | None, ...]:
        """What is wrong although its runs end well, the worst first."""
        return self.refused, self.shape if self.misshapen else None, self.held, self.unacknowledged

    def remarks(self, what: Literal["unattested", "renewed"], told: Explanation | None) -> bool:
        """What a complete pass leaves to be said, or that it is over. Returns True when this is news."""
        before: Explanation | None = getattr(self, what)
        if told is not None and before is not None:
            told = replace(told, since=before.since)
        setattr(self, what, told)
        return told is not None and (before is None or before.reason != told.reason)


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
    rights: Rights | None = None
    """What the credential may do, as its partner said when it was last tested."""
    missed: bool = False
    """And pulls found what they should have told."""
    contract: Explanation | None = None
    """The partner answers otherwise than its driver relies on, or than is published."""
    contract_broken: bool = False
    """It is something that the driver relies on."""
    forged: Explanation | None = None
    """Its webhooks come and fail verification, and none passes."""
    slow: Explanation | None = None
    """It answers, and slowly."""
    accepted: Callable[[], None] = lambda: None
    """Called when a credential that was refused is taken again, as far as the cheap probe tells."""
    _accepted_at: datetime | None = None

    def of(self, resource: str) -> ResourceHealth:
        known = self.resources.get(resource)
        if known is None:
            known = self.resources[resource] = ResourceHealth()
        return known

    def only(self, resources: Collection[str]) -> list[str]:
        """These are synced from now on: what was known of others troubles nobody. Returns which others were known."""
        gone = [name for name in self.resources if name not in resources]
        for name in gone:
            del self.resources[name]
        return gone

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
        self.auth = revoked_explanation(self.integration, event_type, since)
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
            known.unacknowledged = unacknowledged_explanation(self.integration, resource, late, now)

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
        if error is None:
            refused, self.auth, self.auth_retry_at = self.auth, None, None
            lately = self._accepted_at is not None and (now - self._accepted_at).total_seconds() < ACCEPTED_SECONDS
            if refused is not None and not lately:
                self._accepted_at = now
                self.accepted()
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
        known.last_success_at = max(filter(None, (stand.good_at, stand.passed_at)), default=known.last_success_at)
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
        if troubles:
            return State.DEGRADED, troubles[0]
        for alike in zip(*(known.flaws for known in self.resources.values()), strict=True):
            if (told := next(filter(None, alike), None)) is not None:
                return State.DEGRADED, told
        if self.rotation is not None:
            return State.DEGRADED, self.rotation
        if self.silence is not None and self.missed:
            return State.DEGRADED, self.silence
        if self.contract is not None and self.contract_broken:
            return State.DEGRADED, self.contract
        if (told := self.forged or self.slow) is not None:
            return State.DEGRADED, told
        if breaker is not None:
            return State.PAUSED, breaker
        put_off = [told for name in self.resources if (told := self._put_off(name, now)) is not None]
        waits = scope.rate_limited(gate, now) or scope.used_up(gate, now, wanted=bool(put_off))
        if waits is not None or put_off:
            return State.WAITING, waits or put_off[0]
        every = self.resources.values()
        remarks = (
            self.silence,
            *(known.shape for known in every),
            self.contract,
            *(known.unattested for known in every),
            *(known.renewed for known in every),
        )
        return State.HEALTHY, next(filter(None, remarks), None) or next(scope.remarks(gate, now), None)

    def besides(self, gate: Mapping[str, Any], now: datetime) -> Iterator[tuple[State, Explanation, str]]:
        """All else there is to say whatever the state is: how bad that is, why, and of which resource ("": of all)."""
        judged = (
            (True, self.rotation),
            (self.missed, self.silence),
            (self.contract_broken, self.contract),
            (True, self.forged),
            (True, self.slow),
        )
        for troubled, told in judged:
            if told is not None:
                yield State.DEGRADED if troubled else State.HEALTHY, told, ""
        for name, known in self.resources.items():
            for told in filter(None, known.flaws):
                yield State.DEGRADED, told, name
            for told in filter(None, (None if known.misshapen else known.shape, known.unattested, known.renewed)):
                yield State.HEALTHY, told, name
        for told in scope.remarks(gate, now):
            yield State.HEALTHY, told, ""

    def resource_states(
        self, gate: Mapping[str, Any], now: datetime, needs: Mapping[str, Sequence[str]]
    ) -> dict[str, tuple[State, Explanation | None]]:
        """The state of each resource and why, by the endpoint groups it needs: an outage is worded once for all of one."""
        worded = {
            groups: outage.worst(self.integration, gate, groups, now)
            for groups in {tuple(one) for one in needs.values()}
        }
        return {name: self._resource_state(name, now, worded[tuple(groups)]) for name, groups in needs.items()}

    def resource_state(
        self, resource: str, gate: Mapping[str, Any], now: datetime, groups: Sequence[str] = ("",)
    ) -> tuple[State, Explanation | None]:
        """One resource's state and why; `groups` are the endpoint groups it needs."""
        return self.resource_states(gate, now, {resource: groups})[resource]

    def _resource_state(
        self, resource: str, now: datetime, breaker: Explanation | None
    ) -> tuple[State, Explanation | None]:
        known = self.of(resource)
        if self.paused is not None:
            return State.PAUSED, self.paused
        if self.auth is not None:
            return State.AUTH_REQUIRED, self.auth
        if breaker is not None:
            return (State.DOWN if breaker.code == outage.OPEN else State.PAUSED), breaker
        if known.trouble is not None:
            return (State.DOWN if known.failures >= DOWN_AFTER else State.DEGRADED), known.trouble
        if (told := next(filter(None, known.flaws), None)) is not None:
            return State.DEGRADED, told
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
