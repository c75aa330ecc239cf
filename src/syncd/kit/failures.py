"""How a partner's failures read, described: the keys of `errors:`. What becomes of an answer then: `classify.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from syncd.kit.shapes import Model, Path, Pattern

Word = Literal[
    "auth", "denied", "limited", "crowded", "locked", "transient", "busy", "gone", "rejected", "payload"
]  # fmt: skip
"""What an answer means: auth (refresh may help), denied (only a person can), limited (too many calls), crowded (too many
at once), locked (too many for this one object), transient, busy (retry, but the breaker does not count it), gone,
rejected, payload."""


class Errors(Model):
    """How the partner's failures read, where they differ from what HTTP says."""

    code: Path | None = Field(None, description="Where an error body has its code, such as error.code.")
    message: Path | None = Field(None, description="Where it has its text, such as error.message.")
    codes: dict[str, Word] = Field(default_factory=dict, description="What a code means, whatever the status.")
    statuses: dict[int, Word] = Field(default_factory=dict, description="What a status means, such as {403: auth}.")
    success: Path | None = Field(
        None,
        description="Where an answer says whether it is one: a 2xx with false there is a failure, rejected unless its code "
        "or its words say what else. A push is done only where it says true.",
    )
    failure: tuple[Path, ...] = Field(
        (), description="Places that hold something only where an answer is a failure, whatever its status says."
    )
    request_id: Pattern | None = Field(
        None,
        description="Where the body of a failure has what support asks for: a regular expression, of which the first group "
        "that fits is it.",
    )
    reads: str = Field(
        "",
        description="Calls whose last part of the path begins so only read: a failure of theirs inside a 2xx that nothing "
        "says more about is tried again, since it may be the partner's own.",
    )
    messages: dict[Pattern, Word] = Field(
        default_factory=dict,
        description="What the words of a failure mean, by a regular expression searched in them; the first that fits. Where "
        "the status says what it is they only say which: of a 401 auth or denied, of a 429 limited, crowded or locked, of a "
        "408 or 5xx transient or busy.",
    )
    firewall: tuple[int, ...] = Field(
        (),
        description="Statuses that come from a firewall before the partner where their body is not JSON: tried again later.",
    )
