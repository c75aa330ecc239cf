"""What single values cannot show: whether a partner's file fits its driver, and whether the files fit together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from syncd.config.chaos import MODE_HELP
from syncd.config.document import Document
from syncd.config.elsewhere import check_addresses, check_plain_http
from syncd.config.facts import DriverFacts, Facts
from syncd.config.integration import IntegrationConfig
from syncd.config.loosening import check_limits
from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.problems import Severity, did_you_mean
from syncd.secrets import REF_HELP


def check_main(document: Document, config: Config, *, strict: bool) -> None:
    """The main file's literals."""
    url = config.database.url
    if url is not None and url.literal is not None and _password_in(url.literal.reveal()):
        _literal(document, ("database", "url"), strict)
    if config.server.admin_token is not None and config.server.admin_token.literal is not None:
        _literal(document, ("server", "admin_token"), strict)


def check_partner(
    document: Document, partner: PartnerConfig, drivers: Mapping[str, DriverFacts] | None, *, strict: bool
) -> None:
    """One partner's file against its driver, and for things that are legal and yet surely not meant."""
    if partner.rest is not None and partner.driver != "rest":
        document.problem(("rest",), "a description under `rest:` belongs to driver: rest", key=True)
    if partner.driver == "rest" and partner.rest is None:
        document.problem(("driver",), "driver: rest wants the partner's description under `rest:`")
    if not partner.integrations and not document.problems:
        document.problem(
            (), "no integrations: nothing will be synced", severity="warning", help="integrations: {name: ...}"
        )
    if drivers is not None and partner.driver not in drivers:
        document.problem(("driver",), f"unknown driver {partner.driver!r}", help=did_you_mean(partner.driver, drivers))
    driver = (drivers or {}).get(partner.driver)
    for name, integration in partner.integrations.items():
        _check_integration(document, partner, name, integration, driver, strict=strict)
    if driver is not None:
        facts = driver.facts(partner.options, partner.rest)
        _check_resources(document, ("resources",), partner.resources, facts)
        _check_options(document, ("options",), partner.options, facts)
        if not partner.integrations:
            _note_findings(document, (), facts)
        if partner.limits is not None and not partner.integrations:
            check_limits(document, partner.limits, facts)


def _check_integration(
    document: Document,
    partner: PartnerConfig,
    name: str,
    integration: IntegrationConfig,
    driver: DriverFacts | None,
    *,
    strict: bool,
) -> None:
    here = ("integrations", name)
    for key, ref in integration.credentials.items():
        if ref.literal is not None:
            _literal(document, (*here, "credentials", key), strict)
    hook = integration.webhook
    for number, ref in enumerate(hook.secrets if hook else ()):
        if ref.literal is not None:
            _literal(document, (*here, "webhook", "secrets", number), strict)
    check_plain_http(document, partner, integration)
    url = partner.base_url_for(name)
    signs = knows = True
    registers = False
    account = ""
    if driver is not None:
        facts = driver.facts(partner.options_for(name), partner.rest)
        signs, knows, registers, account = facts.signs_webhooks, facts.webhooks, facts.registers, facts.account
        _check_resources(document, (*here, "resources"), integration.resources, facts)
        _check_options(document, (*here, "options"), integration.options, facts)
        if _knows(facts.options, partner.options_for(name)):
            _note_findings(document, here, facts)
        _check_credentials(document, name, integration, facts)
        _check_adapters(document, here, integration, facts)
        check_addresses(document, partner, integration, facts)
        _check_switches(document, partner, name, facts)
        _check_parents(document, partner, name, facts)
        if partner.limits is not None:
            check_limits(document, partner.limits, facts)
        if facts.queues:
            _check_queues(document, partner, name)
        if facts.base_url is None and url is None:
            document.problem(here, f"integration {name!r} has no base_url, and its driver knows none", key=True)
    named = partner.options_for(name).get(account) is not None and partner.is_addressed_beside(name)
    _check_strategies(document, partner, name, knows=knows, fed=registers or named)
    if hook is not None and hook.rules:
        _check_rules(document, (*here, "webhook", "rules"), partner, name, driver)
    if hook is not None and not hook.secrets and knows and not integration.accept_risk:
        until = f" until `syncd webhook register {name}` has obtained one" if registers else ""
        document.problem(
            (*here, "webhook"),
            f"a webhook without a secret: every delivery is refused{until}"
            if signs
            else f"a webhook without a secret: this partner signs nothing, so the last part of its URL must be one{until}",
            severity="warning",
            help="secrets: [{file: ...}], or accept_risk: true in the integration",
            key=True,
        )


