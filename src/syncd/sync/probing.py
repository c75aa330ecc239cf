"""Which work may be taken while a breaker is not closed: none while it is open, one piece at a time while it is half-open.

What is not taken stays a row, or a unit that is due: it spends no attempt and is not put back and forth. The piece that
may go is the probe by which the gate finds out; it still passes the gate, which lets only one call go whatever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from syncd.limits import MANY
from syncd.sync.account import Account

Group = tuple[str, str]
"""(scope, endpoint group)."""


class Probing:
    """One partner's memory of the probes it handed out. Keys are those of work: a run's or a batch's."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._out: dict[Group, str] = {}

    def group_of(self, integration: str, resource: str) -> Group:
        account = self._accounts[integration]
        plan = account.plans.get(resource)
        return account.scope, plan.resource.group if plan is not None else ""

    def takes(self, integration: str, resource: str) -> int:
        """How many pieces of work of this resource may be taken now: none, one (a probe), or MANY."""
        group = self.group_of(integration, resource)
        takes = self._accounts[integration].gate.breakers.takes(group[1])
        return 0 if takes == 1 and group in self._out else takes

    def barred(self, integrations: Iterable[str]) -> bool:
        """Is any breaker these integrations need not closed?"""
        return any(self.takes(name, plan) < MANY for name in integrations for plan in self._accounts[name].plans)

    def open_keys(self, integrations: Iterable[str]) -> list[str]:
        """`integration/resource` of all whose work may be taken freely."""
        return [f"{name}/{plan}" for name, plan in self._pairs(integrations) if self.takes(name, plan) == MANY]

    def probe_keys(self, integrations: Iterable[str]) -> dict[Group, list[str]]:
        """For each group that waits for a probe: `integration/resource` of those whose work may be it."""
        found: dict[Group, list[str]] = {}
        for name, plan in self._pairs(integrations):
            if self.takes(name, plan) == 1:
                found.setdefault(self.group_of(name, plan), []).append(f"{name}/{plan}")
        return found

    def hand_out(self, group: Group, key: str) -> None:
        """This piece of work is the group's probe until `ended`."""
        self._out[group] = key

    def ended(self, key: str) -> None:
        """The piece of work is over, or never began."""
        for group in [group for group, out in self._out.items() if out == key]:
            del self._out[group]

    def _pairs(self, integrations: Iterable[str]) -> Iterable[tuple[str, str]]:
        return ((name, plan) for name in integrations for plan in self._accounts[name].plans)
