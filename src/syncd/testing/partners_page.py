"""The tables of docs/partners.md, made from the drivers themselves: what they say there is what is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from syncd import drivers
from syncd.kit import Driver, Resource
from syncd.kit.auth import Auth
from syncd.kit.deliveries import Webhooks
from syncd.kit.limits import Limits

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


def page() -> str:
    """Everything between the marks of docs/partners.md."""
    found = [(name, drivers.load(name)) for name in drivers.names() if not drivers.kind(name).needs_spec]
    return "\n".join([*_overview(found), *(line for name, driver in found for line in _partner(name, driver))])


def _overview(found: list[tuple[str, Driver]]) -> Iterator[str]:
    yield "| partner | auth | limits | webhooks | registered by syncd | pushes | tier |"
    yield "|---|---|---|---|---|---|---|"
    for name, driver in found:
        spec = driver.spec
        pushes = sum(len(one.pushes) for one in spec.resources.values())
        yield (
            f"| [{spec.title or name}](#{name}) | {_auth(spec.auth)} | {_limits(spec.limits)} | {_signed(spec.webhooks)} "
            f"| {'yes' if _registers(driver) else 'no'} | {pushes or 'none'} | {spec.quality.tier} |"
        )


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
        yield _resource(resource.model_copy(update={"name": name}), driver)
    if spec.open_resources:
        yield "| further ones from `options` | | | | | | | |"
    if spec.quality.excused:
        yield ""
        yield "Excused:"
        yield ""
        yield from (f"* `{rule}`: {why}" for rule, why in sorted(spec.quality.excused.items()))


def _resource(resource: Resource, driver: Driver) -> str:
    rules = driver.spec.webhooks
    events = sorted(event for event, to in (rules.routes if rules is not None else {}).items() if to == resource.name)
    told = f"`{events[0]}`" + (f" and {len(events) - 1} more" if len(events) > 1 else "") if events else ""
    cells = [
        f"`{resource.name}`" + ("" if resource.enabled else " (off)"),
        f"`{resource.method} {resource.path}`",
        _PAGES.get(resource.pages.kind, resource.pages.kind),
        _incremental(resource),
        "one"
        if resource.one and not resource.many
        else "one, many"
        if resource.many and resource.one
        else "many"
        if resource.many
        else "",
        _gone(resource, driver),
        told,
        ", ".join(f"`{kind}`" for kind in resource.pushes),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _incremental(resource: Resource) -> str:
    if resource.parent is not None:
        return f"below each changed `{resource.parent}`"
    if resource.reads == "feed":
        return f"event log of {len(resource.feeds)} resources"
    if resource.since is not None:
        return f"`{resource.since.param or resource.since.body}`"
    return "whole, compared by content"


def _gone(resource: Resource, driver: Driver) -> str:
    if resource.reads == "feed":
        return ""
    ways = []
    if resource.deleted is not None:
        ways.append("told in the record")
    rules = driver.spec.webhooks
    if rules is not None and any(rules.routes.get(event) == resource.name for event in rules.deletes):
        ways.append("event")
    if resource.one is not None:
        ways.append("404")
    ways.append("missed by two passes" if getattr(resource, "missing", "gone") == "gone" else "never by absence")
    return ", ".join(ways)


def _auth(auth: Auth) -> str:
    return _AUTH.get(auth.kind, auth.kind)


def _limits(limits: Limits) -> str:
    told = [str(tier.rate) + (f" ({tier.budget})" if tier.budget else "") for tier in limits.tiers]
    if limits.concurrency is not None:
        told.append(f"{limits.concurrency} at once")
    return ", ".join(told) + f"; {limits.share:.0%} used" if told else "none stated"


def _signed(rules: Webhooks | None) -> str:
    if rules is None:
        return "none"
    return {"none": "unsigned, secret URL", "standard": "Standard Webhooks"}.get(rules.verify, rules.verify)


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