def _check_switches(document: Document, partner: PartnerConfig, name: str, facts: Facts) -> None:
    """Settings of a resource that the driver leaves off, and nobody switched on: they do nothing.

    The partner's own do something as soon as one integration switches it on.
    """
    if partner.integrations[name].accept_risk or not partner.is_enabled(name):
        return
    in_use = [one for one in partner.integrations if partner.is_enabled(one)]
    for resource in facts.off:
        if partner.resource(name, resource).enabled is not None:
            continue
        own = ("integrations", name, "resources", resource)
        is_on = any(partner.resource(one, resource).enabled for one in in_use)
        for path in (own,) if is_on else (("resources", resource), own):
            if document.has(path):
                document.once(
                    path,
                    f"{resource} is not read: its driver leaves it off, and these settings alone do not switch it on",
                    help="add enabled: true, or enabled: false to say that it is meant",
                    severity="warning",
                    key=True,
                )


def _check_parents(document: Document, partner: PartnerConfig, name: str, facts: Facts) -> None:
    """What is listed below another resource cannot be read where that one is switched off.

    What its driver alone has on goes off with that one; only who asks for it in the file is told.
    """
    if not partner.is_enabled(name):
        return
    stated = {one: partner.resource(name, one).enabled for one in {*facts.parents, *facts.parents.values()}}

    def is_on(resource: str) -> bool:
        for _ in stated:  # from parent to parent
            if (on := stated[resource]) is not None:
                return on
            if resource in facts.off or resource not in facts.parents:
                return resource not in facts.off
            resource = facts.parents[resource]
        return True

    own = ("integrations", name, "resources")
    for child, parent in facts.parents.items():
        if not stated[child] or is_on(parent):
            continue
        places = [(*below, one, "enabled") for one in (parent, child) for below in (own, ("resources",))]
        document.once(
            next((place for place in places if document.has(place)), ("integrations", name)),
            f"{child} is listed below {parent}, which is switched off",
            help=f"{parent}: {{enabled: true}}, or {child}: {{enabled: false}} too",
        )


def _check_queues(document: Document, partner: PartnerConfig, name: str) -> None:
    """Two integrations of one account would each take from its queue what the other has to have."""
    mine = partner.integrations[name]
    for other, integration in partner.integrations.items():
        if other == name:
            return  # of two the later one is told
        same = integration.credentials == mine.credentials and integration.enabled and mine.enabled
        if same and mine.credentials and not mine.accept_risk:
            document.problem(
                ("integrations", name, "credentials"),
                f"the same credentials as {other}: both would read the one queue of that account, and each miss what the "
                "other took",
                help="one integration for an account, or accept_risk: true in the integration",
                key=True,
            )


def _check_adapters(
    document: Document, here: tuple[str | int, ...], integration: IntegrationConfig, facts: Facts
) -> None:
    """Names of adapters the driver has. A shadow of what is in force would compare it with itself."""
    named = [((*here, "adapter", name) if isinstance(integration.adapter, dict) else (*here, "adapter"), name)
             for name in (integration.adapters if integration.adapter else ())]  # fmt: skip
    if integration.shadow:
        named.append(((*here, "shadow"), integration.shadow))
    for path, name in named:
        if facts.adapters and name not in facts.adapters:
            help = did_you_mean(name, facts.adapters) or f"there are: {', '.join(facts.adapters)}"
            document.problem(path, f"unknown adapter {name!r}", help=help)
    if integration.shadow and set(integration.adapters) == {integration.shadow}:
        document.problem(
            (*here, "shadow"),
            f"{integration.shadow} is in force already: there is nothing to compare",
            severity="warning",
            help="leave shadow out",
        )


def _check_rules(
    document: Document, path: tuple[str | int, ...], partner: PartnerConfig, name: str, driver: DriverFacts | None
) -> None:
    """An account's own rules are the description's with these keys in place of its own, and must be as sound."""
    rest = partner.rest_for(name)
    if rest is None:
        hook = partner.integrations[name].webhook
        for finding in driver.rules(hook.rules) if driver is not None and hook is not None else ():
            document.problem((*path, *finding.path), finding.message, help=finding.help)
        return
    facts = driver.facts(partner.options_for(name), rest) if driver is not None else Facts()
    for finding in facts.findings:
        if tuple(finding.path[:2]) == ("rest", "webhooks"):
            document.problem((*path, *finding.path[2:]), finding.message, help=finding.help)


