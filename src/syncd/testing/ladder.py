"""The quality ladder: what each rung asks of a driver, by name, and how it is looked at.

A driver claims a rung in its description (`quality: {tier: silver}`); every rule up to that rung must hold or be excused in
words (`excused: {rule: why}`). An excuse from a rule that does hold is as wrong as none: it tells of a driver that was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from syncd.clock import SystemClock
from syncd.kit import Driver, Resource
from syncd.testing.samples import Sample

README_HEADINGS: Final = ("Limits", "Auth", "Oddities", "Webhooks", "Support")
TIERS: Final = ("none", "bronze", "silver", "gold")
FRESH: Final = timedelta(days=90)
SELDOM: Final = 20 * 3600.0
"""Seconds between passes from which on it is of no use to ask for changes only."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a rule is judged by."""

    driver: Driver
    folder: Path
    samples: Sequence[Sample]
    resources: Mapping[str, Resource]
    today: date


Judge = Callable[[Grade], str]
"""What is wrong; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing a rung asks."""

    name: str
    tier: str
    asks: str
    judge: Judge


def shortfalls(
    driver: Driver,
    folder: Path,
    samples: Sequence[Sample],
    resources: Mapping[str, Resource],
    *,
    today: date | None = None,
) -> Iterator[str]:
    """What keeps a driver from the rung it claims, in words."""
    quality = driver.spec.quality
    names = {rule.name for rule in RULES}
    for name, why in quality.excused.items():
        if name not in names:
            yield f"excused from {name!r}, and there is no such rule; there are {', '.join(sorted(names))}"
        elif len(why.split()) < 3:
            yield f"the excuse from {name!r} gives no reason"
    grade = Grade(driver, folder, samples, resources, today or SystemClock().now().date())
    rungs = TIERS[1 : TIERS.index(quality.tier) + 1]
    for rule in RULES:
        if rule.tier not in rungs:
            continue
        wrong = rule.judge(grade)
        excused = rule.name in quality.excused
        if wrong and not excused:
            yield f"{rule.tier} asks for {rule.name} ({rule.asks}): {wrong}"
        elif excused and not wrong:
            yield f"excused from {rule.name!r}, which holds: take the excuse away"


def table() -> str:
    """All rules for docs/writing-a-driver.md."""
    rows = [f"| `{rule.name}` | {rule.tier} | {rule.asks} |" for rule in RULES]
    return "\n".join(["| rule | from | what it asks |", "|---|---|---|", *rows]) + "\n"


# Bronze.


def _samples(grade: Grade) -> str:
    sampled = {sample.resource for sample in grade.samples if sample.kind == "record"}
    wanted = {name for name, resource in grade.resources.items() if resource.reads != "feed"}
    return _none_of("a sample", wanted - sampled)


def _owner(grade: Grade) -> str:
    return "" if grade.driver.spec.quality.owner.strip() else "quality.owner names nobody"


def _readme(grade: Grade) -> str:
    sections = _sections(grade.folder)
    if not sections:
        return "there is no README.md"
    missing = [name for name in README_HEADINGS if not any(name.lower() in title.lower() for title in sections)]
    return f"README.md has no {', '.join(missing)}" if missing else ""


def _dated(grade: Grade) -> str:
    sections = _sections(grade.folder)
    undated = [
        title
        for title, text in sections.items()
        if any(name.lower() in title.lower() for name in README_HEADINGS) and not re.search(r"20\d\d-\d\d", text)
    ]
    return f"README.md dates nothing under {', '.join(undated)}" if undated else "" if sections else "no README.md"


def _sections(folder: Path) -> dict[str, str]:
    """The README by heading; all that stands below a heading of one level, deeper ones too."""
    file = folder / "README.md"
    if not file.is_file():
        return {}
    found: dict[str, str] = {}
    parts = re.split(r"^##? (.+)$", file.read_text("utf-8"), flags=re.MULTILINE)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        found[title.strip()] = text
    return found


# Silver.


def _answers(low: int, high: int) -> Judge:
    def judge(grade: Grade) -> str:
        statuses = [one.content["answer"].get("status", 200) for one in grade.samples if one.kind == "error"]
        return "" if any(low <= status <= high for status in statuses) else "there is no sample of it"

    return judge


