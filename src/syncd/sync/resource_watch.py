"""The shape of one resource's records as it is learned and watched: what is new, since when, and when that is over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any

import structlog

from syncd.explain import Explanation
from syncd.kit.inferred import Departure, Inferred, difference, learn
from syncd.kit.shape_tree import ANY, joined
from syncd.store import SchemaWrite, StoredSchema
from syncd.sync.rejections import FROZEN
from syncd.sync.schema_news import SHOWN, News, explained

log = structlog.get_logger()

LEARN_LEAST = 20
"""Records looked at before a shape counts as learned."""
LEARN_WHOLE = 200
"""Of the first pages every record is looked at, up to so many; then a few of each page."""
LEARN_AFTER = timedelta(days=7)
"""So long a new field, or a new kind of one, is told; then it is taken for granted."""
WRITE_AFTER = timedelta(seconds=60)
"""Counts that rise are written down so often; what is new, at once."""
FEW = 20
RECENT = 256
"""Ids of records that came in pages of a few, so that the same ones do not count again and again."""
EVERY = 8
"""Of the records that a frozen resource lets in, one in so many is counted."""


class Policy(StrEnum):
    """What a change of shape does."""

    EVOLVE = "evolve"
    """It is learned, and logged."""
    WARN = "warn"
    """It is told until it is accepted, over, or a week old."""
    FREEZE = "freeze"
    """Records that differ become rejects until it is accepted."""


class ResourceWatch:
    """One resource's."""

    def __init__(
        self,
        integration: str,
        resource: str,
        policy: Policy,
        *,
        endless: bool = False,
        open_names: Collection[str] = (),
    ) -> None:
        """`endless`: it is never read whole. `open_names`: at the top of a record, below which names are data."""
        self._endless = endless
        self._open = frozenset(open_names)
        self.integration = integration
        self.resource = resource
        self.policy = policy
        self.known = self._new()
        self.strange = self._new()
        """With `freeze`: the shape of what is kept out."""
        self.news: dict[tuple[str, str], News] = {}
        self.learned_at: datetime | None = None
        self.taken = 0
        """The last acceptance that was carried out."""
        self.changed = False
        """There is something to write down at once."""
        self.written_at: datetime | None = None
        self._fresh = self._new()
        self._odd = self._new()
        self._still_odd = self._new()
        """What is kept out, of records that are counted and of such as were kept out before already."""
        self._alone = self._new()
        self._again = self._new()
        """What is in doubt, of every record of a listing; where it is frozen, of every single one too."""
        self.doubted: frozenset[str] = frozenset()
        """Names at the top of a record in or below which a field came as another kind."""
        self._turn = 0
        self._let_in = 0
        """Records that a frozen resource has let in, and of these, how many before what was seen was last taken in."""
        self._let_in_before = 0
        self._recent: dict[str, None] = {}

    @property
    def is_frozen(self) -> bool:
        return self.policy is Policy.FREEZE and self.learned_at is not None

    def look(self, found: Mapping[str, dict[str, Any]], *, alone: bool = False) -> None:
        """A page came, by ids. What a frozen resource lets in is looked at record by record instead. `alone`: it is of no
        listing, and what its records leave out tells nothing."""
        if self.is_frozen and alone and self.doubted:
            self.check(found.values())
        if self.is_frozen or not found:
            return
        if alone and self.learned_at is not None:
            for raw in islice(found.values(), FEW):
                self._alone.add(raw)
            return
        self._turn += 1
        if self.learned_at is None and self.known.records + self._fresh.records < LEARN_WHOLE:
            for raw in islice(found.values(), LEARN_WHOLE):
                self._fresh.add(raw)
        elif len(found) > FEW:
            self._fresh.sample(list(found.values()), turn=self._turn)
        else:
            # One that changes all the time is no proof of anything: so many others have to come before it counts again.
            others = [raw for external_id, raw in found.items() if external_id not in self._recent]
            self._recent.update(dict.fromkeys(found))
            while len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
            self._fresh.sample(others, turn=self._turn)

    def check(self, raws: Iterable[dict[str, Any]]) -> None:
        """Records of a listing, also those that come again unchanged: is what is `doubted` in them still so?"""
        for raw in raws:
            self._again.add(raw if ANY in self.doubted else {name: raw[name] for name in self.doubted if name in raw})

    def passed(self, since: datetime) -> None:
        """A complete pass that began then has ended: what no record of it was is over."""
        self._end(
            [key for key, each in self.news.items() if self._may_end(each) and (each.last_at or each.since) < since]
        )

    def refuses(self, raw: dict[str, Any], *, partial: bool = False, again: bool = False) -> str | None:
        """Why a frozen resource does not take this record; None where it does. `partial`: it is no listing's view. `again`:
        it stands among the rejects, and comes in a listing once more."""
        found = self.known.departures(raw)
        if partial:
            found = [each for each in found if each.what == "retyped"]
        if not found:
            if not partial:
                self._let_in += 1
                if self._let_in % EVERY == 1:
                    self._fresh.add(raw)
            return None
        (self._still_odd if again else self._odd).add(raw)
        told = "; ".join(str(each) for each in sorted(found)[:SHOWN])
        return FROZEN + told + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")

    def settle(self, now: datetime, *, ended: bool = False) -> list[News]:
        """Take in what was seen; returns what is new. `ended`: a run of it has ended well."""
        fresh, odd, alone, again = self._fresh, self._odd, self._alone, self._again
        still_odd = self._still_odd
        came = fresh.records or odd.records or still_odd.records or alone.records or again.records
        if not came and not (ended and self.learned_at is None):
            return self._forget(now)
        self._fresh, self._odd, self._alone, self._again = (self._new() for _ in range(4))
        self._still_odd = self._new()
        let_in, self._let_in_before = self._let_in - self._let_in_before, self._let_in
        if self.learned_at is None:
            self.known.merge(fresh)
            if ended and self.known.records >= LEARN_LEAST:
                self.known.grant()
                self.learned_at = now
                self.changed = True
            return []
        found = self.known.glimpse(alone)
        found += learn(self.known, fresh)
        if odd.records or still_odd.records:
            found += self._kept_out(odd, still_odd)
            odd.merge(still_odd)
        self._over({each.path for each in found if each.what == "missing"})
        self._forget(now)
        told = [News.of(each, now) for each in found if (each.path, each.what) not in self.news]
        for one in found:
            before = self.news.get((one.path, one.what))
            if before is not None:
                self.news[one.path, one.what] = before.again(one)
        if self.policy is not Policy.EVOLVE:
            self.news.update({(each.path, each.what): each for each in told})
        else:
            for each in told:
                self.known.forgive(each.path)
        self._sight(now, {(each.path, each.what) for each in told}, [fresh, alone, odd, again], let_in + odd.records)
        self._doubt()
        self.changed = self.changed or bool(told)
        return told

    def accept(self) -> list[News]:
        """What is new is meant: from now on it is known. Returns what it was."""
        told = list(self.news.values())
        self.known.merge(self.strange)
        self.strange = self._new()
        for each in told:
            if each.what == "missing":
                self.known.forgive(each.path)
        self.news.clear()
        self._doubt()
        self.changed = True
        return told

    def explanation(self) -> Explanation | None:
        """What to say of it; None where there is nothing new."""
        return explained(self.integration, self.resource, self.news.values(), kept_out=self.policy is Policy.FREEZE)

    @property
    def is_trouble(self) -> bool:
        """Does it degrade the resource? New fields that nobody has asked for do not, unless they keep records out."""
        return any(self.policy is Policy.FREEZE or not each.is_harmless for each in self.news.values())

    def load(self, row: StoredSchema) -> None:
        """Go on from what is stored."""
        self.known, self.strange = self._read(row.shape), self._read(row.strange)
        self.news = {
            (each.path, each.what): each for each in map(News.from_json, row.news) if not self._is_open(each.path)
        }
        self.learned_at, self.taken = row.learned_at, row.taken
        if self.policy is not Policy.FREEZE and self.strange.records:
            self.known.merge(self.strange)  # it is frozen no longer
            self.strange = self._new()
        if self.policy is Policy.EVOLVE:
            self.news.clear()
        if self.policy is Policy.FREEZE:  # what was only told of until now is to be kept out
            for key, each in list(self.news.items()):
                if each.what != "missing" and self.known.unlearn(each.path, each.kinds):
                    del self.news[key]
        self._doubt()

    def write(self, now: datetime) -> SchemaWrite | None:
        """What to store, if it is time to."""
        due = self.written_at is None or now - self.written_at >= WRITE_AFTER
        if not self.known.records or not (self.changed or due):
            return None
        self.changed, self.written_at = False, now
        return SchemaWrite(
            self.resource,
            self.known.as_json(),
            self.strange.as_json(),
            [each.as_json() for each in self.news.values()],
            self.learned_at,
            self.taken,
        )

    def _new(self) -> Inferred:
        return Inferred(self._open)

    def _read(self, stored: Any) -> Inferred:
        return Inferred.from_json(stored, self._open)

    def _is_open(self, path: str) -> bool:
        return any(path.startswith((f"{joined('', name)}.", f"{joined('', name)}[]")) for name in self._open)

    def _kept_out(self, odd: Inferred, still_odd: Inferred) -> list[Departure]:
        """In what these differ. A record that comes again is not counted again, and what it shows for the first time is."""
        counts = {(each.path, each.what): each.count for each in difference(self.known, odd)}
        grown = any(each.what != "missing" for each in difference(self.strange, still_odd))
        both = self._new()
        both.merge(odd)
        both.merge(still_odd)
        found = [each for each in difference(self.known, both) if each.what != "missing"]
        if odd.records or grown:
            self.strange.merge(both if grown else odd)
            self.changed = True
        return [
            replace(each, count=counts.get(key, 0)) if (key := (each.path, each.what)) in self.news else each
            for each in found
        ]

    def _may_end(self, one: News) -> bool:
        """Is it over when records are as before? That a field is new is no trouble, unless it keeps them out."""
        return one.what == "retyped" or (one.what == "unknown" and self.policy is Policy.FREEZE)

    def _sight(
        self, now: datetime, told: Collection[tuple[str, str]], shapes: Sequence[Inferred], frozen_looked_at: int
    ) -> None:
        """In which of these (sampled, alone, kept out, in doubt) is a field as it was told of, or as it was known?

        A kind is known from all that were single or in doubt: what was sampled or kept out is among them. A new field that
        is kept out is known from all that a frozen resource looked at.
        """
        news = {key: each for key, each in self.news.items() if self._may_end(each)}
        paths = {each.path for each in news.values()}
        seen = [{each.path: each.kinds for each in shape.paths() if each.path in paths} for shape in shapes if paths]
        for key, each in news.items():
            counts = [one.get(each.path, {}) for one in seen]
            odd = [sum(count for kind, count in one.items() if kind in each.kinds) for one in counts]
            sound = [sum(one.values()) for one in counts]
            self.news[key] = each.seen(
                now,
                odd=any(odd),
                counted=0 if key in told else odd[0] + odd[1],  # what is kept out was counted, what comes again too
                sound=sound[1] + sound[3] if each.what == "retyped" else frozen_looked_at,
            )
        if self._endless:
            self._end([key for key in news if self.news[key].is_outnumbered])

    def _end(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            one = self.news.pop(key)
            self.known.unlearn(one.path, one.kinds)
            self.strange.unlearn(one.path, one.kinds)
            log.info("schema_healed", integration=self.integration, resource=self.resource, field=one.path)
            self.changed = True
        if not any(what != "missing" for _, what in self.news):
            self.strange = self._new()
        self._doubt()

    def _doubt(self) -> None:
        doubted = [each.path for each in self.news.values() if each.what == "retyped"] if self.learned_at else []
        tops = {name: joined("", name) for name in self.known.root.children} if doubted else {}
        self.doubted = frozenset(
            name
            for name, top in tops.items()
            if any(path == top or path.startswith((f"{top}.", f"{top}[]")) for path in doubted)
        )

    def _over(self, still_missing: set[str]) -> None:
        for key in [key for key in self.news if key[1] == "missing" and key[0] not in still_missing]:
            log.info("schema_healed", integration=self.integration, resource=self.resource, field=key[0])
            del self.news[key]
            self.changed = True

    def _forget(self, now: datetime) -> list[News]:
        """What has been told for long enough. A frozen resource goes on refusing it."""
        if self.policy is Policy.WARN:
            for key in [key for key, each in self.news.items() if now - each.since >= LEARN_AFTER]:
                log.info("schema_learned", integration=self.integration, resource=self.resource, fields=[key[0]])
                self.known.forgive(key[0])
                del self.news[key]
                self.changed = True
        return []
