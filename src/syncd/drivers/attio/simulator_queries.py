"""Attio's filters and sorts over records and entries, and the score a query costs (partner facts, sections 5 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncd.drivers.attio.simulator_data import Attribute, Schema, stamp
from syncd.testing.collection import Entry, Raw, value_at
from syncd.testing.dice import epoch

Test = Callable[[Raw], bool]

DEFAULT_FIELD = {
    "personal-name": "full_name",
    "email-address": "email_address",
    "domain": "domain",
    "phone-number": "phone_number",
    "currency": "currency_value",
    "record-reference": "target_record_id",
    "actor-reference": "referenced_actor_id",
    "location": "locality",
    "status": "status.title",
    "select": "option.title",
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: bool(found == wanted),
    "$in": lambda found, wanted: found in wanted,
    "$contains": lambda found, wanted: str(wanted).lower() in str(found).lower(),
    "$starts_with": lambda found, wanted: str(found).lower().startswith(str(wanted).lower()),
    "$ends_with": lambda found, wanted: str(found).lower().endswith(str(wanted).lower()),
    "$lt": lambda found, wanted: bool(found < wanted),
    "$lte": lambda found, wanted: bool(found <= wanted),
    "$gt": lambda found, wanted: bool(found > wanted),
    "$gte": lambda found, wanted: bool(found >= wanted),
}


class FilterError(ValueError):
    """The query is not one that Attio understands."""


class Query:
    """A compiled filter and sort over one schema. `conditions` is how many comparisons it makes."""

    def __init__(self, schema: Schema, filters: Any, sorts: Any) -> None:
        self.schema = schema
        self.conditions = 0
        self.values = "entry_values" if "entry_id" in schema.attributes else "values"
        self.test: Test | None = self._node(filters) if filters else None
        self.sorts = [self._sort(one) for one in sorts or ()]

    def score(self, rows: int) -> int:
        """What the query costs: more for filters, sorts and for tables with many rows. The real formula is not public."""
        return 10 + rows // 50 + 12 * self.conditions + 8 * len(self.sorts)

    def run(self, entries: list[Entry]) -> list[Entry]:
        rows = entries if self.test is None else [entry for entry in entries if self.test(entry.raw)]
        if [path for path, _ in self.sorts] == [("created_at", "value")]:  # the order in which they stand already
            return rows[::-1] if self.sorts[0][1] else rows
        for path, backwards in reversed(self.sorts):
            rows = sorted(rows, key=lambda entry, path=path: self._rank(entry.raw, path), reverse=backwards)  # type: ignore[misc]
        return rows

    def _rank(self, raw: Raw, path: tuple[str, str]) -> Any:
        values = raw[self.values].get(path[0]) or [{}]
        return value_at(values[0], path[1])

    def _attribute(self, name: str) -> Attribute:
        attribute = self.schema.attribute(name)
        if attribute is None:
            raise FilterError(f'Unknown attribute slug: "{name}"')
        return attribute

    def _sort(self, given: Any) -> tuple[tuple[str, str], bool]:
        if not isinstance(given, dict) or given.get("direction") not in ("asc", "desc") or "attribute" not in given:
            raise FilterError("a sort needs a direction (asc or desc) and an attribute")
        attribute = self._attribute(given["attribute"])
        field = given.get("field") or DEFAULT_FIELD.get(attribute.kind, "value")
        return (attribute.slug, field), given["direction"] == "desc"

    def _node(self, node: Any) -> Test:
        if not isinstance(node, dict):
            raise FilterError("a filter must be an object")
        tests: list[Test] = []
        for name, inner in node.items():
            if name in ("$and", "$or"):
                if not isinstance(inner, list) or not inner:
                    raise FilterError(f"{name} needs a list of filters")
                parts = [self._node(one) for one in inner]
                joiner = all if name == "$and" else any
                tests.append(lambda raw, parts=parts, joiner=joiner: joiner(part(raw) for part in parts))  # type: ignore[misc]
            elif name == "$not":
                part = self._node(inner)
                tests.append(lambda raw, part=part: not part(raw))  # type: ignore[misc]
            elif name.startswith("$"):
                raise FilterError(f"Unknown operator {name}")
            else:
                tests.append(self._condition(self._attribute(name), inner))
        return tests[0] if len(tests) == 1 else lambda raw: all(test(raw) for test in tests)

    def _condition(self, attribute: Attribute, given: Any) -> Test:
        """`{"$gte": x}`, `{"field": {"$eq": x}}`, `{"field": x}`, or the bare value for equality."""
        field = DEFAULT_FIELD.get(attribute.kind, "value")
        if not isinstance(given, dict):
            return self._compare(attribute, field, "$eq", given)
        tests = []
        for name, inner in given.items():
            if name.startswith("$"):
                tests.append(self._compare(attribute, field, name, inner))
                continue
            if name in ("active_from", "active_until") and attribute.kind != "status":
                raise FilterError(f"{attribute.slug} cannot be filtered by {name}: only status attributes can")
            for operator, wanted in inner.items() if isinstance(inner, dict) else [("$eq", inner)]:
                tests.append(self._compare(attribute, name, operator, wanted))
        return lambda raw: all(test(raw) for test in tests)

    def _compare(self, attribute: Attribute, field: str, operator: str, wanted: Any) -> Test:
        self.conditions += 1
        slug, key = attribute.slug, self.values
        if operator == "$not_empty":
            return lambda raw: bool(raw[key].get(slug)) == bool(wanted)
        if operator not in OPERATORS:
            raise FilterError(f"Unknown operator {operator} for {slug}")
        if operator == "$in":
            if not isinstance(wanted, list):
                raise FilterError("$in needs a list")
            wanted = set(wanted)
        elif field in ("active_from", "active_until") or attribute.kind == "timestamp":
            if not isinstance(wanted, str) or "T" not in wanted:
                raise FilterError(f"{slug}: timestamps need both a date and a time")
            try:
                wanted = stamp(epoch(wanted))
            except ValueError:
                raise FilterError(f"{slug}: {wanted!r} is not a timestamp") from None
        compare, path = OPERATORS[operator], field.split(".")
        also = ["id", "status_id" if attribute.kind == "status" else "option_id"]

        def test(raw: Raw) -> bool:
            for one in raw[key].get(slug, ()):
                found: Any = one
                for part in path:
                    found = found.get(part) if isinstance(found, dict) else None
                try:
                    if found is not None and compare(found, wanted):
                        return True
                except TypeError:
                    continue
                if attribute.options and operator in ("$eq", "$in"):
                    ids = one[attribute.kind if attribute.kind == "status" else "option"][also[0]]
                    if compare(ids[also[1]], wanted):
                        return True
            return False

        return test
