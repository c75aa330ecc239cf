"""Watches that nobody waits who might go: an account of its own, from the definition, compared at every rest.

A call that waits is wronged if a seat is free, nothing is paused, every tier that counts it has room for it even if
all that other lanes have reserved were kept for them, and no other waiting call stands before it at a tier that is full
for that one. (Weaker than what the gate does, which also lends; so a wrong found here is one.)
"""

from __future__ import annotations

from syncd.limits import Gate
from syncd.limits.book import Call as Waiting
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.history.accounts import Account, Room
from tests.limits.history.ledger import Call, Ledger, counts
from tests.limits.history.plan import Config, Plan


class Witness:
    """See the module. `wrongs` is empty if all is well."""

    def __init__(self, ledger: Ledger, clock: FakeClock, plan: Plan) -> None:
        self.wrongs: list[str] = []
        self.judged = 0
        """How often a waiting call was looked at with all that counts it known."""
        self._ledger = ledger
        self._clock = clock
        self._plan = plan
        self._heaviest = float(max(worker.weight for worker in plan.workers))
        self._accounts: list[Account] = []
        self._taken = 0
        self._unanswered: list[Call] = []
        self._config = plan.config

    def started(self, config: Config, *, first: bool) -> None:
        self._config = config
        self._accounts = [Account(spec, config, self._heaviest, self._plan.commit_seconds * 4) for spec in config.tiers]
        if not first:
            self.blinded()

    def reloaded(self, config: Config) -> None:
        """Other numbers. A tier that comes anew learned from another one, which may have counted more."""
        self._catch_up()
        known = {account.spec.key: account for account in self._accounts}
        self._config = config
        self._accounts = [Account(spec, config, self._heaviest, self._plan.commit_seconds * 4) for spec in config.tiers]
        for account in self._accounts:
            old = known.get(account.spec.key)
            if old is not None:
                account.continues(old)
            else:
                account.calls = [call for call in self._unanswered if counts(account.spec, call.budget)]
            if old is None or account.bucket:
                self._blind(account)

    def blinded(self) -> None:
        """Every tier may count what we do not know of, for as long as that lasts."""
        for account in self._accounts:
            self._blind(account)

    def _blind(self, account: Account) -> None:
        doubled = sum(call.asked_weight for call in self._unanswered)  # what is on its way may be counted as stored too
        doubled += self._plan.lost_seconds * account.spec.per_second
        account.blind_until(self._clock.monotonic() + self._plan.lost_seconds + self._plan.commit_seconds * 4, doubled)

    # -- looking

    def look(self, gate: Gate) -> None:
        """Everybody is at rest: is anybody wronged?"""
        self._catch_up()
        self._learned(gate)
        if not len(gate.room) or gate.paused_until is not None:
            return
        seats = gate.book.seats
        if seats is not None and gate.book.seats_used >= seats:
            return
        asks = [ask for group in ("", "slow") for ask in gate.room.of_group(group)]
        if not asks or len(gate.book.flying) > len(self._unanswered):
            return  # one was let go and waits for the commit that it needs
        now = self._clock.monotonic()
        rooms = [account.room(now, self._plan.lost_seconds) for account in self._accounts]
        for ask in asks:
            mine = [i for i, account in enumerate(self._accounts) if counts(account.spec, ask.budgets[0])]
            if any(self._accounts[i].settled_at > now for i in mine):
                continue
            self.judged += 1
            if all(self._fits(i, rooms[i], ask) for i in mine) and not self._behind(ask, asks, mine, rooms, now):
                self.wrongs.append(
                    f"{now:.4f}: a call of lane {ask.lane.name} ({ask.budgets[0]}, weight {ask.weight:g}) waits since "
                    f"{ask.asked_at:.4f} for {ask.blocked_by!r} though it might go"
                )

    def _catch_up(self) -> None:
        """Enter the calls made since the last look."""
        calls = self._ledger.calls
        for call in calls[self._taken :]:
            self._unanswered.append(call)
            for account in self._accounts:
                if counts(account.spec, call.budget):
                    account.enter(call)
        self._taken = len(calls)
        self._unanswered = [call for call in self._unanswered if not call.ended]

    def _learned(self, gate: Gate) -> None:
        """What a 429 taught lowers the budget for a while; of a bucket then, and of what ramps, nothing is said here."""
        for account, tier in zip(self._accounts, gate.book.tiers, strict=True):
            if tier.learned.limit is None and not tier.bounded:
                account.budget = account.configured
            elif account.bucket or tier.bounded:
                self._blind(account)
            else:
                account.budget = min(account.configured, tier.budget)

    def _behind(self, ask: Waiting, asks: list[Waiting], mine: list[int], rooms: list[Room], now: float) -> bool:
        """May another one stand before it at a tier that is full for that one?"""
        for other in asks:
            if other is ask:
                continue
            theirs = [i for i, account in enumerate(self._accounts) if counts(account.spec, other.budgets[0])]
            if set(mine) & set(theirs) and any(
                not self._fits(i, rooms[i], other) or self._accounts[i].settled_at > now for i in theirs
            ):
                return True
        return False

    def _fits(self, i: int, room: Room, ask: Waiting) -> bool:
        account = self._accounts[i]
        weight = ask.weight if account.spec.weighted else 1.0
        kept = sum(max(0.0, account.reserved[x] - room.by_lane[x]) for x in range(3) if x != ask.lane)
        paced = room.sent + weight + kept <= account.budget + 1e-9 or room.sent <= 1e-9
        urgent = max(0.0, account.reserved[Lane.HIGH] - room.by_lane[Lane.HIGH]) if ask.lane != Lane.HIGH else 0.0
        return paced and room.held + weight + min(account.standby, urgent) <= account.ceiling + 1e-9
