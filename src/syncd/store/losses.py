"""Tasks that were taken when the process died: free again at once, and the one that killed it found.

Which one was it? All that were taken are suspected, twice; from then on only one that was being handled in that moment
(`handles`), and of those one goes at a time. So five takes find the guilty one, however many innocents died with it,
however often: whoever waits for a limit is not being handled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from syncd.errors import OwnershipError
from syncd.store.burying import NewDeadLetter, insert_letter
from syncd.store.database import Database, affected, again_after_conflict
from syncd.store.suspicion import POISON, SUSPECT
from syncd.store.task_turns import COLUMNS, Task, task_of

_MORE_SUSPECT = f"CASE WHEN suspicion < {SUSPECT} THEN suspicion + 1 ELSE suspicion END"
"""Having been taken when the process died says little: only being handled in that moment says more."""

PORTION = 50
"""Keys whose tasks are freed in one transaction."""

_FOREIGN = "taken_fence IS DISTINCT FROM $2::bigint"
"""Under another fence than this one, be it older or newer: scopes count their fences each by themselves, and an integration
may have moved from one to the other. NULL: under any."""

_INHERIT = f"""
WITH lost AS MATERIALIZED (
    SELECT integration, dedupe_key, sum(lost + 1)::integer AS lost, sum(attempts)::integer AS attempts,
           max({_MORE_SUSPECT}) AS suspicion, max(letter_id) AS letter_id
    FROM syncd.tasks
    WHERE integration = $1 AND state = 'taken' AND {_FOREIGN} AND dedupe_key IS NOT NULL AND id = ANY($3::bigint[])
    GROUP BY 1, 2
)
UPDATE syncd.tasks t
SET lost = t.lost + h.lost, attempts = t.attempts + h.attempts, suspicion = greatest(t.suspicion, h.suspicion),
    letter_id = coalesce(t.letter_id, h.letter_id)
