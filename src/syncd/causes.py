"""What troubles of one cause are called, how a person names one, and how it is told.

A cause has a name of eight hex digits that stays the same as long as the trouble does. Its first letters are enough, and so
are words of what is shown of it, as long as they fit one cause only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.errors import ConfigError
from syncd.redaction import redact
from syncd.store import DeadLetter, Replay, Standing, Trouble

LETTER, REJECT = "dead letter", "reject"
_SEPARATORS = re.compile(r"[\s·,;:/]+")
_MOST_NAMED = 5


def cause_of(kind: str, integration: str, resource: str, fingerprint: str) -> str:
    """Eight hex digits that stay the same as long as the trouble is the same."""
    whole = "\0".join((kind, integration, resource, fingerprint))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def name_of(kind: str, trouble: Trouble) -> str:
    return cause_of(kind, trouble.integration, trouble.resource, trouble.fingerprint)


def fitting(text: str, every: Sequence[tuple[str, Trouble]]) -> list[tuple[str, Trouble]]:
    """The causes a text may mean: the one whose name begins so, else those that hold all its words."""
    wanted = text.strip().lower()
    found = [pair for pair in every if wanted and name_of(*pair).startswith(wanted)]
    if len(found) == 1:
        return found
    words = [word for word in _SEPARATORS.split(wanted) if word]
    by_words = [pair for pair in every if words and all(word in _said(pair[1]) for word in words)]
    return by_words if not found or len(by_words) == 1 else found


def chosen(text: str, every: Sequence[tuple[str, Trouble]]) -> tuple[str, Trouble]:
    """The one cause a person means. Raises ConfigError, with those that fit, where it is none or several."""
    found = fitting(text, every)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"{text!r} names no cause: no cause begins so or holds these words; it may have been settled meanwhile",
            hint="syncd dlq list",
        )
    named = "; ".join(f"{name_of(*pair)} {_short(pair[1])}" for pair in found[:_MOST_NAMED])
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise ConfigError(f"{text!r} names no cause alone, {len(found)} fit: {named}{more}", hint="syncd dlq list")


def trouble_of(replay: Replay) -> Trouble:
    """The cause a replay is of, though no letter of it be open any more."""
    ended_at = replay.ended_at or replay.begun_at
    return Trouble(
        replay.integration, replay.resource, replay.fingerprint, replay.message, 0, replay.begun_at, ended_at, ()
    )


def _said(trouble: Trouble) -> str:
    return f"{trouble.integration} {trouble.resource} {trouble.fingerprint} {trouble.message}".lower()


def _short(trouble: Trouble) -> str:
    where = f"{trouble.integration}/{trouble.resource}".rstrip("/")
    return f"{where} {trouble.message[:60]}"


def told(kind: str, trouble: Trouble) -> dict[str, Any]:
    """One cause as JSON."""
    return {
        "cause": name_of(kind, trouble),
        "kind": kind.replace(" ", "_"),
        "integration": trouble.integration,
        "resource": trouble.resource,
        "fingerprint": trouble.fingerprint,
        "message": trouble.message,
        "count": trouble.count,
        "first_at": trouble.first_at,
        "last_at": trouble.last_at,
        "examples": list(trouble.examples),
        "letters": list(trouble.letters),
        "replayed_before": trouble.again,
    }


def letter_told(letter: DeadLetter, *, formers: Sequence[DeadLetter] = ()) -> dict[str, Any]:
    """One dead letter as JSON, with everything a person needs; masked once more on its way out."""
    return {
        "letter": letter.id,
        "cause": cause_of(LETTER, letter.integration, letter.resource, letter.fingerprint),
        "state": letter.state,
        "integration": letter.integration,
        "resource": letter.resource,
        "record": letter.external_id,
        "from": letter.origin,
        "push": int(letter.origin_id) if letter.origin == "outbox" and letter.origin_id else None,
        "error": letter.error_class,
        "message": letter.message,
        "attempts": letter.attempts,
        "history": [dict(one) for one in letter.history],
        "times": letter.times,
        "buried": letter.buried_at,
        "last": letter.last_at or letter.buried_at,
        "request": redact(letter.request),
        "response": redact(letter.response),
        "traceback": letter.traceback,
        "payload": redact(letter.payload),
        "replays": letter.replays,
        "former": [
            {"letter": one.id, "message": one.message, "buried": one.buried_at, "replayed": one.settled_at}
            for one in formers
        ],
        "replay": letter.replay_id,
        "waits_for": letter.put_off_for,
        "settled": letter.settled_at,
        "settled_by": letter.settled_by,
        "reason": letter.reason,
    }


def replay_told(standing: Standing, now: datetime) -> dict[str, Any]:
    """Where a replay stands, as JSON."""
    replay = standing.replay
    held = standing.held_until if standing.held_until is not None and standing.held_until > now else None
    return {
        "replay": replay.id,
        "integration": replay.integration,
        "resource": replay.resource,
        "cause": cause_of(LETTER, replay.integration, replay.resource, replay.fingerprint),
        "message": replay.message,
        "who": replay.who,
        "state": replay.state,
        "total": replay.total,
        "sent": replay.sent,
        "done": standing.done,
        "in_flight": standing.in_flight,
        "failed": standing.failed,
        "waiting": standing.waiting,
        "put_off": standing.put_off,
        "put_off_for": standing.put_off_for,
        "overtaken": replay.overtaken,
        "unable": replay.unable,
        "canary": replay.canary_id,
        "held_until": held,
        "held_by": standing.held_by,
        "reason": replay.reason,
        "begun_at": replay.begun_at,
        "ended_at": replay.ended_at,
    }


def top(troubles: Sequence[Trouble], most: int = 2) -> list[Mapping[str, Any]]:
    """The most frequent causes with the command that shows each: what the status has room for."""
    return [
        {
            "cause": name_of(LETTER, one),
            "where": f"{one.integration}/{one.resource}".rstrip("/"),
            "message": one.message,
            "count": one.count,
            "since": one.first_at,
            "action": f"syncd dlq show {name_of(LETTER, one)}",
        }
        for one in troubles[:most]
    ]
