"""What became of letters whose work goes back, and what every way back needs to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from syncd.errors import PoisonError
from syncd.store.suspicion import POISON

ROWS = "unnest($2::bigint[], $3::bigint[]) AS l(id, letter_id)"
LIVES = "unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS l(id, letter_id, suspicion)"


@dataclass(slots=True)
class Returned:
    """What became of some letters, by their ids."""

    ids: list[int] = field(default_factory=list)
    """Their work is a row again."""
    standing: list[int] = field(default_factory=list)
    """Their work had been returned or done by somebody else: settled all the same."""
    overtaken: list[int] = field(default_factory=list)
    """Pushes dropped: a newer one of the same record was done."""
    unable: list[int] = field(default_factory=list)
    """Left open: what it takes to do them is no longer there."""
    put_off: dict[int, str] = field(default_factory=dict)
    """Not now, and why: they are stepped over and come back to."""
    waits: bool = False
    """Some were left for later: as much as may be is under way, or it is not their time."""

    @property
    def touched(self) -> int:
        return len(self.ids) + len(self.standing) + len(self.overtaken) + len(self.unable)


def lives(letters: Sequence[asyncpg.Record], ids: Sequence[int]) -> list[int]:
    """How suspicious the work of these letters is: what is said to kill the process gets one more life, not five."""
    of = {letter["id"]: suspicion(letter) for letter in letters}
    return [of[letter] for letter in ids]


def suspicion(letter: asyncpg.Record) -> int:
    return POISON - 1 if letter["error_class"] == PoisonError.__name__ else 0


def named(letters: Sequence[asyncpg.Record]) -> tuple[list[int], list[int], list[int]]:
    """Rows, the letters of these rows, and letters that name none."""
    rows, of, unable = [], [], []
    for letter in letters:
        if (letter["origin_id"] or "").isdecimal():
            rows.append(int(letter["origin_id"]))
            of.append(letter["id"])
        else:
            unable.append(letter["id"])
    return rows, of, unable
