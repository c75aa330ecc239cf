"""Shapes and trials as they are kept."""

from __future__ import annotations

import pytest

from syncd.errors import OwnershipError
from syncd.kit.inferred import Inferred
from syncd.store import SchemaWrite, Store, Tried

from .parts import Desk, at

NEWS = {"path": "price", "what": "retyped", "expected": "number", "got": "text", "since": at(0).isoformat(), "count": 1}


async def test_what_was_learned_comes_back_and_is_shown_field_by_field(desk: Desk, store: Store):
    shape = Inferred.of([{"id": "a", "at": {"city": "x"}, "rooms": [{"beds": 1}], "price": 1}] * 3)
    write = SchemaWrite("things", shape.as_json(), news=[NEWS], learned_at=at(0))
    await store.schemas.put("acme", desk.scope, desk.fence, [write])
    found = (await store.schemas.of("acme"))["things"]
    by_path = {field.path: field for field in Inferred.from_json(found.shape).paths()}
    assert by_path == {field.path: field for field in shape.paths()}
    assert (found.news, found.learned_at, found.accepted) == ([NEWS], at(0), 0)
    rows = await store._database.fetch("SELECT path, kinds, present, of, news FROM syncd.schema_fields ORDER BY path")
    assert [tuple(each) for each in rows] == [
        ("at", {"object": 3}, 3, 3, None),
        ("at.city", {"text": 3}, 3, 3, None),
        ("id", {"text": 3}, 3, 3, None),
        ("price", {"number": 3}, 3, 3, "retyped"),
        ("rooms", {"list": 3}, 3, 3, None),
        ("rooms[]", {"object": 3}, 3, 3, None),
        ("rooms[].beds", {"number": 3}, 3, 3, None),
    ]


async def test_only_the_owner_of_the_scope_writes(desk: Desk, store: Store):
    with pytest.raises(OwnershipError):
        await store.schemas.put("acme", desk.scope, desk.fence + 1, [SchemaWrite("things", {})])
    assert await store.schemas.of("acme") == {}


async def test_an_acceptance_is_a_wish_until_its_owner_has_carried_it_out(desk: Desk, store: Store):
    assert await store.schemas.accept("acme", None, who="ann") == []
    await store.schemas.put("acme", desk.scope, desk.fence, [SchemaWrite("things", {}, news=[NEWS])])
    await store.schemas.put("acme", desk.scope, desk.fence, [SchemaWrite("rooms", {})])
    (accepted,) = await store.schemas.accept("acme", None, who="ann")
    assert (accepted.resource, accepted.news, accepted.accepted_by) == ("things", [NEWS], "ann")
    assert await store.schemas.wishes(["acme"]) == {("acme", "things"): 1}
    await store.schemas.put("acme", desk.scope, desk.fence, [SchemaWrite("things", {}, taken=1)])
    assert await store.schemas.wishes(["acme"]) == {}
    await store.schemas.put("acme", desk.scope, desk.fence, [SchemaWrite("things", {}, taken=0)])
    assert await store.schemas.wishes(["acme"]) == {}, "what was carried out stays so"


def tried(compared: int, against: str = "v1", **more: object) -> Tried:
    values: dict[str, object] = {"differing": 1, "refused": 0, "fields": {"name": 1}, "examples": [{"id": "a"}]}
    return Tried("things", "v2", against, compared, **{**values, **more})  # type: ignore[arg-type]


async def test_trials_add_up_and_begin_anew_against_another_adapter(store: Store):
    await store.trials.add("acme", [tried(5), tried(7, fields={"name": 2, "x": 1}, examples=[{"id": "b"}])])
    (found,) = await store.trials.list("acme")
    assert (found.compared, found.differing, found.fields) == (12, 2, {"name": 3, "x": 1})
    assert found.examples == [{"id": "a"}, {"id": "b"}]
    await store.trials.add("acme", [tried(1, against="v3")])
    (found,) = await store.trials.list("acme", "things")
    assert (found.compared, found.against, found.fields) == (1, "v3", {"name": 1})
    assert await store.trials.forget("acme", "things") == 1
    assert await store.trials.list("acme") == []


async def test_examples_are_the_latest_of_each_record_and_bounded(store: Store):
    await store.trials.add("acme", [tried(50, examples=[{"id": str(n), "n": 1} for n in range(50)])])
    await store.trials.add("acme", [tried(1, examples=[{"id": "40", "n": 2}])])
    (found,) = await store.trials.list("acme")
    assert len(found.examples) == 20
    assert found.examples[-1] == {"id": "40", "n": 2}
