"""What a driver's own options make of its description: which resources there are, what stands in calls, which limits hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from syncd.config.units import Rate
from syncd.errors import RejectedError
from syncd.kit.auth import Auth
from syncd.kit.limits import Limits, Tier
from syncd.kit.options import checked
from syncd.kit.placeholders import OPTION
from syncd.kit.reading import replaced
from syncd.kit.resource import Resource
from syncd.kit.shapes import said
from syncd.kit.spec import DriverSpec


def chosen(spec: DriverSpec, settings: Mapping[str, Any]) -> dict[str, Resource]:
    """The resources under these options. Raises ConfigError."""
    found = dict(spec.resources)
    for name, option in spec.options.items():
        for resource, other in option.when.get(said(settings[name]), {}).items():
            if other is None:
                found.pop(resource, None)
            elif isinstance(other, str):
                found[resource] = spec.alternatives[other].model_copy(update={"name": resource})
            else:
                found[resource] = replaced(found[resource], other)
    return found


def stated(resource: Resource, settings: Mapping[str, Any]) -> Resource:
    """The resource with what the options say in its calls. A segment of its path that none says stays as it is."""
    if not resource.options:
        return resource

    def segment(match: re.Match[str]) -> str:
        value = settings.get(match[1])
        return match[0] if value in (None, "", ".", "..") else quote(str(value), safe="")

    path = OPTION.sub(segment, resource.path)
    changed: dict[str, Any] = {"path": path, "params": with_settings(resource.params, settings)}
    then = resource.since.then if resource.since is not None else None
    if resource.since is not None and then is not None and then.option is not None:
        days = then.model_copy(update={"days": settings[then.option]})
        changed["since"] = resource.since.model_copy(update={"then": days})
    return resource.model_copy(update=changed)


def with_settings(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters or headers with what the options say in them; without those of which an option says nothing."""
    return {name: value for name, one in values.items() if (value := _filled(one, settings)) is not None}


def proving(spec: DriverSpec, options: Mapping[str, Any]) -> Auth:
    """How the calls of an integration with these options prove who we are. Raises ConfigError."""
    auth = spec.auth
    page = auth.login.text if auth.login is not None else ""
    if not auth.when and not OPTION.search((auth.token_path or "") + page):
        return auth
    settings = checked(spec, options)
    for name, others in auth.when.items():
        auth = others.get(said(settings[name]), auth)
    filled: dict[str, Any] = {"token_path": _filled(auth.token_path, settings)}
    if auth.login is None:
        return auth.model_copy(update=filled)
    named = {"authorize": auth.login.authorize, "scope": auth.login.scope}
    login = auth.login.model_copy(update={key: _filled(value, settings) for key, value in named.items()})
    return auth.model_copy(update={**filled, "login": login})


def limited(spec: DriverSpec, settings: Mapping[str, Any]) -> Limits:
    """The limits of an account with these options."""
    tiers: list[Tier] = []
    for tier in spec.limits.tiers:
        rate = next(
            (rates[said(settings[name])] for name, rates in tier.when.items() if said(settings[name]) in rates), None
        )
        if tier.option is not None:
            calls = settings[tier.option]
            if calls is None or calls < 1:
                continue
            rate = Rate(int(calls), tier.rate.window_seconds)
        tiers.append(tier if rate is None else tier.model_copy(update={"rate": rate}))
    return spec.limits.model_copy(update={"tiers": tuple(tiers)})


def _filled(value: Any, settings: Mapping[str, Any]) -> Any:
    """A parameter's value; None where an option in it has none."""
    if not isinstance(value, str) or not OPTION.search(value):
        return value
    names = OPTION.findall(value)
    if any(settings.get(name) in (None, "") for name in names):
        return None
    return OPTION.sub(lambda match: str(settings[match[1]]), value)


def unstated(resource: Resource) -> RejectedError:
    """Why a resource cannot be asked for: no option says what stands in its path."""
    name = (OPTION.findall(resource.path) or [""])[0]
    told = f"{resource.name}: nothing says what stands for {{option.{name}}} in {resource.path}"
    return RejectedError(told, hint=f"give options.{name}", resource=resource.name)
