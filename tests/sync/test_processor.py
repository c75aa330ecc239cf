"""From answers to rows: what is asked of the store, what counts as news, and what several pages come to together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd import codec
from syncd.kit import DriverSpec, Identity, Item, RestDriver
from syncd.store import Known
from syncd.sync.page import PageIn, merged
from syncd.sync.processor import Processor
from syncd.sync.resource_watch import Policy
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.target import Target
from syncd.testing.clock import FakeClock

AT = datetime(2026, 5, 1, tzinfo=UTC)
SPEC = {
    "name": "plain",
    "base_url": "https://plain.example",
    "auth": {"kind": "none"},
    "resources": {
        "things": {
            "path": "/things",
            "records": "data",
            "id": "id",
            "fields": {"size": {"from": "size", "as": "integer"}},
        }
    },
}


class Shelf:
    """In the store's place: knows what it was told, counts the questions."""

    def __init__(self, known: dict[str, dict[str, Any]] | None = None) -> None:
        self.hashes = {key: codec.content_hash(raw, "v1") for key, raw in (known or {}).items()}
        self.asked: list[list[str]] = []
        self.records = self.rejects = self

    async def aside(self, integration: str) -> list[tuple[str, str, bytes]]:
        return []

    async def known(self, integration: str, resource: str, ids: Sequence[str], *, sparse: bool) -> dict[str, Known]:
        self.asked.append(list(ids))
        return {one: Known(self.hashes[one], False) for one in ids if one in self.hashes}


def processor(shelf: Shelf) -> Processor:
    driver = RestDriver(DriverSpec.model_validate(SPEC))
    return Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, shelf)  # type: ignore[arg-type]


def thing(key: str, size: Any = 1) -> dict[str, Any]:
    return {"id": key, "size": size}


def page(*raws: dict[str, Any], cause: str = "page") -> PageIn:
    return PageIn([Item("things", raw) for raw in raws], AT, cause)


async def test_a_stamp_that_an_answer_showed_is_told_from_one_of_the_records_own():
    seen_at = AT - timedelta(seconds=1.2)
    for more, expected in (({"stamp": "observed"}, (seen_at, True)), ({"updated": "at"}, (AT, False))):
        resources = {"things": {**SPEC["resources"]["things"], **more}}
        driver = RestDriver(DriverSpec.model_validate({**SPEC, "resources": resources}))
        shelf: Any = Shelf()
        reader = Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, shelf)
        items = [Item("things", {**thing("a"), "at": AT.isoformat()})]
        read = await reader.read("things", PageIn(items, AT, "page", observed_at=seen_at), rejected=set())
        assert [(row.source_updated_at, row.observed) for row in read.rows] == [expected]


async def test_pages_that_come_together_ask_once_and_keep_apart():
    shelf = Shelf({"a": thing("a"), "b": thing("b")})
    first, second = await processor(shelf).read_all(
        "things", [page(thing("a"), thing("b", 2)), page(thing("a"), thing("c"))], rejected=set()
    )
    assert shelf.asked == [["a", "b", "c"]]
    assert ([row.external_id for row in first.rows], first.unchanged, first.seen) == (["b"], 1, ["a", "b"])
    assert ([row.external_id for row in second.rows], second.unchanged, second.seen) == (["c"], 1, ["a", "c"])


async def test_a_first_import_asks_nothing():
    shelf = Shelf()
    (read,) = await processor(shelf).read_all("things", [page(thing("a"))], rejected=set(), empty=True)
    assert shelf.asked == []
    assert [row.external_id for row in read.rows] == ["a"]


async def test_a_first_import_asks_after_records_that_are_only_named():
    shelf = Shelf({"gone": thing("gone")})
    source = PageIn([Item("things", None, Identity("gone", deleted=True))], AT, "page")
    (read,) = await processor(shelf).read_all("things", [source], rejected=set(), empty=True)
    assert [(row.external_id, row.deleted) for row in read.rows] == [("gone", True)]


async def test_a_record_whose_row_is_under_way_is_left_to_the_store():
    shelf = Shelf({"a": thing("a")})
    unstored = Counter({("things", "a"): 1})
    (read,) = await processor(shelf).read_all("things", [page(thing("a"))], rejected=set(), unstored=unstored)
    assert [row.external_id for row in read.rows] == ["a"]
    assert read.unchanged == 0
    assert unstored == {("things", "a"): 2}


async def test_what_turns_back_on_the_next_page_is_told_to_the_store():
    shelf = Shelf({"a": thing("a", 1)})
    both = await processor(shelf).read_all(
        "things", [page(thing("a", 2)), page(thing("a", 1))], rejected=set(), unstored=Counter()
    )
    assert [codec.loads(row.data_json) for row in merged(both).rows] == [{"size": 2}, {"size": 1}]


