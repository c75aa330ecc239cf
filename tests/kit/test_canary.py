"""The record that `syncd verify` may make: a description that could do harm, or names what there is not, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd import drivers
from syncd.kit import DriverSpec

CREATE = {"path": "/things", "idempotency": "header:Key", "fields": {"name": "text"}}
END = {"method": "PATCH", "path": "/things/{id}", "idempotency": "natural"}


def spec(verify: dict[str, Any], **pushes: Any) -> DriverSpec:
    things = {"path": "/things", "fields": {"name": "name"}, "pushes": {"create": CREATE, "end": END, **pushes}}
    return DriverSpec.model_validate({"name": "acme", "resources": {"things": things}, "verify": verify})


SOUND: dict[str, Any] = {
    "about": "one thing",
    "resource": "things",
    "create": {"kind": "create", "data": {"name": "a test ({mark})", "number": 4}, "shows": {"name": ["x"]}},
    "close": {"kind": "end", "data": {}},
}


def test_a_sound_one_is_taken_and_its_mark_filled_in() -> None:
    found = spec(SOUND).verify
    assert found is not None
    assert found.create.marked("c0ffee") == {"name": "a test (c0ffee)", "number": 4}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"resource": "others"}, "no resource 'others'"),
        ({"create": {**SOUND["create"], "kind": "mak"}}, "no push of kind 'mak'"),
        ({"create": {**SOUND["create"], "kind": "end"}}, "needs the id"),
        ({"create": {**SOUND["create"], "kind": "loose"}}, "a lost answer"),
        ({"create": {"kind": "create", "data": {"name": "a test"}}}, "holds {mark}"),
        ({"create": {**SOUND["create"], "shows": {"colour": ["red"]}}}, "no field 'colour'"),
        ({"close": {"kind": "create"}}, "by its id"),
    ],
)
def test_one_that_could_do_harm_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec({**SOUND, **changed}, loose={**CREATE, "idempotency": "none"})


@pytest.mark.parametrize("name", [one for one in drivers.names() if one != "rest"])
def test_every_shipped_one_passes_its_drivers_own_check_of_pushes(name: str) -> None:
    from syncd.kit import Change

    driver = drivers.load(name)
    canary = driver.spec.verify
    if canary is None:
        pytest.skip("its driver names none: it is only read")
    resource = driver.resources({})[canary.resource]
    for step, record in ((canary.create, None), (canary.close, "1")):
        change = Change(canary.resource, record, step.kind, step.marked("c0ffee"), "key")
        driver.check(
            resource, change, {name: values[0] for name, values in canary.create.shows.items()} if record else None
        )
        assert driver.push(resource, change).method in {"POST", "PATCH"}
