"""Probes of limits and of what calls cost."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, beside, failed, later, passed, together, warned
from syncd.limits import TierSpec
from syncd.scopes import GateSettings, gate_settings

MOST_AT_ONCE = 10
STATIC = frozenset({"users", "locations", "teams", "workspace_members", "properties", "rooms", "categories", "vendors"})


def _gate(one: Subject) -> GateSettings:
    return gate_settings(one.driver, one.partner, [one.name])


def shown(tier: TierSpec, share: float) -> str:
    """`70/1s of 100`: what we allow ourselves in a window, of what is stated."""
    own = tier.limit * (tier.share if tier.share is not None else share)
    what = " points" if tier.weighted else ""
    of = f" of {tier.stated:,.0f}" if tier.stated and tier.stated > own else ""
    return f"{own:,.0f}/{tier.window_seconds:g}s{what}{of}"


def throttled(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Every call passes a gate with these numbers."""

    def look(one: Subject) -> Answer:
        gate = _gate(one)
        if not gate.tiers:
            return failed("no limit is known: nothing throttles its calls", "limits: {tiers: [5/s]}")
        told = ", ".join(shown(tier, gate.share) for tier in gate.tiers[:3])
        return passed(f"built in: every call passes one gate: {told}{_now(facts, one)}")

    return together([(one.name, look(one)) for one in subjects])


def _now(facts: Facts, one: Subject) -> str:
    if facts.daemon is None:
        return ""
    count = facts.daemon.summed("syncd_rate_limited_total", scope=one.partner.scope_for(one.name))
    return f"; {count:,.0f} answers of 429 since the start"