async def test_rejects_are_healed_once_and_across_pages():
    rejected = {("things", "a")}
    first, second, third = await processor(Shelf()).read_all(
        "things", [page(thing("a")), page(thing("a", "much")), page(thing("a", 3))], rejected=rejected
    )
    assert (first.healed, second.healed, third.healed) == ([("things", "a")], [], [("things", "a")])
    assert [reject.external_id for reject in second.rejects] == ["a"]
    assert rejected == set()


async def test_an_unsound_record_stays_a_reject_although_an_earlier_page_had_it_sound():
    rejected = {("things", "a")}
    whole = merged(
        await processor(Shelf()).read_all("things", [page(thing("a")), page(thing("a", "much"))], rejected=rejected)
    )
    assert whole.healed == []
    assert [reject.external_id for reject in whole.rejects] == ["a"]
    assert rejected == {("things", "a")}
    assert (whole.count, whole.seen) == (2, ["a", "a"])


async def test_the_raw_is_kept_whole_where_the_hash_leaves_something_out():
    spec = codec.loads(codec.dumps(SPEC))
    spec["resources"]["things"]["volatile"] = ["seen"]
    driver = RestDriver(DriverSpec.model_validate(spec))
    told = Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, Shelf())  # type: ignore[arg-type]
    read = await told.read("things", page({"id": "a", "size": 1, "seen": 5}), rejected=set())
    assert codec.loads(read.rows[0].raw_json) == {"id": "a", "size": 1, "seen": 5}
    assert read.rows[0].content_hash == codec.content_hash({"id": "a", "size": 1}, "v1")


async def test_a_record_nested_beyond_reason_costs_only_itself():
    deep: Any = 1
    for _ in range(codec.MAX_DEPTH + 50):
        deep = [deep]
    (read,) = await processor(Shelf()).read_all(
        "things", [page(thing("a"), thing("deep") | {"more": deep})], rejected=set()
    )
    assert [row.external_id for row in read.rows] == ["a"]
    assert [(reject.external_id, codec.loads(reject.raw)["id"]) for reject in read.rejects] == [("deep", "deep")]
    assert read.seen == ["a", "deep"]


async def test_the_raw_keeps_the_partners_order_of_keys():
    (read,) = await processor(Shelf()).read_all("things", [page({"size": 1, "id": "a"})], rejected=set())
    assert read.rows[0].raw_json == b'{"size":1,"id":"a"}'


async def test_derived_work_expires_where_that_is_configured():
    driver = RestDriver(DriverSpec.model_validate({**SPEC, "resources": {
        "things": {**SPEC["resources"]["things"], "since": {"param": "after"}, "updated": "at"},
        "parts": {"path": "/things/{parent.id}/parts", "parent": "things", "id": "id"},
    }}))  # fmt: skip
    resources = driver.spec.resources
    targets = {
        "things": Target(resources["things"], children=("parts",)),
        "parts": Target(resources["parts"], expires_seconds=3600.0),
    }
    told = Processor(driver, "one", targets, Shelf())  # type: ignore[arg-type]
    read = await told.read("things", page({"id": "a", "size": 1, "at": "2026-05-01T00:00:00Z"}), rejected=set())
    assert [(task.kind, task.expires_at) for task in read.tasks] == [("children", AT + timedelta(hours=1))]
    targets["parts"] = Target(resources["parts"])
    read = await told.read("things", page({"id": "b", "size": 1, "at": "2026-05-01T00:00:00Z"}), rejected=set())
    assert [task.expires_at for task in read.tasks] == [None]


async def test_what_was_erased_is_told_to_the_store_by_its_fields_and_has_no_shape():
    fields = {"name": {"as": "text"}, "size": {"as": "integer"}}
    raws = [{"id": "a", "gone": True, "size": 1}, {"id": "b", "name": "", "size": 2}, {"id": "c", "name": "Cy"}]

    async def read(**more: Any) -> list[tuple[str, ...]]:
        described = {**SPEC["resources"]["things"], "fields": fields, **more}
        driver = RestDriver(DriverSpec.model_validate({**SPEC, "resources": {"things": described}}))
        watch = SchemaWatch("plain", "one", {"things": Policy.WARN}, FakeClock())
        watch.loaded = True
        watch.resources["things"].learned_at = AT
        shelf: Any = Shelf()
        reader = Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, shelf, watch)
        got = await reader.read("things", replace(page(*raws), listing=True), rejected=set())
        shapes.append(list(watch.resources["things"]._recent))
        return [row.erased for row in got.rows]

    shapes: list[list[str]] = []
    assert await read() == [(), (), ()]
    assert await read(forget={"when": "gone", "keep": ["id", "gone", "size"]}) == [("name",), (), ()]
    assert await read(forget={"emptied": ["name"]}) == [("name",), ("name",), ()]
    assert shapes == [["a", "b", "c"], ["b", "c"], ["a", "b", "c"]]