FROM (
    SELECT l.*, w.place FROM lost l CROSS JOIN LATERAL (  -- by its key, however many others wait
        SELECT k.ctid AS place FROM syncd.tasks k
        WHERE k.integration = l.integration AND k.dedupe_key = l.dedupe_key AND k.state = 'waiting' FOR UPDATE
    ) w
) h
WHERE t.ctid = h.place
"""
_DOUBLE = """
DELETE FROM syncd.tasks WHERE ctid = ANY(ARRAY(
    SELECT t.ctid FROM syncd.tasks t
    WHERE t.integration = $1 AND t.state = 'taken' AND t.{whose} AND t.dedupe_key IS NOT NULL
    AND t.id = ANY($3::bigint[]) AND (
        EXISTS (SELECT FROM syncd.tasks w
                WHERE w.integration = t.integration AND w.dedupe_key = t.dedupe_key AND w.state = 'waiting')
        OR EXISTS (SELECT FROM syncd.tasks u
                   WHERE u.integration = t.integration AND u.dedupe_key = t.dedupe_key AND u.state = 'taken'
                     AND u.id > t.id AND u.{whose}))
))
"""
_OWN = "taken_fence = $2::bigint"


class Losses:
    """What became of tasks whose taker is dead."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def handles(self, task: Task, *, now: bool) -> None:
        """A suspect is handled from here on, or (`now=False`) no longer: a process that dies between the two is its doing.

        Raises OwnershipError when it is no longer ours.
        """
        if (
            not await self._database.execute(
                "UPDATE syncd.tasks SET suspicion = $4 "
                "WHERE integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3",
                task.integration,
                task.id,
                task.taken_fence,
                task.suspicion + now,
            )
            and now
        ):
            raise OwnershipError(f"task {task.id} is no longer ours")

    async def free(self, integrations: str | Sequence[str], *, fence: int | None, scope: str | None = None) -> int:
        """What was taken under another fence than ours is free again. Their attempts stay counted, and the take as lost.

        `fence` None: under whatever fence, also the one we have. `scope`: nothing is freed unless it is ours, under this
        fence. Where an equal task waits already, or was taken later, that one stands for both and inherits what is suspected.
        """
        names = [integrations] if isinstance(integrations, str) else list(integrations)
        if scope is not None and not await self._owns(scope, fence):
            return 0
        freed = 0
        for name in names:
            for ids in await self._lost(name, fence, _FOREIGN):
                freed += await self._free(name, fence, ids)
        return freed

    async def _owns(self, scope: str, fence: int | None) -> bool:
        """Whoever was away for long may still take itself for the owner, and what the new one has taken for left behind."""
        found: bool = await self._database.fetchval(
            "SELECT EXISTS (SELECT FROM syncd.leases WHERE scope = $1 AND fence = $2)", scope, fence
        )
        return found

    async def free_strays(self, integration: str, *, fence: int, held: Sequence[int]) -> int:
        """What is taken under our own fence and in nobody's hand is free again: a connection broke before its outcome was
        written, or before we heard that it was taken. Nobody is suspected. `held`: what is in hand.

        One that was being handled as the connection broke did not end the process: it is left one more try.
        """
        lost = await self._lost(integration, fence, _OWN, held)
        return sum([await self._stray(integration, fence, ids) for ids in lost])

    @again_after_conflict
    async def _stray(self, integration: str, fence: int, ids: Sequence[int]) -> int:
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE syncd.tasks w SET letter_id = coalesce(w.letter_id, t.letter_id), "
                f"suspicion = greatest(w.suspicion, least(t.suspicion, {POISON - 1})) FROM syncd.tasks t "
                "WHERE t.integration = $1 AND t.id = ANY($2::bigint[]) AND t.state = 'taken' "
                "AND (t.letter_id IS NOT NULL OR t.suspicion > 0) "
                "AND w.integration = $1 AND w.dedupe_key = t.dedupe_key AND w.state = 'waiting'",
                integration,
                ids,
            )
            await connection.execute(_DOUBLE.format(whose=_OWN), integration, fence, ids)
            tag = await connection.execute(
                "UPDATE syncd.tasks SET state = 'waiting', taken_fence = NULL, taken_at = NULL, "
                f"suspicion = least(suspicion, {POISON - 1}) "
                "WHERE integration = $1 AND state = 'taken' AND taken_fence = $2 AND id = ANY($3::bigint[])",
                integration,
                fence,
                ids,
            )
        return affected(tag)

    async def _lost(self, integration: str, fence: int | None, whose: str, held: Sequence[int] = ()) -> list[list[int]]:
        """What is to be freed, in portions; tasks of one key in the same one. Those `held` are not.

        An event may have an equal task wait at any moment, which is in the way of freeing this one. Of hundreds together one
        always is in the way while events pour in; few at a time are free before.
        """
        found = await self._database.fetch(
            "SELECT array_agg(id ORDER BY id) FROM syncd.tasks WHERE integration = $1 AND state = 'taken' "
            f"AND {whose} AND id <> ALL($3::bigint[]) "
            "GROUP BY coalesce(dedupe_key, id::text), dedupe_key IS NULL ORDER BY min(id)",
            integration,
            fence,
            list(held),
        )
        keys = [each[0] for each in found]
        return [[*chain.from_iterable(keys[first : first + PORTION])] for first in range(0, len(keys), PORTION)]

    @again_after_conflict
    async def _free(self, integration: str, fence: int | None, ids: Sequence[int]) -> int:
        async with self._database.transaction() as connection:
            await connection.execute(_INHERIT, integration, fence, ids)
            await connection.execute(_DOUBLE.format(whose=_FOREIGN), integration, fence, ids)
            tag = await connection.execute(
                "UPDATE syncd.tasks SET state = 'waiting', taken_fence = NULL, taken_at = NULL, lost = lost + 1, "
                f"suspicion = {_MORE_SUSPECT}, "
                "history = syncd.with_attempt(history, attempts, $4, 'the process ended while it was under way') "
                f"WHERE integration = $1 AND state = 'taken' AND {_FOREIGN} AND id = ANY($3::bigint[])",
                integration,
                fence,
                ids,
                self._database.clock.now(),
            )
        return affected(tag)

    async def poison(self, integration: str) -> list[Task]:
        """Waiting tasks that ended the process too often: not taken any more, to be buried by `bury_poison`."""
        found = await self._database.fetch(
            f"SELECT {COLUMNS} FROM syncd.tasks WHERE integration = $1 AND state = 'waiting' AND suspicion >= {POISON} "
            "ORDER BY id",
            integration,
        )
        return [task_of(each) for each in found]

    async def bury_poison(self, task: Task, letter: NewDeadLetter) -> bool:
        """Move such a task to the dead letters. False, and no letter, when somebody else did."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                f"DELETE FROM syncd.tasks WHERE integration = $1 AND id = $2 AND state = 'waiting' AND suspicion >= {POISON}",
                task.integration,
                task.id,
            )
            if affected(tag) == 0:
                return False
            await insert_letter(connection, letter, now)
        return True

    async def parked(self, integrations: Sequence[str]) -> set[tuple[str, str]]:
        """(integration, dedupe key) of tasks that lie in the dead letters for having killed the process.

        Another one of such a key would kill it again: it is not worth trying before a person has replayed the letter.
        """
        found = await self._database.fetch(
            "SELECT integration, payload ->> 'dedupe_key' FROM syncd.dead_letters "
            "WHERE integration = ANY($1::text[]) AND state = 'open' AND error_class = 'PoisonError' AND origin = 'task'",
            list(integrations),
        )
        return {(each[0], each[1]) for each in found if each[1]}
