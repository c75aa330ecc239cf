"""The tables of docs/partners.md, made from the drivers themselves: what they say there is what is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from syncd import drivers
from syncd.config.units import Rate, format_duration
from syncd.kit import Driver, Resource
from syncd.kit.auth import Auth
from syncd.kit.deliveries import Webhooks
from syncd.kit.spec import Quality

_AUTH = {
    "none": "none",
    "api_key": "API key",
    "basic": "HTTP Basic",
    "bearer": "bearer token",
    "oauth2_client": "OAuth 2 client credentials",
    "oauth2_refresh": "OAuth 2 refresh token",
    "signer": "signed calls",
}
_PAGES = {
    "none": "one page",
    "cursor": "cursor",
    "offset": "offset",
    "page": "page number",
    "next": "next link",
    "link": "Link header",
}

_SIGNED = {
    "none": "unsigned, secret URL",
    "standard": "signed, Standard Webhooks",
    "issued_token": "with a token we issue",
}
SAID = 4
"""Kinds of calls with a rate of their own that are named one by one."""


def page() -> str:
    """Everything between the marks of docs/partners.md."""
    found = [(name, drivers.load(name)) for name in drivers.names() if not drivers.kind(name).needs_spec]
    return "\n".join([*_overview(found), *(line for name, driver in found for line in _partner(name, driver))])


def _overview(found: list[tuple[str, Driver]]) -> Iterator[str]:
    yield "| partner | auth | limits | webhooks | registered by syncd | pushes | tier, and its excuses | checked there |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, driver in found:
        spec = driver.spec
        pushes = sum(len(one.pushes) for one in spec.resources.values())
        checked = spec.quality.checked
        yield (
            f"| [{spec.title or name}](#{name}) | {_auth(spec.auth)} | {_limits(driver)} | {_signed(spec.webhooks)} "
            f"| {'yes' if _registers(driver) else 'no'} | {pushes or 'none'} | {_tier(spec.quality)} "
            f"| {checked.isoformat() if checked is not None else 'not yet'} |"
        )


def _tier(quality: Quality) -> str:
    """An excuse is none of what was reached, so it stands beside it."""
    excused = ", ".join(f"`{rule}`" for rule in sorted(quality.excused))
    return quality.tier + (f", but for {excused}" if excused else "")


def _partner(name: str, driver: Driver) -> Iterator[str]:
    spec = driver.spec
    yield ""
    yield f"### {name}"
    yield ""
    yield f"[What is covered, what is not, and its oddities](../src/syncd/drivers/{name}/README.md)"
    yield ""
    yield "| resource | listed at | paging | incremental | read by id | gone | webhooks | pushes |"
    yield "|---|---|---|---|---|---|---|---|"
    for resource in spec.resources.values():
        yield _resource(resource, driver)
    for name, resource in spec.alternatives.items():  # what options put in a resource's place
        yield _resource(resource.model_copy(update={"name": name}), driver, mark=" (by option)")
    if spec.quality.excused:
        yield ""
        yield "Excused:"
        yield ""
        yield from (f"* `{rule}`: {why}" for rule, why in sorted(spec.quality.excused.items()))


def _resource(resource: Resource, driver: Driver, *, mark: str = "") -> str:
    events = _events(resource, driver)
    told = f"`{events[0]}`" + (f" and {len(events) - 1} more" if len(events) > 1 else "") if events else ""
    reads = [word for word, how in (("one", resource.one), ("many", resource.many)) if how]
    cells = [
        f"`{resource.name}`" + (mark or ("" if resource.enabled else " (off)")),
        f"`{resource.method} {resource.path}`",
        "until nothing is left" if resource.queue else _PAGES.get(resource.pages.kind, resource.pages.kind),
        _incremental(resource, driver),
        ", ".join(reads),
        _gone(resource, driver),
        told,
        ", ".join(f"`{kind}`" for kind in resource.pushes),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _events(resource: Resource, driver: Driver) -> list[str]:
    """What tells of it: the events that lead to it, and those that are registered for it."""
    rules, subscriptions = driver.spec.webhooks, driver.subscriptions({})
    found = {event for event, to in (rules.routes if rules is not None else {}).items() if to == resource.name}
    found |= subscriptions.wanted([resource.name]) if subscriptions is not None else frozenset()
    return sorted(found)


def _incremental(resource: Resource, driver: Driver) -> str:
    if resource.queue is not None:
        return "a queue" + (
            ", acknowledged once stored" if resource.queue.acknowledge else ", and what is read is gone from it"
        )
    if resource.parent is not None:
        return f"below each changed `{resource.parent}`"
    if resource.reads == "feed":
        return f"the log itself; it tells of {', '.join(f'`{name}`' for name in resource.feeds)}"
    ways = []
    if resource.strategy == "webhooks":
        ways.append("webhooks")
    ways += [f"the log `{one.name}`" for one in driver.spec.resources.values() if resource.name in one.feeds]
    if resource.since is not None:
        ways.append(f"`{resource.since.param or resource.since.body}`")
    return ", ".join(ways) or "whole, compared by content"


def _gone(resource: Resource, driver: Driver) -> str:
    if resource.reads == "feed":
        return ""
    ways = []
    if resource.deleted is not None:
        ways.append("told in the record")
    rules = driver.spec.webhooks
    told = {event for event in rules.deletes if rules.routes.get(event) == resource.name} if rules is not None else ()
    if told or (
        "events" in vars(type(driver)) and any(event.endswith(".deleted") for event in _events(resource, driver))
    ):
        ways.append("event")
    if resource.one is not None:
        ways.append("404")
    ways.append("missed by two passes" if getattr(resource, "missing", "gone") == "gone" else "never by absence")
    return ", ".join(ways)


def _auth(auth: Auth) -> str:
    return _AUTH.get(auth.kind, auth.kind)


def _limits(driver: Driver) -> str:
    """Each rate with the calls it counts, alike ones together, and the share of it that is used."""
    limits = driver.spec.limits
    groups: dict[tuple[str, float], list[str]] = {}
    for tier in limits.tiers:
        other = [f"{rate} with `{option}: {value}`" for option, to in tier.when.items() for value, rate in _rates(to)]
        told = ", ".join([_rate(tier.rate) + (" in points" if tier.weighted else ""), *other])
        groups.setdefault((told, tier.share or limits.share), []).append(tier.budget)
    said = []
    for (told, share), budgets in groups.items():
        named = [one for one in budgets if one]
        said += [told] if "" in budgets else []
        whole = f", {share:.0%} used" if share != limits.share else ""
        if len(named) > SAID:
            said.append(f"{told} for each of {len(named)} kinds of calls{whole}")
        else:
            said += [f"{told} ({one}{whole})" for one in named]
    if said:
        said[-1] += f"; {'else ' if any(tier.share for tier in limits.tiers) else ''}{limits.share:.0%} used"
    if limits.concurrency is not None:
        said.append(f"{limits.concurrency} at once")
    return ", ".join(said) or "none stated"


def _rates(to: Mapping[str, Rate]) -> Iterator[tuple[str, str]]:
    for value, rate in to.items():
        yield value, _rate(rate)


def _rate(rate: Rate) -> str:
    """`10000/30d`: the window as a person writes it."""
    text = str(rate)
    return (
        text if not text.rpartition("/")[2][0].isdigit() else f"{rate.limit:,}/{format_duration(rate.window_seconds)}"
    )


def _signed(rules: Webhooks | None) -> str:
    if rules is None:
        return "none"
    return _SIGNED.get(rules.verify, f"signed, `{rules.verify}`")


def _registers(driver: Driver) -> bool:
    return driver.subscriptions({}) is not None


def written(document: str) -> str:
    """The document with its tables made anew."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{page()}\n{end}{after}"


BEGIN = "<!-- drivers -->"
END = "<!-- end -->"

if __name__ == "__main__":
    place = Path("docs/partners.md")
    place.write_text(written(place.read_text("utf-8")), "utf-8")
