"""What a reload changed, line by line, for the log. A secret shows as a short hash and nothing more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from syncd.config.limits import TierConfig
from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.units import Rate, unit_of
from syncd.redaction import KNOWN
from syncd.secrets import Ref

NOTHING = "(not set)"
_LONGEST = 120


def difference(
    old: Config, new: Config, *, before: Mapping[Ref, str] | None = None, after: Mapping[Ref, str] | None = None
) -> list[str]:
    """`guesty.limits.tiers: 7/s, 80/min → 7/s, 60/min`, one line a change, in the order of the files.

    `before` and `after` are `Vault.fingerprints()` taken round the reload: with them a file whose secret was replaced
    shows as a change although the reference is the same.
    """
    lines = list(_changed("", old.model_copy(update={"partners": {}}), new.model_copy(update={"partners": {}}), {}, {}))
    for name in sorted({*old.partners, *new.partners}):
        was, now = old.partners.get(name), new.partners.get(name)
        if now is None:
            lines.append(f"{name}: removed")
        elif was is None:
            lines.append(f"{name}: added ({_counted(now)})")
        else:
            lines += _partner(name, was, now, before or {}, after or {})
    return lines


def to_renormalize(old: Config, new: Config) -> list[str]:
    """Who reads by another adapter or mapping from now on has records stored that the old one made."""
    found = []
    for name, (partner, integration) in new.integrations.items():
        if name not in old.integrations:
            continue
        before, was = old.integrations[name]
        place = f"{partner.name}.integrations.{name}"
        if was.adapters != integration.adapters:
            found.append(f"{place}: what is stored was made by another adapter; do: syncd renormalize {name}")
            continue
        ours, theirs = _mappings(partner), _mappings(before)
        found += [
            f"{place}: what is stored of {resource} was made by another mapping; do: syncd renormalize {name}/{resource}"
            for resource in ours
            if resource in theirs and ours[resource] != theirs[resource]
        ]
    return found


def _mappings(partner: PartnerConfig) -> dict[str, tuple[Any, Any]]:
    """What a description in the partner's own file makes of each resource's records."""
    resources = (partner.rest or {}).get("resources")
    told = resources.items() if isinstance(resources, dict) else ()
    return {name: (one.get("fields"), one.get("adapters")) for name, one in told if isinstance(one, dict)}


def _partner(
    name: str, was: PartnerConfig, now: PartnerConfig, before: Mapping[Ref, str], after: Mapping[Ref, str]
) -> list[str]:
    bare: dict[str, Any] = {"integrations": {}}
    lines = list(_changed(name, was.model_copy(update=bare), now.model_copy(update=bare), {}, {}))
    for key in sorted({*was.integrations, *now.integrations}):
        path = f"{name}.integrations.{key}"
        first, second = was.integrations.get(key), now.integrations.get(key)
        if second is None:
            lines.append(f"{path}: removed")
        elif first is None:
            lines.append(f"{path}: added")
        else:
            lines += _changed(path, first, second, before, after)
    return lines


def _counted(partner: PartnerConfig) -> str:
    names = list(partner.integrations)
    word = "integration" if len(names) == 1 else "integrations"
    return f"{len(names)} {word}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "empty"


def _changed(
    path: str, was: Any, now: Any, before: Mapping[Ref, str], after: Mapping[Ref, str], show: Any = None
) -> Iterator[str]:
    """A line for each change below. Of what stands on one side alone only what was written: no default of it changed."""
    if isinstance(was, BaseModel) and isinstance(now, BaseModel) and not isinstance(was, (Ref, TierConfig)):
        for name, field in type(was).model_fields.items():
            if not field.exclude:
                unit, key = unit_of(field), field.alias or name
                place = f"{path}.{key}" if path else key
                yield from _changed(place, getattr(was, name), getattr(now, name), before, after, unit and unit.show)
    elif isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            yield from _changed(f"{path}.{key}", was.get(key), now.get(key), before, after)
    else:
        yield from _compared(dict(_written(was, path, show)), dict(_written(now, path, show)), before, after)


def _compared(
    was: dict[str, Any], now: dict[str, Any], before: Mapping[Ref, str], after: Mapping[Ref, str]
) -> Iterator[str]:
    for place in [*was, *(key for key in now if key not in was)]:
        first, second = was.get(place, NOTHING), now.get(place, NOTHING)
        if first != second:
            left, right = _shown(first, before), _shown(second, after)
            yield f"{place}: {left} → {right if left != right else '(another, of which the same is shown)'}"
        elif isinstance(first, Ref) and first in before and first in after and before[first] != after[first]:
            yield f"{place}: {first.text} #{before[first]} → #{after[first]}"


def _shown(value: Any, known: Mapping[Ref, str]) -> str:
    """A text without what is secret in it, and not all of a long one; of a Ref also the hash of what it leads to."""
    if not isinstance(value, Ref):
        masked = KNOWN.mask(str(value))
        return masked if len(masked) <= _LONGEST else masked[:_LONGEST] + "..."
    return f"{value.text} #{known[value]}" if value in known else value.text


def _written(value: Any, path: str, show: Any = None) -> Iterator[tuple[str, Any]]:
    """Every value below that somebody wrote, by its dotted path: the whole text, for `_shown` to show, or the Ref it is."""
    if isinstance(value, Ref):
        yield path, value
    elif isinstance(value, TierConfig):
        yield path, tier_text(value)
    elif isinstance(value, BaseModel):
        fields = {name: field for name, field in type(value).model_fields.items() if name in value.model_fields_set}
        if not fields:
            yield path, "{}"
        for name, field in fields.items():
            if not field.exclude:
                unit = unit_of(field)
                yield from _written(getattr(value, name), f"{path}.{field.alias or name}", unit and unit.show)
    elif isinstance(value, dict):
        if any(isinstance(below, (Ref, BaseModel)) for below in value.values()):
            for key, below in value.items():
                yield from _written(below, f"{path}.{key}")
        elif value:
            yield path, "{" + ", ".join(f"{key}: {_plain(below)}" for key, below in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, Ref) for item in value):
            for number, item in enumerate(value):
                yield from _written(item, f"{path}[{number}]")
        elif value:
            yield path, ", ".join(str(_item(item)) for item in value if item != [])
    elif value is not None:
        yield path, show(value) if show else _plain(value)


def _item(value: Any) -> Any:
    """One of a list as it would be written; null and empty ones too, which alone are nothing that anybody wrote."""
    if isinstance(value, BaseModel) and not isinstance(value, (Ref, TierConfig)):
        pairs = [f"{place.removeprefix('.')}: {text}" for place, text in _written(value, "")]
        return f"{{{', '.join(pairs)}}}"
    return value if isinstance(value, str) else next((text for _, text in _written(value, "")), _plain(value))


def tier_text(tier: TierConfig) -> str:
    """A tier as it would be written."""
    stated = {name: getattr(tier, name) for name in TierConfig.model_fields if name in tier.model_fields_set}
    if set(stated) <= {"rate"}:
        return str(tier.rate)
    pairs = [f"{name}: {value if isinstance(value, Rate) else _plain(value)}" for name, value in stated.items()]
    return f"{{{', '.join(pairs)}}}"


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)
