"""`syncd webhook send`: what it says of the answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.cli.webhook_send import _Trace


def trace(judged: str) -> _Trace:
    app: Any = SimpleNamespace(as_json=False)
    made = {"integration": "hosts", "type": "x", "event_id": "1", "sample": "", "judged": judged, "wanted": "accepted"}
    return _Trace(app, app, made)


@pytest.mark.parametrize(
    ("judged", "told"),
    [
        ("accepted", "intake is in doubt (the database, or it is stopping)"),
        ("unsure", "it names another integration's account"),
        ("signature", "nothing is refused for good while a secret cannot be read"),
    ],
)
def test_why_a_delivery_is_to_come_again_is_said_as_it_is(
    judged: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trace(judged)._judge(503) is False
    out = capsys.readouterr().out
    assert told in out and out.endswith("a partner would send it again\n")
    assert ("the database" in out) == (judged == "accepted")
