"""What checking a configuration is told of a driver under some options: where its calls go, and which limits it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from syncd.client.addresses import origin_of
from syncd.config.facts import Elsewhere, Facts, KnownTier

if TYPE_CHECKING:
    from syncd.kit.auth import Auth
    from syncd.kit.driver import Driver
    from syncd.kit.limits import Tier
    from syncd.kit.resource import Resource

TOKENS = "token requests"


def under(driver: Driver, options: Mapping[str, Any], known: Facts) -> Facts:
    """The description's facts with what the options make of them. Raises ConfigError.

    A resource that the options take away may still be named in a file: other options may put it back.
    """
    auth, limits, resources = driver.auth(options), driver.limits(options), driver.resources(options)
    tiers = [_tier(tier, limits.share) for tier in limits.tiers]
    tiers += [_tier(tier, 1.0, budget="token") for tier in auth.tiers]
    return replace(
        known,
        resources=tuple(dict.fromkeys([*known.resources, *resources])),
        credentials=auth.names,
        replaced=auth.replaced,
        elsewhere=_elsewhere(driver, options, auth, resources),
        tiers=tuple(tiers),
        share=limits.share,
        concurrency=limits.concurrency,
        off=tuple(name for name, resource in resources.items() if not resource.enabled),
        parents={name: resource.parent for name, resource in resources.items() if resource.parent is not None},
    )


def _tier(tier: Tier, share: float, budget: str = "") -> KnownTier:
    burst = tier.burst or tier.rate.limit
    return KnownTier(
        tier.rate, tier.share or share, budget or tier.budget, tier.weighted, bucket=tier.kind == "bucket", burst=burst
    )


def _elsewhere(
    driver: Driver, options: Mapping[str, Any], auth: Auth, resources: Mapping[str, Resource]
) -> tuple[Elsewhere, ...]:
    """The absolute addresses that its calls carry a credential to, under these options."""
    found: dict[str, str] = {}
    token_path = auth.token_path or ""
    if urlsplit(token_path).scheme:
        found[token_path] = TOKENS
    for name, resource in resources.items():
        if resource.host:
            before = found.get(resource.host)
            found[resource.host] = name if before is None else f"{before}, {name}"
    urls = {name: options.get(name, one.default) for name, one in driver.spec.options.items() if one.kind == "url"}
    return tuple(
        Elsewhere(
            what,
            url,
            max(
                (name for name, value in urls.items() if _said(url, value)),
                key=lambda name: len(urls[name]),
                default="",
            ),
            described=driver.needs_spec,
        )
        for url, what in found.items()
    )


def _said(url: str, value: Any) -> bool:
    """Does an option that has this value say the address?"""
    return isinstance(value, str) and value != "" and url.startswith(value.rstrip("/"))


def homes(driver: Driver, options: Mapping[str, Any], given: str | None) -> list[str]:
    """Further origins that calls may go to with the credential, where the file gives this `base_url` or none.

    The description's `hosts` are the partner's own, and no home of an account that is at another address. Hosts that
    resources are asked at stand in the file then: `syncd.config.elsewhere` sees to it. Raises ConfigError.
    """
    own = driver.spec.base_url  # whatever an option puts into its path
    moved = given is not None and own is not None and not _together(given, own)
    hosts = list(driver.spec.hosts) if driver.needs_spec or not moved else []
    return hosts + list(
        dict.fromkeys(str(origin_of(one.host)) for one in driver.resources(options).values() if one.host)
    )


def _together(one: str, other: str) -> bool:
    with suppress(ValueError):
        return origin_of(one) == origin_of(other)
    return False