def within_quota(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The limits in force are no looser than what the partner states."""

    def look(one: Subject) -> Answer:
        gate = _gate(one)
        if not gate.tiers:
            return failed("no limit is known", "limits: {tiers: [5/s]}")
        loose = [
            t for t in gate.tiers if t.stated and t.limit * (gate.share if t.share is None else t.share) > t.stated
        ]
        if loose:
            return warned(
                f"{shown(loose[0], gate.share)} is above the stated {loose[0].stated:g}", "take limits.tiers out"
            )
        return throttled(facts, [one])

    return together([(one.name, look(one)) for one in subjects])


def concurrency(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        seats = _gate(one).concurrency
        if seats is None or seats > MOST_AT_ONCE:
            return failed(f"{seats or 'any number of'} calls at once", f"limits: {{concurrency: {MOST_AT_ONCE}}}")
        return passed(f"at most {seats} calls at once (limits.concurrency)")

    return together([(one.name, look(one)) for one in subjects])


def limited_concurrency(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The same for partners that name no number: some bound must stand."""

    def look(one: Subject) -> Answer:
        seats = _gate(one).concurrency
        held = min(seats, one.partner.workers) if seats else one.partner.workers
        return passed(f"at most {held} calls at once ({'limits.concurrency' if seats else 'workers'})")

    return together([(one.name, look(one)) for one in subjects])


def bulk_queries(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Listings are asked by one POST for a page of records."""

    def look(one: Subject) -> Answer:
        asked = [name for name, resource in one.resources.items() if resource.method == "POST"]
        if not asked:
            return failed(
                "none of its resources is asked by a query", "enable one: resources: {people: {enabled: true}}"
            )
        sizes = {one.resources[name].page_size for name in asked} - {None}
        size = f", up to {max(map(int, filter(None, sizes)))} a page" if sizes else ""
        return passed(f"one POST a page for {', '.join(asked[:4])}{' …' if len(asked) > 4 else ''}{size}")

    return together([(one.name, look(one)) for one in subjects])


def offset_pages(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        kinds: dict[str, int] = {}
        for resource in one.resources.values():
            kinds[str(resource.pages.kind)] = kinds.get(str(resource.pages.kind), 0) + 1
        told = ", ".join(f"{count} by {kind}" for kind, count in sorted(kinds.items(), key=lambda two: -two[1]))
        if "offset" not in kinds:
            return failed(f"no listing goes by offset ({told})", "enable one: resources: {people: {enabled: true}}")
        return passed(f"listings go page by page: {told}; nothing is fetched one by one to import it")

    return together([(one.name, look(one)) for one in subjects])


def near_limit(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """The daemon counts what it used of each limit, and says `limit_near` before it is gone."""
    if facts.config.log.level == "error":
        return failed("log.level is error: the warning limit_near is not written", "log: {level: info}")
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)

    def look(one: Subject) -> Answer:
        scope = one.partner.scope_for(one.name)
        daemon = facts.daemon
        assert daemon is not None
        used = {
            labels["tier"]: v
            for labels, v in daemon.metrics.get("syncd_limit_used", ())
            if labels.get("scope") == scope
        }
        budget = {
            labels["tier"]: v
            for labels, v in daemon.metrics.get("syncd_limit_budget", ())
            if labels.get("scope") == scope
        }
        if not used:
            return later(f"the daemon shows no limit of {scope}", "syncd status --verbose")
        told = ", ".join(
            f"{value:,.0f}/{budget.get(tier, 0):,.0f} of {tier}" for tier, value in sorted(used.items())[:2]
        )
        return passed(f"built in: limit_near in the log; used now {told}")

    return together([(one.name, look(one)) for one in subjects])


def sliding_points(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """Attio's scores: a window of ten seconds, one book for a workspace."""

    def look(one: Subject) -> Answer:
        points = [tier for tier in _gate(one).tiers if tier.weighted and tier.window_seconds == 10]
        if not points:
            return failed("no limit counts scores over 10 s", "take limits.tiers out of its file")
        return passed(
            f"{shown(points[0], _gate(one).share)} in any 10 s, counted for {one.partner.scope_for(one.name)}"
        )

    return together([(one.name, look(one)) for one in subjects])


def keep_alive(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """One client a partner keeps its connections; what that saves shows in how fast calls are."""
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)

    def look(one: Subject) -> Answer:
        daemon = facts.daemon
        assert daemon is not None
        count = daemon.summed("integration_api_call_duration_seconds_count", partner=one.partner.name)
        total = daemon.summed("integration_api_call_duration_seconds_sum", partner=one.partner.name)
        if not count:
            return later("the daemon has not called it yet", f"syncd credential test {one.name}")
        return passed(f"built in: one pooled client; {count:,.0f} calls, {total / count * 1000:.0f} ms each")

    return together([(one.name, look(one)) for one in subjects])


def cached(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What seldom changes is read seldom, and served from the copy."""

    def look(one: Subject) -> Answer:
        kept = {name: resource.ttl for name, resource in one.resources.items() if resource.ttl}
        static = [name for name in one.resources if name in STATIC]
        bare = [name for name in static if _every(one, name) < 900]
        if bare:
            return warned(
                f"{', '.join(bare[:3])} are read more than every 15 min", f"resources: {{{bare[0]}: {{every: 6h}}}}"
            )
        if not kept and not static:
            return beside("none of its resources is known to change seldom")
        names = list(dict.fromkeys([*kept, *static]))
        slow = min(_every(one, name) for name in names)
        return passed(f"{', '.join(names[:4])} served from the copy, read every {slow / 3600:g} h or less often")

    return together([(one.name, look(one)) for one in subjects])


def page_size(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    def look(one: Subject) -> Answer:
        sizes = {name: resource.page_size for name, resource in one.resources.items() if resource.page_size}
        small = {name: size for name, size in sizes.items() if size < 100}
        if not sizes:
            return beside("its listings name no page size")
        if small and one.driver.spec.page_size and one.driver.spec.page_size >= 100:
            name, size = next(iter(small.items()))
            return warned(f"{name} asks for {size} a page", f"resources: {{{name}: {{page_size: 100}}}}")
        least, most = min(sizes.values()), max(sizes.values())
        return passed(f"{least if least == most else f'{least} to {most}'} records a page, in {len(sizes)} listings")

    return together([(one.name, look(one)) for one in subjects])


def _every(one: Subject, name: str) -> float:
    """Seconds between two runs; what goes by a calendar is taken for an hour."""
    return one.plans[name].schedule.every_seconds or 3600.0
