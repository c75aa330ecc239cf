"""What is posted when conditions begin and end: `syncd.alert/1`, or the same as a chat's text."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from syncd import __version__
from syncd.explain import NOTHING_TO_DO

SCHEMA: Final = "syncd.alert/1"
MOST_LINES: Final = 40
"""Of a chat's text; the rest is counted."""

Told = Mapping[str, Any]
"""A condition as `syncd.status/1` has it."""


def generic(
    identifier: str,
    at: datetime,
    host: str,
    began: Sequence[Told],
    ended: Sequence[Told],
    eased: Sequence[Told],
    lasting: Sequence[Told],
) -> bytes:
    """The document. `eased` are those that were told of before, last, and are less bad than is to be told; `lasting` those
    that still are there."""
    return orjson.dumps(
        {
            "schema": SCHEMA,
            "id": identifier,
            "at": at,
            "host": host,
            "version": __version__,
            "summary": summary(began, ended, eased, lasting),
            "began": list(began),
            "ended": list(ended),
            "eased": list(eased),
            "lasting": list(lasting),
        },
        option=orjson.OPT_UTC_Z,
        default=str,
    )


def slack(
    host: str, began: Sequence[Told], ended: Sequence[Told], eased: Sequence[Told], lasting: Sequence[Told]
) -> bytes:
    """The text as Slack's incoming webhooks, and chats that copy them, take it."""
    lines = [f"*syncd on {_plain(host)}*: {summary(began, ended, eased, lasting)}"]
    groups = (
        (":red_circle:", began),
        (":white_check_mark: over:", ended),
        (":large_yellow_circle: not over, but less bad:", eased),
        (":red_circle: still:", lasting),
    )
    told = [f"{mark} {_line(one)}" for mark, group in groups for one in group]
    lines += told[:MOST_LINES]
    if len(told) > MOST_LINES:
        lines.append(f"and {len(told) - MOST_LINES} more: `syncd status`")
    return orjson.dumps({"text": "\n".join(lines)})


def sample(kind: Literal["generic", "slack"], identifier: str, at: datetime) -> bytes:
    """A message by which a person sees that messages arrive."""
    told = {
        "subject": "daemon", "integration": "", "partner": "", "company": "", "resource": "", "state": "healthy",
        "severity": "note", "code": "watchdog", "reason": "this is a sample: nothing is wrong", "since": at,
        "cause": "somebody ran syncd alerts test", "action": NOTHING_TO_DO, "runbook": "syncd runbook watchdog",
    }  # fmt: skip
    host = socket.gethostname()
    return slack(host, [told], [], [], []) if kind == "slack" else generic(identifier, at, host, [told], [], [], [])


def summary(began: Sequence[Told], ended: Sequence[Told], eased: Sequence[Told], lasting: Sequence[Told]) -> str:
    """`2 began, 1 ended`."""
    counted = ((len(began), "began"), (len(ended), "ended"), (len(eased), "eased"), (len(lasting), "still there"))
    return ", ".join(f"{count} {word}" for count, word in counted if count) or "nothing has changed"


def _line(one: Told) -> str:
    whose = "syncd itself"
    if one["integration"]:
        company = f" ({one['company']})" if one["company"] not in ("", one["integration"]) else ""
        whose = f"{one['integration']}{'/' + one['resource'] if one['resource'] else ''}{company}"
    action = one["action"]
    do = f". Do: `{action}`" if action and action != NOTHING_TO_DO and "ended_at" not in one else ""
    return f"{_plain(whose)}: {_plain(one['reason'])}{_plain(do)}"


def _plain(text: str) -> str:
    """What others said must not call a channel or make a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