def _check_strategies(document: Document, partner: PartnerConfig, name: str, *, knows: bool, fed: bool) -> None:
    """`strategy: webhooks` where no delivery can come: it is polled, which is surely not what was meant."""
    integration = partner.integrations[name]
    if knows and (fed or integration.webhook is not None):
        return
    for resource in {**partner.resources, **integration.resources}:
        if partner.resource(name, resource).strategy != "webhooks":
            continue
        stated = integration.resources.get(resource)
        own = stated is not None and "strategy" in stated.model_fields_set
        path = (*(("integrations", name) if own else ()), "resources", resource, "strategy")
        why = f"{name} has no webhook section" if knows else f"driver {partner.driver} knows no webhooks"
        help = f"webhook: {{secrets: [{{file: ...}}]}} under integrations.{name}, or another strategy"
        document.problem(
            path, f"{why}: {resource} is polled", severity="warning", help=help if knows else "choose another strategy"
        )


def _knows(known: Collection[str] | None, stated: Mapping[str, object]) -> bool:
    """No name is unknown; otherwise the driver would complain of the same names in its own words."""
    return known is None or all(name in known for name in stated)


def _note_findings(document: Document, here: tuple[str | int, ...], facts: Facts) -> None:
    """What the driver found, at the integration's own options where they are meant, and each mistake once a file."""
    for finding in facts.findings:
        own = (*here, *finding.path)
        path = own if finding.path and document.has(own[: len(here) + 1]) else tuple(finding.path)
        document.once(path, finding.message, help=finding.help)


def _check_resources(
    document: Document, path: tuple[str | int, ...], stated: Mapping[str, object], facts: Facts
) -> None:
    if not facts.resources:
        return
    for name in stated:
        if name not in facts.resources:
            document.problem(
                (*path, name), f"unknown resource {name!r}", help=did_you_mean(name, facts.resources), key=True
            )


def _check_options(document: Document, path: tuple[str | int, ...], stated: Mapping[str, object], facts: Facts) -> None:
    if facts.options is None:
        return
    for name in stated:
        if name not in facts.options:
            help = did_you_mean(name, facts.options) or "this driver has no options"
            document.problem((*path, name), f"unknown option {name!r}", help=help, key=True)


def _check_credentials(document: Document, name: str, integration: IntegrationConfig, facts: Facts) -> None:
    if facts.credentials is None:
        return
    here = ("integrations", name, "credentials")
    unknown = [key for key in integration.credentials if key not in facts.credentials]
    for key in unknown:
        help = did_you_mean(key, facts.credentials) or "this driver wants no credentials"
        document.problem((*here, key), f"unknown credential {key!r}", help=help, key=True)
    for key, required in facts.credentials.items():
        # A misspelt one is already told of; saying that it is missing too would be a second error for one mistake.
        misspelt = any(f"{key!r}" in did_you_mean(other, facts.credentials) for other in unknown)
        if required and key not in integration.credentials and not misspelt:
            document.problem(here, f"missing credential {key!r}", help=f"{key}: {{file: ...}}; {REF_HELP}", key=True)


def check_files(document: Document, partner: PartnerConfig, directory: Path) -> None:
    """Files that a partner's file names: without them it runs, and does less than is meant."""
    named = partner.contract.spec
    for number, name in enumerate(partner.contract.specs):
        if not (directory / name).is_file():
            path = ("contract", "spec") if isinstance(named, str) else ("contract", "spec", number)
            document.problem(
                path,
                f"no such file: {directory / name}: nothing is compared with it",
                help="a relative path begins beside syncd.yaml",
                severity="warning",
            )


def check_mode(document: Document, partner: PartnerConfig, main: Config | None) -> bool:
    """Is nothing in a partner's file that only `mode: development` allows? Where the main file is broken it is production."""
    if main is not None and main.mode == "development":
        return True
    chaotic = [name for name, integration in partner.integrations.items() if integration.chaos is not None]
    for name in chaotic:
        document.problem(
            ("integrations", name, "chaos"), "chaos is refused in production mode", help=MODE_HELP, key=True
        )
    return not chaotic


def _literal(document: Document, path: tuple[str | int, ...], strict: bool) -> None:
    severity: Severity = "error" if strict else "warning"
    document.problem(path, "a secret stands in the file itself", help=REF_HELP, severity=severity)


def _password_in(url: str) -> bool:
    try:
        return bool(urlsplit(url).password) or "password=" in url
    except ValueError:
        return True
