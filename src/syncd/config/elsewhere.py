"""Addresses that a driver calls beside `base_url`: whoever moves the one says in the file where the others are.

A file with a sandbox's `base_url` would else still send its credential to the partner's own host for tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from syncd.config.document import Document
from syncd.config.facts import Elsewhere, Facts
from syncd.config.integration import IntegrationConfig
from syncd.config.partner import PartnerConfig

_PORTS = {"http": 80, "https": 443}


def strays(
    facts: Facts, base_url: str | None, options: Mapping[str, Any], origins: Collection[str] = ()
) -> list[Elsewhere]:
    """What an integration with this `base_url` would still call, with its credential, where its file does not say so.

    `options` are those that the file gives, `origins` the integration's own. Empty where `base_url` is the driver's.
    """
    if base_url is None or facts.base_url is None or _origin(base_url) == _origin(facts.base_url):
        return []
    said = {_origin(base_url), *map(_origin, origins)}
    return [one for one in facts.elsewhere if one.option not in options and _origin(one.url) not in said]


def told(base_url: str, found: Sequence[Elsewhere]) -> tuple[str, str]:
    """What is wrong with that and what to write, for a person."""
    places = "; ".join(f"{one.what} to {_shown(one.url)}" for one in found)
    message = f"base_url is at {_shown(base_url)}, and calls with the credential would still go elsewhere: {places}"
    # Where such a thing is at another address of one partner nobody knows; at a simulator its path is the same.
    pairs = [f"{one.option}: {_shown(base_url)}{urlsplit(one.url).path}" for one in found if one.option]
    others = sorted({_shown(one.url) for one in found if not one.option})
    ways = [f"options: {{{', '.join(pairs)}}}, or wherever they are"] if pairs else []
    ways += [f"origins: [{', '.join(others)}] in the integration where these are meant"] if others else []
    return message, "; ".join(ways)


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; of what is no URL the text itself, which is equal to nothing else."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return scheme, parts.hostname or url, parts.port or _PORTS.get(scheme, 0)
    except ValueError:
        return "", url, 0


def _shown(url: str) -> str:
    """Scheme, host and port: whoever and whatever password may stand before the host is shown to nobody."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):  # of a port that is no number the host alone is shown
        host = f"[{host}]" if ":" in host else host
        host += "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}"


def check_addresses(document: Document, partner: PartnerConfig, integration: IntegrationConfig, facts: Facts) -> None:
    """No credential goes to a place that the file does not name: who moves `base_url` says where the rest is."""
    url, options = partner.base_url_for(integration.name), partner.options_for(integration.name)
    found = strays(facts, url, options, integration.origins)
    path = ("integrations", integration.name, "base_url") if integration.base_url else ("base_url",)
    if url is not None and found and not (integration.accept_risk and found[0].described):
        message, help = told(url, found)
        # One that is switched off calls nobody: it must not keep the others of its file from running.
        is_warning = found[0].described or not partner.is_enabled(integration.name)
        document.once(path, message, help=help, severity="warning" if is_warning else "error")
    for one in facts.elsewhere:
        if one.option in options and one.url.startswith("http:") and not _is_local(one.url):
            own = ("integrations", integration.name, "options", one.option)
            _tell_plain_http(document, own if document.has(own) else ("options", one.option), integration)


def check_plain_http(document: Document, partner: PartnerConfig, integration: IntegrationConfig) -> None:
    """Nobody on the way should be able to read a credential."""
    url = partner.base_url_for(integration.name)
    if url and url.startswith("http:") and not _is_local(url):
        path = ("integrations", integration.name, "base_url") if integration.base_url else ("base_url",)
        _tell_plain_http(document, path, integration)


def _tell_plain_http(document: Document, path: tuple[str, ...], integration: IntegrationConfig) -> None:
    if not integration.accept_risk:
        document.once(
            path,
            "plain http to another machine shows the credentials to everyone on the way",
            severity="warning",
            help="use https, or accept_risk: true in the integration",
        )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
