"""Probes of what becomes of failures. Each asks the driver in use what it makes of an answer; none is believed unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from email.utils import format_datetime
from itertools import pairwise

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, failed, later, passed, together
from syncd.errors import (
    AuthError,
    GoneError,
    PartnerError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from syncd.kit import Headers
from syncd.limits.backoff import BackoffPolicy
from syncd.model import Response
from syncd.scopes import gate_settings

WAIT_SECONDS = 40
LONGEST_CALL_SECONDS = 30.0


def answered(facts: Facts, one: Subject, status: int, headers: dict[str, str] | None = None) -> PartnerError | None:
    """What its driver makes of such an answer, with a body that says nothing."""
    sent = {"content-type": "application/json", "date": format_datetime(facts.now, usegmt=True), **(headers or {})}
    return one.driver.classify(Response(status, Headers(sent), b'{"message": "asked by syncd doctor"}'), facts.now)


def waits(error: PartnerError | None) -> bool:
    """Does a 429 wait? As a limit; or as trouble of that one call alone, where its partner names every limit in a header
    (Stripe) and this one has none."""
    return isinstance(error, RateLimitError) or (isinstance(error, TransientError) and not error.breaks)


def every_status(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """No status of a failure passes for a sound answer."""

    def look(one: Subject) -> Answer:
        silent = [status for status in range(400, 600) if answered(facts, one, status) is None]
        if silent:
            return failed(f"the driver takes {silent[0]} for a sound answer", "a fault of the driver: report it")
        return passed(f"built in: each of 200 statuses asked of its driver is an error of its kind{_seen(facts, one)}")

    return _each(subjects, look)


def _seen(facts: Facts, one: Subject) -> str:
    if facts.daemon is None:
        return ""
    calls = facts.daemon.summed("integration_api_calls_total", partner=one.partner.name)
    return f"; {calls:,.0f} calls since the start" if calls else ""


def retryable(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """429 waits, 5xx is tried again, the rest is told apart from both."""
    wanted: dict[int, type[PartnerError] | tuple[type[PartnerError], ...]] = {
        500: TransientError,
        502: TransientError,
        503: (TransientError, RateLimitError),
        504: TransientError,
        400: RejectedError,
        401: (AuthError, RejectedError),
        422: RejectedError,
    }

    def look(one: Subject) -> Answer:
        if not waits(error := answered(facts, one, 429)):
            return failed(f"429 is a {type(error).__name__} to its driver", "a fault of the driver: report it")
        for status, kind in wanted.items():
            error = answered(facts, one, status)
            if not isinstance(error, kind):
                return failed(f"{status} is a {type(error).__name__} to its driver", "a fault of the driver: report it")
        return passed("built in: asked of its driver, 429 waits, 5xx is tried again, 400 and 422 are final")

    return _each(subjects, look)


def server_errors_retried(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    policy = BackoffPolicy()

    def look(one: Subject) -> Answer:
        final = [
            s for s in (500, 502, 503, 504) if not isinstance(answered(facts, one, s), TransientError | RateLimitError)
        ]
        if final:
            return failed(f"{final[0]} is final to its driver", "a fault of the driver: report it")
        done = ""
        if facts.daemon is not None:
            done = f", {facts.daemon.summed('syncd_retries_total', partner=one.partner.name):,.0f} so far"
        return passed(f"built in: 500, 502, 503, 504 have {policy.attempts} tries{done}, then wait in their rows")

    return _each(subjects, look)


def backoff_with_jitter(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The waits in force double, and a call waits anywhere below them."""
    policy = BackoffPolicy()
    steps = [policy.ceiling(attempt) for attempt in range(1, policy.attempts)]
    grows = all(after == 2 * before for before, after in pairwise(steps))
    if not grows or policy.wait(1, 0.1) == policy.wait(1, 0.9):
        return failed("the waits do not double with full jitter", "a fault of syncd: report it")
    shown = ", ".join(f"{step:g}" for step in steps)

    def look(one: Subject) -> Answer:
        if not waits(error := answered(facts, one, 429)):
            return failed("429 is no limit to its driver", "a fault of the driver: report it")
        whom = (
            "a 429 pauses all calls" if isinstance(error, RateLimitError) else "a 429 that names no limit waits alone"
        )
        return passed(f"built in: up to {shown} s at random, at most {policy.attempts} tries; {whom}")

    return _each(subjects, look)


