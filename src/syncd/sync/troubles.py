"""The wording of what goes wrong; the codes are the runbook's page names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    PartnerError,
    PayloadError,
    PoisonError,
    RateLimitError,
    StoreError,
)
from syncd.explain import NOTHING_TO_DO, Explanation
from syncd.kit import Resource
from syncd.store import KILLED, SealError, Sweep
from syncd.sync import outage


def explain_error(integration: str, resource: str, error: BaseException, since: datetime) -> Explanation:
    """Of every failure of a run."""
    where = f"{integration}/{resource}"
    text = str(error) or type(error).__name__
    hint = getattr(error, "hint", "")
    match error:
        case AuthError(cause=told):
            return Explanation(
                "auth-failed",
                text,
                since,
                cause=told or "the credential was revoked, rotated or lacks rights",
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
                action=hint or f"syncd dryrun {where}",
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
                action=hint or f"syncd dryrun {where}",
            )
        case PartnerError():
            return Explanation(
                "partner-down",
                text,
                since,
                cause="the partner or the way to it is down",
                action=hint or f"{NOTHING_TO_DO}, it is tried again by itself; now: syncd sync {where}",
            )
        case SealError():
            return Explanation(
                "auth-failed",
                text,
                since,
                cause="the key it was sealed with is not among those there are, or the row was changed",
                action=hint,
            )
        case StoreError():
            # /health quotes the reason to everybody: what names hosts and users is the cause.
            return Explanation(
                "database-down",
                "the database refused, or is away",
                since,
                cause=text,
                action=hint or "syncd check --env",
            )
        case _:
            return Explanation(
                "internal-error",
                f"{type(error).__name__}: {text}",
                since,
                cause="a fault in syncd or in a driver",
                action=f"syncd dlq list {integration}",
            )


def explain_test(integration: str, error: BaseException, since: datetime) -> Explanation:
    """Of a credential that was just tested: what else there is to do. The call was of no resource, so none can be named."""
    told = explain_error(integration, "", error, since)
    again = f"syncd credential test {integration}"
    if f"{integration}/" in told.action:
        waits = told.code == "partner-down"
        return replace(told, action=f"{NOTHING_TO_DO}, it is tried again by itself; now: {again}" if waits else again)
    if told.action != again:
        return told
    action = f"put a new one in place: syncd credential set {integration} NAME < file; then: syncd reload --wait"
    return replace(told, action=action)


def held_explanation(integration: str, resource: str, sweep: Sweep, since: datetime) -> Explanation:
    """What is said while deletions wait for a person (R9)."""
    return Explanation(
        "deletions-held",
        f"{resource}: {sweep.reason}; nothing was deleted",
        since=since,
        cause="the listing was empty, cut short or of another account, unless they were really deleted",
        action=f"look at the partner first; to delete them: syncd reconcile {integration}/{resource} --confirm",
    )


def revoked_explanation(integration: str, event_type: str, since: datetime) -> Explanation:
    """What is said when a signed delivery takes our access away."""
    return Explanation(
        "auth-failed",
        f"the partner says that access was taken away ({event_type or 'by webhook'})",
        since,
        cause="somebody at the account removed the connection or its grant",
        action=f"connect the account again, then: syncd credential test {integration}",
    )


class RefusedDeliveries(Protocol):
    """Deliveries of an integration that failed verification since one last passed."""

    @property
    def since(self) -> datetime: ...
    @property
    def count(self) -> int: ...
    @property
    def stale(self) -> int: ...


def signatures_refused(integration: str, refused: RefusedDeliveries, *, repairs: bool) -> Explanation:
    """What is said while deliveries come and none passes; `repairs`: the driver can subscribe anew."""
    old = refused.stale * 2 > refused.count
    anew = f"syncd webhook repair {integration}"
    by_hand = (
        f"put the secret that the partner shows into the file of integrations.{integration}.webhook.secrets, then: "
    )
    return Explanation(
        "signatures-refused",
        "webhooks come and "
        + ("are signed too long ago" if old else "their signature is not of our secret")
        + ": all since then were refused",
        refused.since,
        cause="a clock is wrong, the partner's or this machine's"
        if old
        else "the secret has expired or was changed at the partner, or a proxy changes what it passes on",
        action="timedatectl" if old else anew if repairs else f"{by_hand}syncd reload --wait",
    )


def unacknowledged_explanation(
    integration: str, resource: Resource, late: Sequence[datetime], now: datetime
) -> Explanation:
    """What is said of a queue that shows messages for too long; `late` is since when each has been shown."""
    otherwise = "" if resource.queue is None else resource.queue.otherwise
    return Explanation(
        "unacknowledged",
        f"{resource.name}: {len(late)} messages are not acknowledged, the oldest for "
        f"{(now - min(late)).total_seconds() / 60:.0f} minutes",
        since=min(late),
        cause="they cannot be read, or the partner does not take their acknowledgement"
        + (f"; {otherwise}" if otherwise else ""),
        action=f"syncd dlq list {integration}",
    )
