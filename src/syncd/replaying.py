"""Working through dead letters in the daemon: what a replay would cost, beginning one, what it waits for, ending one.

A replay is rows (`store/replays.py`), which `replay_carrying.py` moves. The work itself is done by whoever owns the
integration, through its gate like all other work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from syncd import causes, replay_price
from syncd.clock import Clock
from syncd.config import did_you_mean
from syncd.errors import ConfigError
from syncd.push_waits import held_back
from syncd.replay_carrying import Carrying
from syncd.store import DeadLetter, Group, Replay, Selection, Standing, Store
from syncd.sync.account import Account

MOST_SHOWN = 1000
REMEMBERED = timedelta(days=1)
"""So long a replay that ended is found by the command that began it."""


class Replaying(Carrying):
    """What `syncd dlq` and the page ask of the daemon."""

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store | None],
        clock: Clock,
        *,
        known: Callable[[], Mapping[str, object]],
    ) -> None:
        """`known`: every configured integration, whether it runs here or not."""
        super().__init__(store, clock)
        self._accounts = accounts
        self._known = known

    # -- asked by people -------------------------------------------------------------------------------------------

    async def causes(self, integration: str | None) -> dict[str, Any]:
        """Everything that needs a person, by cause: schema `syncd.dlq/1`."""
        store = self._store()
        found = [(causes.LETTER, one) for one in await store.dead_letters.grouped(integration)]
        found += [(causes.REJECT, one) for one in await store.rejects.grouped(integration)]
        found.sort(key=lambda pair: (-pair[1].count, pair[1].integration, pair[1].resource))
        return {"schema": "syncd.dlq/1", "causes": [causes.told(*pair) for pair in found]}

    async def letter(self, letter_id: int) -> dict[str, Any] | None:
        """One letter with all there is about it: schema `syncd.dlq-letter/1`. None: there is none of this id."""
        return await letter_of(self._store(), letter_id)

    async def selection(self, said: Selection, cause: str | None) -> Selection:
        """The selection with the cause a person named. Raises ConfigError where that, or the integration, is none."""
        name, known = said.integration, self._known()
        if name is not None and name not in known and not await self._store().replays.groups(said):
            raise ConfigError(f"no integration {name!r}", hint=did_you_mean(name, known) or "syncd dlq list")
        if cause is None:
            return said
        store = self._store()
        every = [(causes.LETTER, one) for one in await store.dead_letters.grouped(said.integration)]
        if not causes.fitting(cause, every):
            # No letter of it is open: a replay may be meant of which all is under way, or over.
            replays = await store.replays.of(said, since=self._clock.now() - REMEMBERED)
            of_cause = {(one.integration, one.resource, one.fingerprint): one for one in replays}
            every = [(causes.LETTER, causes.trouble_of(one)) for one in of_cause.values()] or every
            if not causes.fitting(cause, every):
                await self._is_reject(cause, said.integration)
        _, found = causes.chosen(cause, every)
        return replace(said, cause=(found.integration, found.resource, found.fingerprint))

    async def price(self, selection: Selection) -> dict[str, Any]:
        """What a replay would do and cost, before anything is done: schema `syncd.dlq-price/1`."""
        store = self._store()
        groups = await store.replays.groups(selection)
        runs = await store.runs.recent(sorted({group.integration for group in groups if group.origin == "run"}), each=1)
        # One that is over is of interest to who names it, not to who names a time.
        named = selection.integration is not None or selection.cause is not None or bool(selection.ids)
        lately = self._clock.now() - REMEMBERED if named else None
        return {
            "schema": "syncd.dlq-price/1",
            **replay_price.of(groups, {one.name: one for one in self._accounts()}, runs),
            "unknown": self._gone(groups),
            "replays": await self._told(await store.replays.of(selection, since=lately)),
        }

    async def replay(self, selection: Selection, *, who: str) -> dict[str, Any]:
        """Begin; committed when this comes back. Raises ConfigError for letters of what is no longer configured."""
        store = self._store()
        groups = await store.replays.groups(selection)
        gone = self._gone(groups)
        if gone:
            name, _, resource = gone[0].partition("/")
            one = next(
                group for group in groups if group.integration == name and (not resource or group.resource == resource)
            )
            cause = causes.cause_of(causes.LETTER, one.integration, one.resource, one.fingerprint)
            raise ConfigError(
                f"{', '.join(gone)} is no longer configured: nobody would do the work",
                hint=f"syncd dlq discard --cause {cause}, or put it back into its file",
            )
        begun = await store.replays.begin(selection, who=who)
        names = {name for name, _ in begun}
        for account in self._accounts():
            if account.name in names:
                account.health.auth_retry_at = None  # who replays may have mended the credential: worth one call
                account.tasks_added()
        self.wake()
        return await self.replays(begun)

    async def replays(self, keys: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
        """Where replays stand; None: all that are under way. Schema `syncd.dlq-replays/1`."""
        store = self._store()
        wanted = await store.replays.running() if keys is None else list(keys)[:MOST_SHOWN]
        found = [await store.replays.get(*key) for key in wanted]
        return {"schema": "syncd.dlq-replays/1", "replays": await self._told([one for one in found if one is not None])}

    async def cancel(self, selection: Selection, *, who: str) -> dict[str, Any]:
        """End replays; what was returned goes on. Schema `syncd.dlq-cancel/1`."""
        store = self._store()
        ended = await store.replays.cancel(selection, who=who)
        for integration, replay, left in ended:
            await store.audit.add(
                who, "replay_cancelled", integration=integration, after={"replay": replay, "left": left}
            )
        told = [{"integration": one[0], "replay": one[1], "left": one[2]} for one in ended]
        return {"schema": "syncd.dlq-cancel/1", "cancelled": told}

    async def discard(self, selection: Selection, *, who: str, reason: str) -> dict[str, Any]:
        """Settle letters for good: schema `syncd.dlq-discard/1`."""
        count = await discard(self._store(), selection, who=who, reason=reason)
        return {"schema": "syncd.dlq-discard/1", "discarded": count}

    async def purge(
        self, older_than_seconds: float | None, *, integration: str | None, open_too: bool, who: str
    ) -> dict[str, Any]:
        """Remove letters last touched longer ago (None: all): schema `syncd.dlq-purge/1`."""
        before = None
        if older_than_seconds is not None:
            before = self._clock.now() - timedelta(seconds=older_than_seconds)
        count = await purge(self._store(), before, integration=integration, open_too=open_too, who=who)
        return {"schema": "syncd.dlq-purge/1", "removed": count}

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _is_reject(self, cause: str, integration: str | None) -> None:
        """Raises ConfigError where the cause is one of rejected records: they are no work that could be done again."""
        fits = causes.fitting(cause, [(causes.REJECT, one) for one in await self._store().rejects.grouped(integration)])
        if len(fits) == 1:
            one = fits[0][1]
            raise ConfigError(
                f"{cause!r} is a cause of rejected records: each goes by itself when a sound version of it arrives",
                hint=f"syncd sync {one.integration}/{one.resource}",
            )

    async def _told(self, replays: Sequence[Replay]) -> list[dict[str, Any]]:
        store, now = self._store(), self._clock.now()
        shown = []
        for replay in replays:
            standing = await store.replays.standing(replay.integration, replay.id)
            if standing is not None:
                told = causes.replay_told(standing, now)
                shown.append({**told, "why_waiting": await self._why(standing, told["held_until"], now)})
        return shown

    def _gone(self, groups: Sequence[Group]) -> list[str]:
        """Integrations, and resources of them, that nobody works on any more: a replay would do nothing, and seem done."""
        known = self._known()
        plans = {account.name: account.plans for account in self._accounts()}
        gone = {group.integration for group in groups if group.integration not in known}
        gone |= {
            f"{group.integration}/{group.resource}"
            for group in groups
            if group.origin in ("task", "run") and group.resource not in plans.get(group.integration, [group.resource])
        }
        return sorted(gone)

    async def _why(self, standing: Standing, held_until: datetime | None, now: datetime) -> str | None:
        """Why a replay does not move at present, for who watches; None where it does, or is over."""
        replay = standing.replay
        if replay.ended_at is not None:
            return None
        account = next((one for one in self._accounts() if one.name == replay.integration), None)
        if account is None:
            return f"{replay.integration} does not run on this instance"
        held = await held_back(account, self._store(), replay.resource, now)
        if held is not None:
            return held
        if held_until is not None:
            return f"{standing.held_by or 'put off'}; again at {held_until:%H:%M:%S} UTC"
        if not standing.in_flight and standing.put_off:
            return standing.put_off_for
        return None


async def letter_of(store: Store, letter_id: int) -> dict[str, Any] | None:
    """One letter with the letters whose replays ended in it."""
    letter = await store.dead_letters.get(None, letter_id)
    if letter is None:
        return None
    formers: list[DeadLetter] = []
    former = letter.former_id
    while former is not None and len(formers) < 10:
        older = await store.dead_letters.get(letter.integration, former)
        if older is None:
            break
        formers.append(older)
        former = older.former_id
    return {"schema": "syncd.dlq-letter/1", **causes.letter_told(letter, formers=formers)}


async def discard(store: Store, selection: Selection, *, who: str, reason: str) -> int:
    """Settle letters for good, and note who did."""
    groups = await store.replays.groups(selection)
    for name in sorted({group.integration for group in groups}):
        mine = [group for group in groups if group.integration == name]
        after = {
            "letters": sum(group.count for group in mine),
            "reason": reason,
            "causes": [group.fingerprint for group in mine[:20]],
        }
        # Noted first: if this ends in the middle, it is known who began it.
        await store.audit.add(who, "dead_letters_discarded", integration=name, after=after)
    return await store.dead_letters.discard(selection, by=who, reason=reason)


async def purge(store: Store, before: datetime | None, *, integration: str | None, open_too: bool, who: str) -> int:
    """Remove letters, and note who did."""
    counted = await store.dead_letters.purgeable(before, integration=integration, open_too=open_too)
    if counted:
        after = {"letters": counted, "before": before.isoformat() if before is not None else None}
        await store.audit.add(who, "dead_letters_purged", integration=integration or "", after=after)
    return await store.dead_letters.purge(before, integration=integration, open_too=open_too)
