"""Every error syncd raises on purpose, in one tree.

The class says what happens next (`sync/decide.py` is the one place that reads it); the message says what failed and why,
in words that carry no secret; `hint` is the command or step that helps. Only `client/` sees an error of the HTTP library
and only `store/` one of the database library: both translate into this tree at their border.

    SyncdError
    ├─ ConfigError            refuse to start; on reload keep the old configuration
    ├─ StoreError             the database refused or is away; work waits, nothing is acknowledged
    │  ├─ OwnershipError      somebody else owns this scope or moved this cursor: stop, write nothing
    │  └─ SchemaError         the database's schema and this release do not fit: no waiting helps
    ├─ PartnerError           knows partner, resource, status; never a secret
    │  ├─ TransientError      try again with backoff; counts against the breaker
    │  ├─ RateLimitError      wait until .retry_at; slows the limiter; costs no attempt
    │  ├─ AuthError           refresh once; then pause the integration and say so
    │  ├─ RejectedError       our request was wrong: dead letter, with the request
    │  ├─ UnknownOutcomeError a change of ours may have arrived and nothing tells: dead letter
    │  ├─ GoneError           the record no longer exists there: tombstone
    │  └─ PayloadError        the answer has the wrong shape: keep the raw, carry on with the next record
    ├─ BreakerOpenError       nothing was sent; wait until .retry_at
    ├─ StaleWorkError         newer data is already stored: drop
    └─ PoisonError            the work ended with the process again and again: dead letter
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

About = Literal["calls", "seats", "object"]
"""What a partner that says "too many" counted: calls in a time, calls at once, or calls for one object."""


class SyncdError(Exception):
    """Base of all. `str(error)` is one sentence for a person; `hint` names the next step, or is empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(SyncdError):
    """The configuration cannot be used. Exit code 78."""


class AskedWrongError(ConfigError):
    """What somebody asked for cannot be; no file is wrong. Exit code 2."""


class StoreError(SyncdError):
    """The database is unreachable, refuses the work, or has another schema than this release needs."""


class OwnershipError(StoreError):
    """A write named a fence or a cursor that is no longer ours (R1, R5): nothing was written."""


class SchemaError(StoreError):
    """The database has a schema this release must not run on. Exit code 78: to start again would change nothing."""


class PartnerError(SyncdError):
    """A call to a partner failed. Carries what a person needs and no secret.

    `status` is the HTTP status or None when no answer came; `code` the partner's own error code; `request_id` what the
    partner's support asks for; `unknown` is True when the request may have taken effect although no answer came;
    `cooled` is set once the client has spent its own retries on it; `evidence` is the call as it was made and answered,
    bounded and masked (`client/evidence.py`), for the dead letter it may become.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        partner: str | None = None,
        integration: str | None = None,
        resource: str | None = None,
        unknown: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.partner = partner
        self.integration = integration
        self.resource = resource
        self.unknown = unknown
        self.cooled = False
        self.evidence: Mapping[str, object] | None = None


class TransientError(PartnerError):
    """5xx, timeout, refused, reset, truncated, HTML where JSON was due. Worth another try.

    `breaks` is False for trouble that says nothing about the partner's health (a 409 lock time-out): it is retried, but
    the breaker does not count it. `retry_at` is set where the partner named a time (503 with Retry-After). `blameless`
    says that any work would have met it: no token was to be had, or the call was the probe of a half-open breaker. It
    costs the work no attempt.
    """

    def __init__(self, message: str, *, breaks: bool = True, retry_at: datetime | None = None, **known: object) -> None:
        super().__init__(message, **known)  # type: ignore[arg-type]
        self.breaks = breaks
        self.retry_at = retry_at
        self.blameless = False


class RateLimitError(PartnerError):
    """The partner counts too many calls. `retry_at` is when it said to come back; None means: choose by backoff.

    `hopeless` marks a call too expensive to pass at any time (Attio's limit on a single query): waiting will not help.
    `about` says what was too many: "calls" in a time; "seats", calls at once, where fewer at a time help and a lower rate
    does not; "object", calls for this one object, which says nothing of any other. `told_by` names what said when to come
    back, for a person: "Retry-After as a date".
    """

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime | None = None,
        hopeless: bool = False,
        about: About = "calls",
        told_by: str = "",
        **known: object,
    ) -> None:
        super().__init__(message, **known)  # type: ignore[arg-type]
        self.retry_at = retry_at
        self.hopeless = hopeless
        self.about: About = about
        self.told_by = told_by


class AuthError(PartnerError):
    """The credential was refused. `permanent` means no refresh can help: a person has to act. `cause` is the likely reason,
    in words, where the answer tells one."""

    def __init__(self, message: str, *, permanent: bool = False, cause: str = "", **known: object) -> None:
        super().__init__(message, **known)  # type: ignore[arg-type]
        self.permanent = permanent
        self.cause = cause


class RejectedError(PartnerError):
    """400, 403 for want of a scope, 404 on a listing, 422: the same request will be refused again."""


class UnknownOutcomeError(PartnerError):
    """A change of ours left, its answer was lost, and nothing can tell whether it was made: only a person can look."""


class GoneError(PartnerError):
    """404 or 410 on a record's own URL: it no longer exists there. `requested_at`: when the request left, where it did."""

    requested_at: datetime | None = None


class PayloadError(PartnerError):
    """The answer is sound HTTP and well-formed, but not of the shape the driver was told to expect."""


class BreakerOpenError(SyncdError):
    """Nothing was sent: the breaker of this scope and endpoint group is open until `retry_at`.

    `held`: a person holds it, of the endpoint group `group` alone or (empty) of the whole scope; ask again at `retry_at`.
    """

    def __init__(
        self, message: str, *, retry_at: datetime, hint: str = "", held: bool = False, group: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at
        self.held = held
        self.group = group


class StaleWorkError(SyncdError):
    """Newer data is stored already, or the work is past its time: drop it and count it."""


class PoisonError(SyncdError):
    """Work that ends the process whenever it is handled: a dead letter, and not tried again before a person says so."""
