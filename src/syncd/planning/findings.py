"""What `syncd check` says of schedules that cannot fit their limits, however few records there are."""

from __future__ import annotations

from syncd.config import PartnerConfig
from syncd.config.facts import Finding
from syncd.config.units import format_duration
from syncd.errors import SyncdError
from syncd.planning.inputs import scopes_of
from syncd.planning.report import lines
from syncd.sync.advice import Advice, Change, advise
from syncd.sync.forecast import ScopeForecast, forecast


def findings(partner: PartnerConfig) -> list[Finding]:
    """One for each setting that has to change; from the file and its driver alone. Never raises."""
    try:
        scopes = scopes_of(partner)
    except SyncdError:
        return []  # what does not go together is said elsewhere
    found: list[Finding] = []
    for load in scopes:
        seen = forecast(load)
        if seen.fits is False:
            found += _of_scope(partner, seen, advise(seen))
    return list(dict.fromkeys(found))


def _of_scope(partner: PartnerConfig, seen: ScopeForecast, advice: Advice) -> list[Finding]:
    name = seen.load.integrations[0]
    if not advice.changes:
        why = _why(seen)
        return [Finding(("limits",), f"no schedule fits the limits: {why}", f"syncd plan {name}")]
    found: list[Finding] = []
    for change in advice.changes:
        line = "; ".join(_line(one) for one in lines(Advice((change,)), partner))
        help = f"{line}; see syncd plan {change.integrations[0]}"
        told = f"{change.was} of {change.resource} does not fit the limits: {_why(seen)}"
        found += [Finding(path, told, help) for path in _places(partner, change)]
    return found


def _why(seen: ScopeForecast) -> str:
    """The fullest limit. Of runs nothing is known but that each makes a call, so it can be nothing else."""
    full = max(seen.tiers, key=lambda one: one.share)
    window = full.tier.window_seconds
    asked, left = full.spent_per_second * window, full.yields_per_second * window
    what = "points" if full.tier.weighted else "calls"
    whose = f"all of {seen.load.scope} ask" if len(seen.load.loads) > 1 else "it asks"
    told = f"{whose} for {asked:,.0f} {what} in {format_duration(window)} at the least"
    return f"{told}, {full.tier.written} leaves {left:,.0f}"


def _line(written: dict[str, str]) -> str:
    return f"below {written['below']}: {written['yaml']}" if written["below"] else written["yaml"]


def _places(partner: PartnerConfig, change: Change) -> list[tuple[str, ...]]:
    """Where the setting stands; where it is the driver's own, the limit that is too small for it, or the integration."""
    keys = ("every", "cron") if change.key == "every" else (change.key,)
    found: dict[tuple[str, ...], None] = {}
    for name in change.integrations:
        own = partner.integrations[name].resources.get(change.resource)
        shared = partner.resources.get(change.resource)
        for settings, here in ((own, ("integrations", name, "resources")), (shared, ("resources",))):
            written = [key for key in keys if settings is not None and key in settings.model_fields_set]
            if written:
                found[(*here, change.resource, written[0])] = None
                break
        else:
            found[("limits", "tiers") if partner.limits and partner.limits.tiers else ("integrations", name)] = None
    return list(found)
