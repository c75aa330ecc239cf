"""Kill switches from the environment: off without a deploy, and on again without editing a file.

`SYNCD_PARTNER_<NAME>_ENABLED` and `SYNCD_INTEGRATION_<NAME>_ENABLED`, the name in capitals with `-` as `_`. They
override `enabled:` in the file, both ways.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from syncd.config.partner import PartnerConfig
from syncd.config.problems import Problem, did_you_mean

_VARIABLE = re.compile(r"SYNCD_(PARTNER|INTEGRATION)_(.+)_ENABLED")
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class Switches:
    """The switches found in one environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._problems: list[Problem] = []
        self._set: dict[tuple[str, str], bool] = {}
        for variable in sorted(env):
            found = _VARIABLE.fullmatch(variable)
            if not found:
                continue
            on = _WORDS.get(env[variable].strip().lower())
            if on is None:
                self._problems.append(
                    Problem(
                        "error", f"{variable} is {env[variable]!r}", file="environment", help="set it to true or false"
                    )
                )
            else:
                self._set[found[1], found[2]] = on

    def apply(self, partner: PartnerConfig) -> PartnerConfig:
        """The partner with the environment's word in place of the file's."""
        integrations = {
            name: integration.model_copy(
                update={"enabled": self._set.get(("INTEGRATION", _shouted(name)), integration.enabled)}
            )
            for name, integration in partner.integrations.items()
        }
        enabled = self._set.get(("PARTNER", _shouted(partner.name)), partner.enabled)
        return partner.model_copy(update={"enabled": enabled, "integrations": integrations})

    def problems(self, *, known: Collection[str], partners: Iterable[PartnerConfig]) -> list[Problem]:
        """Unreadable values, and switches for names that are in no file (they would switch nothing off)."""
        names = {
            "PARTNER": {_shouted(name) for name in known},
            "INTEGRATION": {_shouted(name) for partner in partners for name in partner.integrations},
        }
        unknown = [
            Problem(
                "warning",
                f"SYNCD_{kind}_{name}_ENABLED switches nothing: no {kind.lower()} has that name",
                file="environment",
                help=did_you_mean(name, names[kind]),
            )
            for kind, name in self._set
            if name not in names[kind]
        ]
        return [*self._problems, *unknown]


def _shouted(name: str) -> str:
    return name.upper().replace("-", "_")