def _limits(grade: Grade) -> str:
    limits = grade.driver.spec.limits
    modest = all((tier.share or limits.share) <= 0.7 for tier in limits.tiers)
    return "" if modest or limits.reason else "more than 70 % of a stated limit is used, and limits.reason says nothing"


def _incremental(grade: Grade) -> str:
    fed = {name for resource in grade.resources.values() for name in resource.feeds}
    whole = {
        name
        for name, resource in grade.resources.items()
        if resource.since is None
        and resource.reads != "feed"
        and resource.strategy != "webhooks"
        and resource.parent is None
        and name not in fed
        and (resource.every or resource.ttl or 0.0) < SELDOM
    }
    return f"read whole, and often: {', '.join(sorted(whole))}" if whole else ""


# Gold.


def _verified(grade: Grade) -> str:
    rules = grade.driver.spec.webhooks
    if not grade.driver.takes_webhooks:
        return "no webhooks are taken"
    if rules is not None and rules.verify == "none" and not _own(grade.driver, "verify", "verifier"):
        return "nothing is signed"
    return "" if any(one.kind == "webhook" for one in grade.samples) else "there is no sample of a delivery"


def _deduplicated(grade: Grade) -> str:
    rules = grade.driver.spec.webhooks
    if not grade.driver.takes_webhooks:
        return "no webhooks are taken"
    if (rules is None or not (rules.event_id or rules.composite)) and not _own(grade.driver, "event_id"):
        return "neither webhooks.event_id nor webhooks.composite says which deliveries are one"
    known = any(one.kind == "webhook" and one.content.get("event_id") for one in grade.samples)
    return "" if known else "no sample of a delivery has its event_id"


def _own(driver: Driver, *names: str) -> bool:
    return any(not getattr(type(driver), name).__module__.startswith("syncd.kit.") for name in names)


def _pushes(grade: Grade) -> str:
    unsafe = [
        f"{kind} of {name}"
        for name, resource in grade.resources.items()
        for kind, rules in resource.pushes.items()
        if rules.idempotency == "none" and rules.look_up is None
    ]
    return f"twice may be twice: {', '.join(unsafe)}" if unsafe else ""


def _reconcile(grade: Grade) -> str:
    fed = {name for resource in grade.resources.values() for name in resource.feeds}
    never = sorted(fed - {name for name, one in grade.resources.items() if one.reads != "feed"})
    return f"never listed whole: {', '.join(never)}" if never else ""


def _checked(grade: Grade) -> str:
    checked = grade.driver.spec.quality.checked
    if checked is None:
        return "quality.checked has no date"
    return "" if grade.today - checked <= FRESH else f"last checked on {checked}"


def _none_of(what: str, names: set[str]) -> str:
    return f"no {what.removeprefix('a ')} of {', '.join(sorted(names))}" if names else ""


RULES: Final = (
    Rule("samples", "bronze", "a sample of each resource", _samples),
    Rule("owner", "bronze", "who looks after it: `quality: {owner: ...}`", _owner),
    Rule("readme", "bronze", f"README.md with the headings {', '.join(README_HEADINGS)}", _readme),
    Rule("dated", "bronze", "a date under each of these headings", _dated),
    Rule("sample-401", "silver", "a sample of its answer to a refused credential", _answers(401, 401)),
    Rule("sample-429", "silver", "a sample of its answer to too many calls", _answers(429, 429)),
    Rule("sample-5xx", "silver", "a sample of an answer of a sick server", _answers(500, 599)),
    Rule("limits", "silver", "at most 70 % of each stated limit, or `limits.reason`", _limits),
    Rule(
        "incremental", "silver", "what is read several times a day is asked for its changes, or told of", _incremental
    ),
    Rule("webhooks-verified", "gold", "deliveries are signed and verified, with a sample", _verified),
    Rule("webhooks-deduplicated", "gold", "what makes two deliveries one is known, with a sample", _deduplicated),
    Rule("push-idempotent", "gold", "each push asserts, carries a key, or can be looked up", _pushes),
    Rule("reconcile", "gold", "everything can be listed whole, so that the daily pass finds what was lost", _reconcile),
    Rule("checked", "gold", "checked against the real partner within 90 days: `quality: {checked: date}`", _checked),
)
