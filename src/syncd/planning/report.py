"""A forecast as one document: what the admin API answers, `--json` prints and the table is made of."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Literal

from syncd.config import Config, PartnerConfig
from syncd.config.units import format_duration
from syncd.limits.capacity import Duration
from syncd.planning.inputs import BLIND, Sight, all_scopes
from syncd.sync.advice import Advice, advise
from syncd.sync.forecast import IntegrationForecast, ResourceForecast, ScopeForecast, forecast
from syncd.sync.loads import Figure
from syncd.sync.plan import WEBHOOKS, Strategy

SCHEMA = "syncd.plan/1"
DAY_SECONDS = 86400.0

Source = Literal["daemon", "database", "files"]
"""Where the figures come from: the daemon's own, a database, or nothing but the configuration."""


def report(
    config: Config,
    sight: Sight = BLIND,
    *,
    source: Source,
    now: datetime,
    integration: str | None = None,
    resource: str | None = None,
) -> dict[str, Any]:
    """The plan of everything, of one integration, or of one resource of it. `fits` is of what was asked for alone."""
    scopes, broken = all_scopes(config, sight)
    told, verdicts = [], []
    for load in scopes:
        if integration is not None and integration not in load.integrations:
            continue
        found = forecast(load)
        shown = [one for one in found.integrations if integration in (None, one.name)]
        asked = [r for one in shown for r in one.resources if resource in (None, r.load.resource)]
        verdicts += [one.fits for one in asked]
        counted = {name for one in found.resources for name in one.shares}
        verdicts += [one.fits for one in found.tiers if one.tier.name not in counted]  # the token endpoint's
        partner = config.partners[load.loads[0].partner] if load.loads else None
        told.append(_scope(found, shown, partner, resource, advise(found)))
    return {
        "schema": SCHEMA,
        "now": now,
        "source": source,
        "fits": False if False in verdicts else None if None in verdicts else True,
        "scopes": told,
        "broken": broken,
    }


def _scope(
    found: ScopeForecast,
    shown: list[IntegrationForecast],
    partner: PartnerConfig | None,
    resource: str | None,
    advice: Advice,
) -> dict[str, Any]:
    load = found.load
    return {
        "scope": load.scope,
        "partner": partner.name if partner is not None else "",
        "fits": found.fits,
        "seats": load.seats,
        "response_seconds": _figure(load.latency, otherwise=load.latency_seconds),
        "tiers": [
            {
                "name": one.tier.name,
                "written": one.tier.written,
                "counts": one.tier.counts,
                "window_seconds": one.tier.window_seconds,
                "budget": one.tier.budget,
                "limit": one.tier.ceiling,
                "learned": one.tier.learned,
                "yields": _round(one.yields_per_second * one.tier.window_seconds),
                "asked": _round(one.spent_per_second * one.tier.window_seconds),
                "share": _round(one.share),
                "most_in_window": _round(one.most_in_window),
                "fits": one.fits,
            }
            for one in found.tiers
        ],
        "everything": _duration(found.everything),
        "integrations": [_integration(one, resource) for one in shown],
        "advice": _advice(advice, partner),
    }


def _integration(found: IntegrationForecast, resource: str | None) -> dict[str, Any]:
    return {
        "name": found.name,
        "fits": found.fits,
        "calls": _figure(found.calls),
        "backfill": _duration(found.backfill),
        "backfill_beside": _duration(found.backfill_beside),
        "resources": [_resource(one) for one in found.resources if resource in (None, one.load.resource)],
    }


def _resource(found: ResourceForecast) -> dict[str, Any]:
    load = found.load
    page = load.page.value
    return {
        "name": load.resource,
        "parent": load.parent or None,
        "strategy": WEBHOOKS if load.seldom else str(load.strategy),
        "schedule": load.written,
        "every_seconds": load.shortest_seconds,
        "full_every_seconds": load.full_every_seconds if load.strategy is Strategy.INCREMENTAL else None,
        "records": _figure(load.records),
        "records_a_call": _figure(load.page),
        "calls_a_thousand_records": _round(1000 / page) if page and load.strategy is not Strategy.CHILDREN else None,
        "full_calls": _figure(load.full) if load.strategy is not Strategy.FEED else None,
        "run_calls": None if load.always_full else _figure(load.run),
        "calls_a_day": _round(load.per_second * DAY_SECONDS),
        "at_least": not load.is_known,
        "full": _duration(found.full),
        "full_beside": _duration(found.full_beside),
        "run_beside": _duration(found.run_beside),
        "shares": {name: _round(share) for name, share in found.shares.items()},
        "crowded": list(found.crowded),
        "late": found.late,
        "full_late": found.full_late,
        "fits": found.fits,
        "notes": notes(found),
    }


def notes(found: ResourceForecast) -> list[str]:
    """What a person should know of it beside the figures."""
    load = found.load
    told = list(load.notes)
    if found.late:
        usual = found.usual_beside
        told.append(f"a run takes {_lasting(usual)}, longer than {load.written} ({usual.binding} binds)")
    if found.full_late:
        full_every = format_duration(load.full_every_seconds)
        told.append(f"a complete pass takes {_lasting(found.full_beside)}, longer than full_every: {full_every}")
    elif not load.always_full and not found.late and found.full_beside.seconds > load.shortest_seconds:
        told.append(f"no incremental run during a complete pass, {_lasting(found.full_beside)} long")
    return told


def _advice(advice: Advice, partner: PartnerConfig | None) -> dict[str, Any]:
    return {
        "helps": advice.helps,
        "file": f"partners/{partner.name}.yaml" if partner is not None else None,
        "lines": lines(advice, partner) if partner is not None else [],
        "limits": [
            {
                "tier": one.tier,
                "needed": one.needed,
                "window_seconds": one.window_seconds,
                "yaml": one.yaml,
                "stated": one.most,
                "allowed": one.allowed,
            }
            for one in advice.raises
        ],
    }


def lines(advice: Advice, partner: PartnerConfig) -> list[dict[str, str]]:
    """The YAML lines to write, and below what: one for the file where that reaches all it is meant for, else one each."""
    written: dict[str, dict[str, list[str]]] = {}
    enabled = {name for name in partner.integrations if partner.is_enabled(name)}
    for change in advice.changes:
        keys = {"every", "cron"} if change.key == "every" else {change.key}
        own = [
            name
            for name in change.integrations
            if change.resource in (mine := partner.integrations[name].resources)
            and keys & mine[change.resource].model_fields_set
        ]
        whole = set(change.integrations) == enabled and not own
        for place in [""] if whole else [f"integrations.{name}" for name in change.integrations]:
            written.setdefault(place, {}).setdefault(change.resource, []).append(change.setting)
    found = []
    for place, by in written.items():
        inner = ", ".join(f"{name}: {{{', '.join(settings)}}}" for name, settings in by.items())
        found.append({"below": place, "yaml": f"resources: {{{inner}}}"})
    return found


def _figure(figure: Figure, otherwise: float | None = None) -> dict[str, Any]:
    if figure.value is None and otherwise is not None:
        return {"value": _round(otherwise), "known": "assumed"}
    return {"value": None if figure.value is None else _round(figure.value), "known": str(figure.known)}


def _duration(found: Duration) -> dict[str, Any]:
    return {"seconds": _round(found.seconds), "binding": found.binding}


def _lasting(found: Duration) -> str:
    seconds = max(1, math.ceil(found.seconds))
    if seconds > 600:
        seconds = math.ceil(seconds / 60) * 60
    return format_duration(float(seconds))


def _round(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