def retry_after(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Its driver is shown both forms: a date, by a partner's clock that is seven minutes slow, and seconds."""

    def look(one: Subject) -> Answer:
        theirs = facts.now - timedelta(minutes=7)
        told = {
            "a date": {
                "date": format_datetime(theirs, usegmt=True),
                "retry-after": format_datetime(theirs + timedelta(seconds=WAIT_SECONDS), usegmt=True),
            },
            "seconds": {"retry-after": str(WAIT_SECONDS)},
        }
        for form, headers in told.items():
            error = answered(facts, one, 429, headers)
            until = error.retry_at if isinstance(error, RateLimitError | TransientError) and waits(error) else None
            if until is None or abs((until - facts.now).total_seconds() - WAIT_SECONDS) > 3:
                return failed(
                    f"Retry-After as {form} is not honoured by its driver", "a fault of the driver: report it"
                )
        return passed(f"built in: {WAIT_SECONDS} s asked of its driver as a date and as seconds, both waited for")

    return _each(subjects, look)


def refusals_kept(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """400 and 422 end as a dead letter that holds the request."""

    def look(one: Subject) -> Answer:
        wrong = [s for s in (400, 422) if not isinstance(answered(facts, one, s), RejectedError)]
        if wrong:
            return failed(f"{wrong[0]} is no refusal to its driver", "a fault of the driver: report it")
        letters = "" if facts.daemon is None else _letters(facts)
        return passed(f"built in: a refused push or read is a dead letter with its request: syncd dlq show{letters}")

    return _each(subjects, look)


def _letters(facts: Facts) -> str:
    found = facts.daemon.status.get("dead_letters") if facts.daemon is not None else None
    return f" ({found['total']:,} now)" if found else ""


def scope_refusals(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        error = answered(facts, one, 403)
        if error is None:
            return failed("403 passes for a sound answer", "a fault of the driver: report it")
        return passed(f'built in: its driver reads 403 as "{_short(str(error))}", with the command to run beside it')

    return _each(subjects, look)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def gone(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """404 on a record's own URL ends it; on a listing it is a refusal."""

    def look(one: Subject) -> Answer:
        error = answered(facts, one, 404)
        if not isinstance(error, GoneError | RejectedError):
            return failed(f"404 is a {type(error).__name__} to its driver", "a fault of the driver: report it")
        singly = sum(resource.one is not None for resource in one.resources.values())
        return passed(f"built in: 404 on a record ends it as deleted; {singly} of {len(one.resources)} are read by id")

    return _each(subjects, look)


def breaker(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Five failures in a row, 30 s: or what the file makes of it."""

    def look(one: Subject) -> Answer:
        found = gate_settings(one.driver, one.partner, [one.name]).breaker
        told = f"opens after {found.failures} failures in a row, one probe after {found.cooldown_seconds:g} s"
        if found.failures > 20 or found.cooldown_seconds > 600:
            return failed(f"it {told}", "limits: {breaker: {failures: 5, cooldown: 30s}}")
        return passed(f"built in: {told}{_breaker_now(facts, one)}")

    return _each(subjects, look)


def _breaker_now(facts: Facts, one: Subject) -> str:
    if facts.daemon is None:
        return ""
    rows = facts.daemon.metrics.get("syncd_breaker_state", ())
    scope = one.partner.scope_for(one.name)
    states = [value for labels, value in rows if labels.get("scope") == scope]
    return "" if not states else "; closed now" if max(states) == 0 else "; open now"


def degrades(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A partner's outage leaves /health at 200, what was copied readable and work waiting in rows."""
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)
    stuck = facts.daemon.health.get("stuck")
    if stuck:
        return failed(f"the process is stuck: {', '.join(stuck)}", "systemctl restart syncd")
    troubled = [n for n, s in facts.daemon.health["services"].items() if s["status"] in {"down", "auth_required"}]
    shown = f"{len(troubled)} down now, and /health answers all the same" if troubled else "none is down now"
    return passed(f"built in: each partner has its own workers and breaker; {shown}")


def timeout(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        seconds = one.partner.deadline_seconds
        if seconds > LONGEST_CALL_SECONDS * 2:
            return failed(f"a call may take {seconds:g} s", "deadline: 30s")
        return passed(f"a call with all its tries ends within {seconds:g} s (deadline)")

    return _each(subjects, look)


def _each(subjects: Sequence[Subject], look: Callable[[Subject], Answer]) -> Answer:
    return together([(one.name, look(one)) for one in subjects])
