"""What every surface of a running daemon says of one trouble, so that a test can hold them to each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from tests.whole.daemon import Daemon

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Said:
    """One condition, by surface."""

    status: dict[str, Any]
    """Its entry in `conditions`."""
    text: str
    """What `syncd status` prints."""
    health: dict[str, Any]
    metrics: list[tuple[str, dict[str, str], float]]
    """Samples of `syncd_condition*` with its code."""
    log: list[dict[str, Any]]
    """`condition_began` and `condition_ended` with its code."""


async def conditions(daemon: Daemon) -> dict[tuple[str, str], dict[str, Any]]:
    """Those of the status, by integration ("": the daemon) and code."""
    return {(one["integration"], one["code"]): one for one in (await daemon.status())["conditions"]}


async def said(daemon: Daemon, integration: str, code: str) -> Said:
    """Ask all of them about a condition that lasts."""
    status = (await conditions(daemon))[integration, code]
    exit_code, text, err = await daemon.cli("status", seconds=60)
    assert exit_code == 0, err
    health = orjson.loads((await daemon.get("/health"))[1])
    return Said(status, text, health, await samples(daemon, integration, code), logged(daemon, integration, code))


async def samples(daemon: Daemon, integration: str, code: str) -> list[tuple[str, dict[str, str], float]]:
    """Of `syncd_condition*`, as Prometheus scrapes them."""
    _, body = await daemon.get("/metrics")
    found = []
    for line in body.decode().splitlines():
        if line.startswith("syncd_condition"):
            name, _, rest = line.partition("{")
            labels = dict(_LABEL.findall(rest))
            if (labels["integration"], labels["code"]) == (integration, code):
                found.append((name, labels, float(line.rpartition(" ")[2])))
    return found


def logged(daemon: Daemon, integration: str, code: str) -> list[dict[str, Any]]:
    """The lines of the log about it."""
    lines = (orjson.loads(line) for line in daemon.log().splitlines() if '"event":"condition_' in line)
    return [one for one in lines if (one["integration"], one["code"]) == (integration, code)]


def agree(one: Said) -> None:
    """All name the same trouble in the same words, with the same command."""
    told = one.status
    reason, action = told["reason"], told["action"]
    flat = " ".join(one.text.split())
    assert reason in flat and action in flat and told["runbook"] in flat, one.text
    of_daemon = told["subject"] == "daemon"
    where = one.health["conditions"] if of_daemon else [one.health["services"][told["integration"]]]
    assert any((each["reason"], each["next_action"]) == (reason, action) for each in where), one.health
    assert one.health["status"] == "degraded"
    by_name = {name: (labels, value) for name, labels, value in one.metrics}
    labels, value = by_name["syncd_condition"]
    assert value == 1.0 and labels["severity"] == told["severity"] and labels["subject"] == told["subject"]
    labels, _ = by_name["syncd_condition_info"]
    assert [labels[key].replace('\\"', '"').replace("\\\\", "\\") for key in ("reason", "action")] == [reason, action]
    assert "syncd_condition_since_timestamp_seconds" in by_name
    [began] = one.log[-1:]
    assert (began["event"], began["action"], began["cause"] != "") == ("condition_began", action, True)
