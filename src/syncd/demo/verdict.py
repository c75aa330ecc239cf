"""The end of the demo: every record compared with its partner's own, and what it cost, by the partners' own count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from syncd.clock import Clock
from syncd.daemon import Daemon
from syncd.demo.cast import CAST
from syncd.demo.lines import shown
from syncd.demo.stage import Stage, same, stats, truth
from syncd.store import Store

HEADINGS = ("partner", "stored", "compared", "equal", "told", "pushed", "tokens", "calls", "429s", "broken")
"""`told`: webhooks that came; `pushed`: changes of ours; `tokens`: how many were issued; `broken`: limits exceeded."""
COMPARES = 5
"""So often what is stored is compared, a second apart, before it is called different."""


class Verdict:
    """`forced`: by partner, the 429s that the story made it answer."""

    def __init__(self, set_up: Stage, daemon: Daemon, clock: Clock, forced: Mapping[str, int]) -> None:
        self._set_up = set_up
        self._daemon = daemon
        self._clock = clock
        self._forced = forced

    async def say(self, console: Console, elapsed: float) -> bool:
        """Compare, print, and return whether all is as it should be.

        That is: every record equal, everybody healthy, no call beyond a stated limit, and no 429 but those the story
        brought about.
        """
        counted = await stats(self._set_up.simulators)
        store = self._daemon.store
        assert store is not None
        overview = await self._daemon.engine.overview()
        table = Table(
            box=None, pad_edge=False, title="\nRecords compared with their partner's own", title_justify="left"
        )
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "partner" else "right", no_wrap=True)
        sound, remarks, records_all, compared_all = True, list[str](), 0, 0
        pushed = await self._pushed(store)
        for integration in sorted(overview["integrations"], key=lambda one: str(one["partner"])):
            partner, seen = integration["partner"], counted[integration["partner"]]
            records, equal = await self._compared(store, integration)
            healthy = integration["state"] == "healthy"
            expected = seen["surprises"] + self._forced.get(partner, 0)
            sound = sound and records == equal and healthy
            sound = sound and not seen["violations"] and seen["refused_429"] == expected
            remarks += self._remarks(integration, seen)
            stored = sum(resource["records"] for resource in integration["resources"])
            records_all, compared_all = records_all + stored, compared_all + records
            table.add_row(
                f"{'✓' if records == equal and healthy else '✗'} {partner}",
                f"{stored:,}",
                f"{records:,}",
                f"{equal:,}",
                str(seen["webhooks"]["delivered"] or "–"),
                str(pushed.get(integration["name"], "–")),
                str(seen.get("tokens_issued") or "–"),
                str(seen["calls"]),
                str(seen["refused_429"]),
                str(seen["violations"]),
            )
        console.print(table)
        if remarks:
            console.print()
        for remark in remarks:
            console.print(f" {remark}", markup=False, soft_wrap=True)
        calls, refused, broken = (
            sum(one[name] for one in counted.values()) for name in ("calls", "refused_429", "violations")
        )
        console.print(
            f"\n {'converged' if sound else 'NOT converged'}: {len(counted)} integrations, {records_all:,} records in"
            f" {elapsed:.1f} s, {compared_all:,} of them compared (not days of calendars, nor what stands below others) ·"
            f" {calls} calls spent · 429s: {refused} · limit violations: {broken}"
        )
        return sound

    def _remarks(self, integration: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[str]:
        """Each 429 with its reason, and who is not well yet."""
        partner, forced = integration["partner"], self._forced.get(integration["partner"], 0)
        if seen["surprises"]:
            yield f"{partner} answered 429 {_times(seen['surprises'])}: its limit was tightened without a word"
        if forced:
            yield f"{partner} answered 429 {_times(forced)}: told so with a date"
        left = seen["refused_429"] - seen["surprises"] - forced
        if left:
            yield f"{partner} answered 429 {_times(left)}, and nothing here explains it"
        if integration["state"] != "healthy":
            why = integration["explanation"] or {}
            yield f"{partner} is {shown(integration['state'])}: {why.get('reason', '')}"

    @staticmethod
    async def _pushed(store: Store) -> dict[str, int]:
        """Changes of ours that arrived, by integration."""
        found: dict[str, int] = {}
        for row in await store.outbox.list(limit=200):
            if row.state == "done":
                found[row.integration] = found.get(row.integration, 0) + 1
        return found

    async def _compared(self, store: Store, integration: Mapping[str, Any]) -> tuple[int, int]:
        """As `_compare`, until it is equal or has had its chances: a page may be on its way."""
        for _ in range(COMPARES - 1):
            found = await self._compare(store, integration)
            if found[0] == found[1]:
                return found
            await self._clock.sleep(1.0)
        return await self._compare(store, integration)

    async def _compare(self, store: Store, integration: Mapping[str, Any]) -> tuple[int, int]:
        """Records the partner has, and how many of them are stored just so."""
        due = equal = 0
        role = CAST[integration["partner"]]
        for resource in integration["resources"]:
            if resource["name"] not in role.compared:
                continue
            fields = role.fields.get(resource["name"])
            sent = await truth(self._set_up.simulators[integration["partner"]], resource["name"])
            due += len(sent)
            async for record in store.records.scan(integration["name"], resource["name"]):
                there = sent.get(record.external_id)
                if there is not None and fields is not None:
                    equal += all(record.data.get(name) == there[name] for name in fields)
                elif there is not None:
                    equal += same(record.raw, there)
        return due, equal


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
