"""The gauges that alerts compare: set for what runs, and dropped for what does not, lest an alert about it stays for ever.

Health checks too, as a figure: once a minute it is noted of each integration whether its partner gave a good answer since the
last time. Nobody is called for that: whoever is quiet for long is probed by upkeep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from syncd import metrics
from syncd.config import Config
from syncd.depths import QUEUES
from syncd.explain import State
from syncd.supervisor import Running
from syncd.sync import webhook_fed
from syncd.sync.account import Account

CHECK_SECONDS = 60.0
"""Between two health checks, as the founding checklists have it."""
SICK = frozenset({State.DOWN, State.AUTH_REQUIRED})
"""Nothing may be called in these for a while: that is no good answer either."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a session had counted at the last check."""

    good: int
    bad: int


class Gauges:
    """`tell` is called every few seconds, `check` once a minute."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._failures: dict[str, int] = {}

    def tell(self, config: Config, running: Mapping[str, Running], now: datetime) -> None:
        """How old each resource may be and is, and whose account each integration is."""
        accounts = {name: account for one in running.values() for name, account in one.runner.accounts.items()}
        told = set()
        for one in running.values():
            for unit in one.runner.units.values():
                account, plan = one.runner.accounts[unit.integration], unit.plan
                good_at = account.health.of(plan.name).last_success_at
                if good_at is None or not account.ownership.held:
                    continue
                labels = (unit.integration, plan.name)
                told.add(labels)
                metrics.SYNC_LAG.labels(*labels).set((now - good_at).total_seconds())
                due = plan.paced(fed=webhook_fed.is_fed(account.health, plan, now)).after(good_at, 1.0)
                metrics.SYNC_INTERVAL.labels(*labels).set((due - good_at).total_seconds())
        metrics.keep_only(metrics.SYNC_LAG, told)
        metrics.keep_only(metrics.SYNC_INTERVAL, told)
        whose = {
            (name, partner.name, settings.company or name) for name, (partner, settings) in config.integrations.items()
        }
        for each in whose:
            metrics.INTEGRATION_INFO.labels(*each).set(1)
        metrics.keep_only(metrics.INTEGRATION_INFO, whose)
        self._forget(config, running, accounts)

    @staticmethod
    def _forget(config: Config, running: Mapping[str, Running], accounts: Mapping[str, Account]) -> None:
        """What is no longer configured, or does not run here, has no gauges."""
        names = [(name,) for name in config.integrations]
        metrics.keep_only(metrics.WEBHOOK_SECRETS_UNREAD, names)
        metrics.keep_only(metrics.WEBHOOKS_SILENT, [(name,) for name in accounts])
        metrics.keep_only(metrics.HEALTH, [(name, str(state)) for name in accounts for state in State])
        metrics.keep_only(
            metrics.HELD_DELETIONS, [(name, plan) for name, account in accounts.items() for plan in account.plans]
        )
        partners = [(name,) for name in running]
        for gauge in (metrics.WORKERS, metrics.WORKERS_ALIVE):
            metrics.keep_only(gauge, partners)
        for gauge in (metrics.QUEUE_LENGTH, metrics.OLDEST_WORK):
            metrics.keep_only(gauge, [*partners, *((name,) for name in QUEUES)])
        metrics.keep_only(metrics.HEARTBEAT, [("event loop",), *((f"runner {name}",) for name in running)])

    def check(self, accounts: Iterable[Account], state_of: Callable[[Account], State]) -> None:
        """One health check of each."""
        told = set()
        for account in accounts:
            labels = (account.partner, account.name)
            if not account.ownership.held:
                continue
            told.add(labels)
            seen, before = _Seen(account.session.good, account.session.bad), self._seen.get(account.name)
            self._seen[account.name] = seen
            failures = self._failures.get(account.name, 0)
            good, bad = _since(seen, before)
            if good:
                failures = 0
            elif bad or state_of(account) in SICK:
                failures += 1
            self._failures[account.name] = failures
            metrics.HEALTH_CHECK_FAILURES.labels(*labels).set(failures)
            if account.health.latency_ms is not None:
                metrics.HEALTH_CHECK_SECONDS.labels(*labels).set(account.health.latency_ms / 1000)
        metrics.keep_only(metrics.HEALTH_CHECK_FAILURES, told)
        metrics.keep_only(metrics.HEALTH_CHECK_SECONDS, told)


def _since(seen: _Seen, before: _Seen | None) -> tuple[int, int]:
    """Good and bad answers since; a session that was built anew by a reload counts from 0."""
    if before is None or seen.good < before.good or seen.bad < before.bad:
        return seen.good, seen.bad
    return seen.good - before.good, seen.bad - before.bad
