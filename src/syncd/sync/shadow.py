"""An adapter in shadow: it reads what the one in force reads, and what differs is counted. It touches no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syncd import codec
from syncd.kit import Driver, Raw, Resource
from syncd.store import Tried
from syncd.sync.differences import shown
from syncd.sync.unsound import FAULTS, said

MOST_EXAMPLES = 20
"""Kept between two reports."""
MOST_FIELDS = 6
"""Fields shown of one example."""
UNREAD = "(not read)"
"""In place of a field's name: the adapter refused the record."""


@dataclass(slots=True)
class Trial:
    """Of one resource."""

    resource: Resource
    adapter: str
    against: str
    driver: Driver
    compared: int = 0
    differing: int = 0
    refused: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)

    def compare(self, external_id: str, raw: Raw, adapter: str, here: Mapping[str, Any]) -> None:
        """Read one record by the adapter in shadow too. Whatever that raises is counted, and nothing else happens.

        What it has read already, being the one in force for this record, is not compared with itself.
        """
        if adapter == self.adapter:
            return
        self.compared += 1
        try:
            there = self.driver.reading(self.resource, self.adapter).fields(raw)
            codec.dumps_storable(there)
        except FAULTS as error:
            self.refused += 1
            self.differing += 1
            self.fields[UNREAD] += 1
            self._keep(external_id, {"refused": said(error)[:200]})
            return
        found = differing(here, there)
        if found:
            self.differing += 1
            self.fields.update(found)
            self._keep(external_id, {"fields": example(here, there, found)})

    def taken(self) -> Tried | None:
        """What was found since this was asked last."""
        if not self.compared:
            return None
        found = Tried(
            self.resource.name,
            self.adapter,
            self.against,
            self.compared,
            self.differing,
            self.refused,
            dict(self.fields),
            list(self.examples.values()),
        )
        self.compared = self.differing = self.refused = 0
        self.fields, self.examples = Counter(), {}
        return found

    def _keep(self, external_id: str, told: dict[str, Any]) -> None:
        if len(self.examples) < MOST_EXAMPLES or external_id in self.examples:
            self.examples[external_id] = {"id": external_id, **told}


def differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The fields in which two readings of one record differ; one that only one of them has is such a field."""
    return [
        name
        for name in {**here, **there}
        if (name in here) != (name in there) or not _same(here.get(name), there.get(name))
    ]


def example(here: Mapping[str, Any], there: Mapping[str, Any], names: list[str]) -> dict[str, list[str]]:
    """Some of these fields: what it is here, and there; of what kind, never the value itself."""
    return {
        name: [
            shown(here[name], values=False) if name in here else "no such field",
            shown(there[name], values=False) if name in there else "no such field",
        ]
        for name in names[:MOST_FIELDS]
    }


def _same(here: Any, there: Any) -> bool:
    return bool(here == there) and (type(here) is type(there) or not isinstance(here, bool | int | float))
