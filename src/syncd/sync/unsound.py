"""What becomes of a record that a driver cannot read: a reject, and never an exception of its page (R15)."""

from __future__ import annotations

from syncd import codec
from syncd.errors import PayloadError
from syncd.kit import Raw
from syncd.store import Reject

MAX_REASON = 500
FAULTS = (Exception, SystemExit)
"""What a driver may do to one record: also `sys.exit` is a fault of this record, and no reason to go."""


def said(error: BaseException) -> str:
    """Why a record cannot be read, as it is shown: of a fault in the driver its kind alone, its text may hold a value."""
    return str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver"


def unsound(resource: str, external_id: str | None, raw: Raw, error: BaseException, cause: str) -> Reject:
    """The row an unsound record becomes. One without an id is known by its content."""
    reason = said(error) if isinstance(error, PayloadError) else f"{said(error)}: {error}"
    try:
        document = codec.dumps(raw)
    except PayloadError:
        document = codec.dumps({"id": external_id, "not kept": reason})  # nested too deeply to be written down
    return Reject(document, reason[:MAX_REASON], external_id, resource, cause=cause)
