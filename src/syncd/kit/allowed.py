"""What a credential has to be allowed, and how the partner tells what it is: the keys of `scopes:`.

A scope is what the partner calls one right of a credential. Where nothing here says how they are told, they are not known,
and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from syncd.errors import PayloadError
from syncd.kit.coerce import epoch_moment
from syncd.kit.paths import getter
from syncd.kit.shapes import Model, Path
from syncd.model import Request, Response

TOKEN = "token"  # noqa: S105 - where they are told


class Asked(Model):
    """A cheap call whose answer says what the credential may do."""

    path: str = Field(description="Relative to base_url; asked with GET.")
    scopes: Path = Field(
        description="Where the answer has the scopes: a list, or a text with spaces or commas between them."
    )
    valid: Path | None = Field(
        None, description="Where it says that the credential lives, if it answers 200 for a dead one."
    )
    expires: Path | None = Field(None, description="Where it says when the credential ends, in epoch seconds.")


class Scopes(Model):
    """What a credential has to be allowed."""

    told: Literal["token"] | Asked | None = Field(
        None,
        description="How the partner tells what a credential may do: `token` (in the answer of its token endpoint), or a "
        "call. Left out: it does not tell.",
    )
    implied: dict[str, str] = Field(
        default_factory=dict,
        description="Ending of a scope: the ending it holds as well, such as {read-write: read}.",
    )
    always: tuple[str, ...] = Field((), description="Needed whatever is synced.")
    webhooks: tuple[str, ...] = Field((), description="Needed where webhooks are registered at the partner.")
    resources: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Needed where the resource is synced; `entries_*` are all that begin so, and `*` any that nothing else "
        "here names.",
    )

    def needed(self, resources: Iterable[str], *, webhooks: bool) -> list[str]:
        """What an integration needs that syncs these resources; `webhooks`: which are registered."""
        found = set(self.always) | (set(self.webhooks) if webhooks else set())
        for name in resources:
            found |= set(next((scopes for pattern, scopes in self._patterns if fnmatchcase(name, pattern)), ()))
        return sorted(found)

    @property
    def _patterns(self) -> list[tuple[str, tuple[str, ...]]]:
        """What names one resource before what names several, and those in the order of the file."""
        return sorted(self.resources.items(), key=lambda one: "*" in one[0])

    def missing(self, needed: Iterable[str], held: Collection[str]) -> list[str]:
        """Those of the needed that are not held, and in none that are."""
        whole = set(held)
        for one in held:
            for ending, other in self.implied.items():
                if one.endswith(ending):
                    whole.add(one.removesuffix(ending) + other)
        return sorted(set(needed) - whole)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a partner said of a credential."""

    scopes: tuple[str, ...]
    valid: bool = True
    expires_at: datetime | None = None
    """None where it says nothing of the kind."""


def asking(asked: Asked) -> Request:
    """The call."""
    return Request(asked.path)


def told(asked: Asked, response: Response) -> Granted:
    """What its answer says. Raises PayloadError where it has no scopes and does not call the credential dead."""
    body = response.json()
    if asked.valid is not None and isinstance(body, Mapping) and not getter(asked.valid)(body):
        return Granted((), valid=False)
    found = getter(asked.scopes)(body)
    if not isinstance(found, str | list):
        raise PayloadError(f"the answer to {asked.path} has no scopes at {asked.scopes}")
    ends = getter(asked.expires)(body) if asked.expires is not None else None
    number = isinstance(ends, int | float) and not isinstance(ends, bool)
    return Granted(split(found), expires_at=epoch_moment(ends) if number else None)


def split(found: str | list[Any]) -> tuple[str, ...]:
    """The scopes in a text (RFC 6749 has spaces between them, some partners commas), or in a list."""
    several = found.replace(",", " ").split() if isinstance(found, str) else [str(one) for one in found]
    return tuple(sorted(set(several)))
