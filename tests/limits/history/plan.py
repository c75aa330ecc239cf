"""What one history is made of; everything follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from syncd.limits.tiers import TierSpec

_WINDOWS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_HOUR = 3600.0
JUMPS = (-20 * 365 * 24 * _HOUR, -26 * _HOUR, -_HOUR, -3.0, -0.4, 0.4, 3.0, _HOUR, 26 * _HOUR, 30 * 365 * 24 * _HOUR)
"""Seconds by which a wall clock is set wrong, and right again."""


@dataclass(frozen=True)
class Config:
    """What syncd is told of the scope; a reload brings another."""

    tiers: tuple[TierSpec, ...]
    share: float
    lanes: dict[str, float] | None
    concurrency: int | None


@dataclass(frozen=True)
class Worker:
    """Somebody who calls again and again."""

    lane: int
    member: str
    budget: str
    weight: int
    think_seconds: float
    """On average between two calls; 0 calls as often as it is let."""
    patience_seconds: float | None
    """How long it waits at the gate at most."""
    group: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happens to the process: its kind and one number or configuration."""

    after_seconds: float
    kind: str
    amount: float = 0.0
    config: Config | None = None


@dataclass(frozen=True)
class Plan:
    """One history."""

    seed: int
    config: Config
    workers: tuple[Worker, ...]
    events: tuple[Event, ...]
    seconds: float
    latency: tuple[float, float]
    outlier_seconds: float
    """One answer in fifty takes so long."""
    nature: str
    """When a call arrives between its send and its answer: `early`, `late`, `edges`, `any`."""
    faults: dict[str, float]
    """By outcome: how likely it is."""
    commit_seconds: float
    keeps: bool
    """Is the state stored at all?"""
    lost_seconds: float
    members: dict[str, float] = field(default_factory=dict)
    calls: int = 160
    """The history ends early when so many were made."""


def draw(seed: int) -> Plan:
    """A history of a few hundred calls in any weather."""
    dice = random.Random(f"plan {seed}")
    config = _config(dice, _tiers(dice))
    slowest = min(tier.per_second for tier in config.tiers)
    longest = max(tier.window_seconds for tier in config.tiers)
    seconds = min(max(120 / slowest, 3 * longest, 10.0), 1500.0)
    if slowest * config.share * seconds > 160:  # keep it short: a quick tier needs no long story
        seconds = max(160 / (slowest * config.share), 1.5 * longest)
    most = dice.choice((0.02, 0.3, 0.6, 3.0))
    keeps = dice.random() < 0.8
    calm = dice.random() < 0.25
    return Plan(
        seed=seed,
        config=config,
        workers=tuple(_worker(dice, config) for _ in range(dice.choice((1, 2, 5, 8, 12, 16)))),
        events=tuple(_events(dice, config, seconds, calm=calm, keeps=keeps)),
        seconds=seconds,
        latency=(min(0.01, most / 2), most),
        outlier_seconds=dice.choice((0.0, 0.0, 5.0, 20.0)),
        nature=dice.choice(("early", "late", "edges", "any")),
        faults={} if calm else {k: dice.choice((0.0, 0.01, 0.05)) for k in ("lost", "refused", "sick", "limited", "body")},
        commit_seconds=dice.choice((0.0, 0.003, 0.05, 0.4)),
        keeps=keeps,
        lost_seconds=dice.choice((0.2, 1.0, 3.0)),
    )  # fmt: skip


def _tiers(dice: random.Random) -> tuple[TierSpec, ...]:
    found: dict[str, TierSpec] = {}
    for _ in range(dice.choice((1, 1, 2, 2, 3))):
        window = dice.choice(_WINDOWS)
        limit = dice.choice((1, 2, 3, 5, 8, 13, 20, 40, 100))
        kind = dice.choice(("sliding", "sliding", "sliding", "fixed", "bucket"))
        weighted = dice.random() < 0.15
        spec = TierSpec(
            limit * (5 if weighted else 1),
            window,
            kind=kind,
            burst=dice.choice((None, 1.0, 5.0, 2.0 * limit)) if kind == "bucket" and not weighted else None,
            budget=dice.choice(("", "", "", "read", "write")),
            weighted=weighted,
            share=dice.choice((None, None, 0.9)),
        )
        found[spec.key] = spec
    return tuple(found.values())


def _config(dice: random.Random, tiers: tuple[TierSpec, ...]) -> Config:
    lanes = dice.choice(({}, None, None, {"high": 0.2, "low": 0.3}, {"high": 0.5, "normal": 0.3, "low": 0.2}))
    return Config(tiers, dice.choice((1.0, 0.7, 0.7, 0.5)), lanes, dice.choice((None, None, 1, 3, 7)))


def _reloaded(dice: random.Random, config: Config) -> Config:
    """Other numbers; a tier may go or come. Rates stay near, so that the history keeps its length."""
    tiers = []
    for tier in config.tiers:
        if len(config.tiers) > 1 and dice.random() < 0.2:
            continue
        factor = dice.choice((1.0, 1.0, 0.5, 2.0)) if tier.kind != "bucket" else dice.choice((1.0, 2.0))
        tiers.append(
            TierSpec(
                max(1.0, float(int(tier.limit * factor))) if not tier.weighted else max(5.0, tier.limit * factor),
                tier.window_seconds,
                kind=tier.kind,
                burst=tier.burst,
                budget=tier.budget,
                weighted=tier.weighted,
                share=tier.share,
            )
        )
    if dice.random() < 0.3:
        tiers.extend(t for t in _tiers(dice)[:1] if t.key not in {old.key for old in tiers})
    return _config(dice, tuple(tiers) or config.tiers)


def _worker(dice: random.Random, config: Config) -> Worker:
    weighted = any(tier.weighted for tier in config.tiers)
    return Worker(
        lane=dice.randrange(3),
        member=f"m{dice.randrange(3)}",
        budget=dice.choice(("read", "read", "write")),
        weight=dice.choice((1, 1, 2, 5)) if weighted else 1,
        think_seconds=dice.choice((0.0, 0.0, 0.5, 5.0)),
        patience_seconds=dice.choice((None, None, None, 0.5, 5.0, 60.0)),
        group=dice.choice(("", "", "slow")),
    )


def _events(dice: random.Random, config: Config, seconds: float, *, calm: bool, keeps: bool) -> list[Event]:
    if calm:
        return []
    kinds = ["reload", "pause", "jump", "jump_back", "cancel", "hold", "resume"]
    if keeps:
        kinds += ["kill", "kill", "stop", "return"]
    found = []
    for _ in range(dice.choice((0, 1, 2, 4, 6))):
        kind = dice.choice(kinds)
        amount = {
            "pause": dice.choice((0.5, 3.0, 10.0)),
            "jump": dice.choice(JUMPS),
            "kill": dice.choice((0.0, 0.1, 2.0, 30.0)),
            "stop": dice.choice((0.0, 0.1, 2.0, 30.0)),
            "hold": dice.choice((0.1, 2.0, 20.0)),
        }.get(kind, dice.random())
        if kind == "reload":
            config = _reloaded(dice, config)
        found.append(Event(dice.random() * seconds, kind, amount, config if kind == "reload" else None))
    return sorted(found, key=lambda event: event.after_seconds)
