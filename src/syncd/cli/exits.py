"""What the exit codes mean, and which error ends in which. systemd's unit and people's scripts rely on them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILURES = 1
    """Done, but something in it failed, or is not healthy under --exit-code."""
    USAGE = 2
    """The command line itself is wrong; an unknown integration too."""
    UNREACHABLE = 69
    """The daemon does not answer."""
    TRY_LATER = 75
    """Throttled, away, or busy: the same command may work in a while."""
    REFUSED = 77
    """A credential was refused: the partner's, or the admin API's."""
    CONFIG = 78
    """The configuration is invalid."""
    INTERRUPTED = 130


def exit_of(error: BaseException) -> Exit:
    """The exit code of an error that ended a command."""
    from syncd.errors import (
        AskedWrongError,
        AuthError,
        BreakerOpenError,
        ConfigError,
        OwnershipError,
        RateLimitError,
        SchemaError,
        StoreError,
        TransientError,
    )

    match error:
        case AskedWrongError():
            return Exit.USAGE
        case ConfigError() | SchemaError():
            return Exit.CONFIG
        case AuthError():
            return Exit.REFUSED
        case OwnershipError():
            return Exit.FAILURES
        case StoreError() | TransientError() | RateLimitError() | BreakerOpenError() | TimeoutError():
            return Exit.TRY_LATER
        case KeyboardInterrupt():
            return Exit.INTERRUPTED
    return Exit.FAILURES
