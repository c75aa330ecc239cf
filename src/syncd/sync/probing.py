"""Which work may be taken while a breaker is not closed: none while it is open, one piece at a time while it is half-open.

What is not taken stays a row, or a unit that is due: it spends no attempt and is not put back and forth. The piece that
may go is the probe by which the gate finds out; it still passes the gate, which lets only one call go whatever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from syncd.limits import MANY
from syncd.sync.account import Account

Group = tuple[str, str]
"""(scope, endpoint group)."""


class Probing:
    """One partner's memory of the probes it handed out. Keys are those of work: a run's or a batch's."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._out: dict[Group, str] = {}

    def takes(self, integration: str, resource: str) -> int:
        """How many pieces of work of this resource may be taken now: none, one (a probe), or MANY."""
        return min(takes for _, takes in self._needs(integration, resource))

    def probes(self, integration: str, resource: str) -> Group | None:
        """The group that this resource's work would be the probe of; None where it may not be one, or needs not."""
        needs = list(self._needs(integration, resource))
        if min(takes for _, takes in needs) != 1:
            return None
        return next(group for group, takes in needs if takes == 1)

    def barred(self, integrations: Iterable[str]) -> bool:
        """Is any breaker these integrations need not closed?"""
        return any(self.takes(name, resource) < MANY for name, resource in self._pairs(integrations))

    def open_keys(self, integrations: Iterable[str]) -> list[str]:
        """`integration/resource` of all whose work may be taken freely."""
        pairs = self._pairs(integrations)
        return [f"{name}/{resource}" for name, resource in pairs if self.takes(name, resource) == MANY]

    def probe_keys(self, integrations: Iterable[str]) -> dict[Group, list[str]]:
        """For each group that waits for a probe: `integration/resource` of those whose work may be it."""
        found: dict[Group, list[str]] = {}
        for name, resource in self._pairs(integrations):
            group = self.probes(name, resource)
            if group is not None:
                found.setdefault(group, []).append(f"{name}/{resource}")
        return found

    def hand_out(self, group: Group, key: str) -> None:
        """This piece of work is the group's probe until `ended`."""
        self._out[group] = key

    def is_out(self, key: str) -> bool:
        """Is this piece of work a probe?"""
        return key in self._out.values()

    def ended(self, key: str) -> None:
        """The piece of work is over, or never began."""
        for group in [group for group, out in self._out.items() if out == key]:
            del self._out[group]

    def _needs(self, integration: str, resource: str) -> Iterator[tuple[Group, int]]:
        account = self._accounts[integration]
        for name in account.needs(resource):
            group, takes = (account.scope, name), account.gate.breakers.takes(name)
            yield group, 0 if takes == 1 and group in self._out else takes

    def _pairs(self, integrations: Iterable[str]) -> Iterator[tuple[str, str]]:
        return ((name, resource) for name in integrations for resource in self._accounts[name].plans)
