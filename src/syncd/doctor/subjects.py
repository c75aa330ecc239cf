"""The integrations in use with their drivers, as the daemon would build them. Opens nothing."""

from __future__ import annotations

from collections.abc import Iterator

from syncd import drivers
from syncd.config import Config
from syncd.doctor.facts import Subject
from syncd.plans import resource_plans


def subjects(config: Config) -> list[Subject]:
    """Those that are switched on. Raises ConfigError where a driver cannot be had."""
    found = []
    for partner in config.partners.values():
        usual = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
        for name, settings in partner.integrations.items():
            if not partner.is_enabled(name):
                continue
            driver = drivers.of_integration(partner, name, usual)
            options = partner.options_for(name)
            found.append(
                Subject(
                    name=name,
                    partner=partner,
                    config=settings,
                    driver=driver,
                    plans=resource_plans(driver, partner, name),
                    base_url=driver.base_url(options, partner.base_url_for(name)) or "",
                    webhook_url=config.webhook_url(name) if settings.webhook is not None else "",
                )
            )
    return found


def urls(config: Config, found: list[Subject]) -> Iterator[tuple[str, str]]:
    """Every address outside that the configuration names, and who names it."""
    for one in found:
        if one.base_url:
            yield one.name, one.base_url
        for home in one.driver.homes(one.partner.options_for(one.name), one.partner.base_url_for(one.name)):
            yield one.name, home
        if one.config.webhook is not None and one.config.webhook.url is not None:
            yield f"{one.name}.webhook.url", one.config.webhook.url
    if config.server.public_url is not None:
        yield "server.public_url", config.server.public_url
