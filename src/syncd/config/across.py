"""What no file shows alone: names, credentials and grants that two integrations have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from syncd.config.document import Document
from syncd.config.facts import DriverFacts
from syncd.config.integration import IntegrationConfig
from syncd.config.partner import PartnerConfig
from syncd.secrets import Ref


class _User(NamedTuple):
    """An integration that uses a credential, and whose it is."""

    name: str
    scope: str
    file: str
    driver: str
    host: str

    def is_with(self, other: _User) -> bool:
        """Are both of one company? `rest` is a driver for any; a host is one company's whatever drives it."""
        return (
            self.file == other.file
            or (self.driver == other.driver != "rest")
            or (bool(self.host) and self.host == other.host)
        )


def _user(partner: PartnerConfig, integration: str, driver: DriverFacts | None) -> _User:
    url = partner.base_url_for(integration)
    if url is None and driver is not None:
        url = driver.facts(partner.options_for(integration), partner.rest).base_url
    host = urlsplit(url or "").netloc
    return _User(integration, partner.scope_for(integration), partner.name, partner.driver, host)


def check_across(
    documents: Mapping[str, Document],
    partners: Mapping[str, PartnerConfig],
    drivers: Mapping[str, DriverFacts] | None = None,
) -> set[str]:
    """All files together. Returns the partners whose file cannot be used beside the others."""
    broken: set[str] = set()
    named: dict[str, str] = {}
    users: dict[Ref, list[_User]] = {}
    grants: dict[Ref, str] = {}
    for name, partner in partners.items():
        for key, integration in partner.integrations.items():
            if key in named:
                documents[name].problem(
                    ("integrations", key),
                    f"integration {key!r} stands in {documents[named[key]].name} already",
                    help="its name is unique over all partner files: guesty_acme, attio_acme",
                    key=True,
                )
                broken.add(name)
                continue
            named[key] = name
            driver = (drivers or {}).get(partner.driver)
            _check_sharing(documents[name], partner, integration, _user(partner, key, driver), users)
            if driver is not None and not _holds_alone(documents[name], partner, integration, driver, grants):
                broken.add(name)
            if driver is not None:
                _check_account(documents[name], partner, integration, driver)
    return broken


def _check_account(
    document: Document, partner: PartnerConfig, integration: IntegrationConfig, driver: DriverFacts
) -> None:
    """Of several accounts of one application, whose deliveries come to one address: which is this?"""
    options = partner.options_for(integration.name)
    option = driver.facts(options, partner.rest).account
    if not option or options.get(option) is not None or not partner.is_enabled(integration.name):
        return
    others = [one for one in partner.integrations.values() if one is not integration and partner.is_enabled(one.name)]
    own = set(integration.credentials.values())
    of_one = [one for one in others if own & set(one.credentials.values())]
    if of_one and any(one.webhook is not None for one in (integration, *of_one)):
        document.problem(
            ("integrations", integration.name),
            f"of one application with {of_one[0].name}, and nothing says which account it is: what is told of it is taken "
            "for another's",
            help=f"options: {{{option}: ...}}, in each of them",
            severity="warning",
            key=True,
        )


def _holds_alone(
    document: Document,
    partner: PartnerConfig,
    integration: IntegrationConfig,
    driver: DriverFacts,
    grants: dict[Ref, str],
) -> bool:
    """Is what each use replaces this integration's alone? Of two with one refresh token the second use ends both.

    Who accepts the risk is told all the same: it may have been accepted for something else.
    """
    if not partner.is_enabled(integration.name):
        return True
    sound = True
    for key in driver.facts(partner.options_for(integration.name), partner.rest).replaced:
        ref = integration.credentials.get(key)
        first = integration.name if ref is None else grants.setdefault(ref, integration.name)
        if first != integration.name:
            document.problem(
                ("integrations", integration.name, "credentials", key),
                f"the same {key} as {first}: each use replaces it, and whoever has the old one is refused for good",
                help=f"one grant is one integration, with all that it covers: move it into {first}, or obtain a grant of its "
                "own; accept_risk: true in the integration where the partner never replaces it",
                severity="warning" if integration.accept_risk else "error",
                key=True,
            )
            sound = integration.accept_risk
    return sound


def _check_sharing(
    document: Document,
    partner: PartnerConfig,
    integration: IntegrationConfig,
    user: _User,
    users: dict[Ref, list[_User]],
) -> None:
    scope = user.scope
    together = [name for name in partner.integrations if partner.scope_for(name) == scope]
    head = partner.integrations[together[0]]
    other_key = not set(head.credentials.values()) & set(integration.credentials.values())
    shares_unasked = partner.counted_by == "client" and integration.scope is None and head.name != integration.name
    if shares_unasked and other_key and not integration.accept_risk:
        document.problem(
            ("integrations", integration.name, "credentials"),
            f"it spends from the limits of {head.name!r}: the partner counts by client, and two keys may be of one",
            severity="warning",
            help="give both the same `scope:`, or each its own where the clients differ; or accept_risk: true here",
            key=True,
        )
    for key, ref in integration.credentials.items():
        others = [one for one in users.setdefault(ref, []) if one.name != user.name and one.is_with(user)]
        users[ref].append(user)
        if others and others[0].scope != scope and not integration.accept_risk:
            document.problem(
                ("integrations", integration.name, "credentials", key),
                f"{others[0].name!r} uses this credential too: the partner counts both, syncd would count each alone",
                severity="warning",
                help=("" if others[0].file == user.file else "put both into one file; ")
                + "give both the same `scope:`, or accept_risk: true here",
                key=True,
            )
            return
