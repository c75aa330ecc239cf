"""An adapter in shadow: what it would have made otherwise is counted, and whatever it does touches nothing."""

from __future__ import annotations

from typing import Any

from syncd.kit import DriverSpec, RestDriver
from syncd.sync.shadow import MOST_EXAMPLES, UNREAD, Trial

SPEC = {
    "name": "plain",
    "base_url": "https://plain.example",
    "auth": {"kind": "none"},
    "resources": {
        "things": {
            "path": "/things",
            "records": "data",
            "fields": {"name": "name", "size": {"as": "integer"}},
            "adapters": {
                "v2": {"fields": {"name": "title", "size": {"as": "text"}}},
                "v3": {"fields": {"name": {"from": "name", "required": True}, "size": {"as": "integer"}}},
            },
        }
    },
}


def trial(adapter: str, driver: RestDriver | None = None) -> Trial:
    found = driver or RestDriver(DriverSpec.model_validate(SPEC))
    return Trial(found.spec.resources["things"], adapter, "v1", found)


def test_fields_that_differ_are_counted_and_shown_as_kinds_and_never_as_values() -> None:
    tried = trial("v2")
    tried.compare("a", {"id": "a", "name": "secret", "size": 1}, "v1", {"name": "secret", "size": 1})
    tried.compare("b", {"id": "b", "name": "x", "title": "x", "size": None}, "v1", {"name": "x", "size": None})
    found = tried.taken()
    assert found is not None
    assert (found.compared, found.differing, found.refused) == (2, 1, 0)
    assert found.fields == {"name": 1, "size": 1}
    assert found.examples == [
        {"id": "a", "fields": {"name": ["text, 6 long", "nothing"], "size": ["a number", "text, 1 long"]}}
    ]
    assert tried.taken() is None


def test_a_whole_number_and_one_with_a_fraction_of_zero_differ_and_true_is_no_one() -> None:
    class Odd(RestDriver):
        def fields(self, resource: Any, raw: Any, adapter: str = "") -> dict[str, Any]:
            return {"name": raw["there"]}

    tried = trial("v2", Odd(DriverSpec.model_validate(SPEC)))
    for here, there in ((1, 1.0), (True, 1), ("1", 1)):
        tried.compare("a", {"there": there}, "v1", {"name": here})
    tried.compare("b", {"there": {"a": [1]}}, "v1", {"name": {"a": [1]}})
    found = tried.taken()
    assert found is not None and (found.compared, found.differing) == (4, 3)


def test_what_it_cannot_read_is_counted_whatever_it_raises() -> None:
    class Wild(RestDriver):
        def fields(self, resource: Any, raw: Any, adapter: str = "") -> dict[str, Any]:
            raise SystemExit("gone")

    for tried in (trial("v3"), trial("v2", Wild(DriverSpec.model_validate(SPEC)))):
        tried.compare("a", {"id": "a"}, "v1", {"name": None, "size": None})
        found = tried.taken()
        assert found is not None
        assert (found.differing, found.refused, found.fields) == (1, 1, {UNREAD: 1})
        assert set(found.examples[0]) == {"id", "refused"}


def test_what_it_has_read_itself_is_not_compared_with_itself() -> None:
    tried = trial("v2")
    tried.compare("a", {"id": "a"}, "v2", {})
    assert tried.taken() is None


def test_examples_are_bounded_and_one_a_record() -> None:
    tried = trial("v2")
    for number in range(100):
        for _ in range(2):
            tried.compare(str(number), {"title": "x"}, "v1", {"name": None, "size": None})
    found = tried.taken()
    assert found is not None
    assert found.differing == 200
    assert [one["id"] for one in found.examples] == [str(number) for number in range(MOST_EXAMPLES)]
