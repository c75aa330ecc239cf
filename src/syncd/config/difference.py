"""What a reload changed, line by line, for the log. A secret shows as a short hash and nothing more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from syncd.config.models import Config
from syncd.config.partner import PartnerConfig, TierConfig
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
    lines = _compared("", _main(old), _main(new), {}, {})
    for name in sorted({*old.partners, *new.partners}):
        was, now = old.partners.get(name), new.partners.get(name)
        if now is None:
            lines.append(f"{name}: removed")
        elif was is None:
            lines.append(f"{name}: added ({_counted(now)})")
        else:
            lines += _partner(name, was, now, before or {}, after or {})
    return lines


def _main(config: Config) -> dict[str, Any]:
    return {path: value for path, value in _leaves(config, "") if not path.startswith("partners")}


def _partner(
    name: str, was: PartnerConfig, now: PartnerConfig, before: Mapping[Ref, str], after: Mapping[Ref, str]
) -> list[str]:
    lines = []
    bare: dict[str, Any] = {"integrations": {}}
    lines += _compared(
        name, dict(_leaves(was.model_copy(update=bare), name)), dict(_leaves(now.model_copy(update=bare), name)), {}, {}
    )
    for key in sorted({*was.integrations, *now.integrations}):
        path = f"{name}.integrations.{key}"
        first, second = was.integrations.get(key), now.integrations.get(key)
        if second is None:
            lines.append(f"{path}: removed")
        elif first is None:
            lines.append(f"{path}: added")
        else:
            lines += _compared(path, dict(_leaves(first, path)), dict(_leaves(second, path)), before, after)
    return lines


def _counted(partner: PartnerConfig) -> str:
    names = list(partner.integrations)
    word = "integration" if len(names) == 1 else "integrations"
    return f"{len(names)} {word}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "empty"


def _compared(
    path: str, was: dict[str, Any], now: dict[str, Any], before: Mapping[Ref, str], after: Mapping[Ref, str]
) -> list[str]:
    lines = []
    for place in [*was, *(key for key in now if key not in was)]:
        first, second = was.get(place, NOTHING), now.get(place, NOTHING)
        if first != second:
            lines.append(f"{place}: {_hashed(first, before)} → {_hashed(second, after)}")
        elif isinstance(first, Ref) and first in before and first in after and before[first] != after[first]:
            lines.append(f"{place}: {first.text} #{before[first]} → #{after[first]}")
    return lines


def _hashed(value: Any, known: Mapping[Ref, str]) -> str:
    if not isinstance(value, Ref):
        return str(value)
    return f"{value.text} #{known[value]}" if value in known else value.text


def _leaves(value: Any, path: str, show: Any = None) -> Iterator[tuple[str, Any]]:
    """Every set value below, by its dotted path, as a text that can be shown, or as the Ref it is."""
    if isinstance(value, Ref):
        yield path, value
    elif isinstance(value, TierConfig):
        yield path, tier_text(value)
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if not field.exclude:
                unit = unit_of(field)
                key = field.alias or name
                yield from _leaves(getattr(value, name), f"{path}.{key}" if path else key, unit and unit.show)
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, Ref) for item in value):
            for number, item in enumerate(value):
                yield from _leaves(item, f"{path}[{number}]")
        elif value:
            shown = [item if isinstance(item, str) else next(_leaves(item, ""))[1] for item in value if item != []]
            yield path, _short(", ".join(map(str, shown)))
    elif value is not None:
        yield path, show(value) if show else _short(_plain(value))


def tier_text(tier: TierConfig) -> str:
    """A tier as it would be written."""
    stated = {name: getattr(tier, name) for name in TierConfig.model_fields if name in tier.model_fields_set}
    if set(stated) <= {"rate"}:
        return str(tier.rate)
    pairs = [f"{name}: {value if isinstance(value, Rate) else _plain(value)}" for name, value in stated.items()]
    return f"{{{', '.join(pairs)}}}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(text: str) -> str:
    masked = KNOWN.mask(text)
    return masked if len(masked) <= _LONGEST else masked[:_LONGEST] + "..."
