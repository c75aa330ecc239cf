"""What a simulator says to somebody who asks it for something that cannot be."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import aiohttp
import pytest

from syncd.testing.admin import UnknownActionError, act, actions
from syncd.testing.files import serve_files
from syncd.testing.simulator import serve


def simulator(name: str, **options: Any) -> Any:
    return import_module(f"syncd.drivers.{name}.simulator").create(**options)


def test_an_unknown_action_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownActionError, match=r"there is no 'nonsense'; attio has `merge` .* and `scopes`"):
        act(simulator("attio"), "POST", ["do", "nonsense"], {})
    assert act(simulator("stripe"), "GET", ["do"], {}) == {"actions": "stripe has no actions of its own"}
    assert "`expire_tokens`" in actions(simulator("cloudbeds"))


async def test_a_change_that_does_not_fit_is_refused_in_words_and_nothing_breaks() -> None:
    async with await serve(simulator("stripe", tiers=[])) as served, aiohttp.ClientSession(served.url) as client:
        for wrong in (
            {"op": "update", "resource": "customers", "count": 3, "changes": {"metadata": "text"}},
            {"op": "update", "resource": "customers", "count": 1, "changes": "text"},
            {"op": "random", "count": "many"},
            ["no object"],
        ):
            async with client.post("/_sim/mutate", json=wrong) as answer:
                assert answer.status == 400, wrong
                assert (await answer.json())["error"]
        async with client.get("/_sim/truth/customers") as answer:
            assert answer.status == 200
            found = (await answer.json())["records"].values()
        assert not any(isinstance(one["metadata"], str) for one in found)


@pytest.mark.parametrize(
    ("name", "operation", "resource", "changes"),
    [
        ("attio", "update", "tasks", {"id": "text"}),
        ("attio", "create", "tasks", {"id": "text"}),
        ("airbnb", "update", "reservations", {"status_type": None}),
        ("stripe", "update", "invoices", {"status": []}),
        ("stripe", "create", "customers", {"created": None}),
        ("cloudbeds", "create", "housekeeping", {"propertyID": "text"}),
    ],
)
def test_a_change_that_nobody_can_be_told_of_is_not_made_either(
    name: str, operation: str, resource: str, changes: Any
) -> None:
    partner = simulator(name)
    before = partner.truth(resource)
    with pytest.raises((AttributeError, TypeError, ValueError)):
        act(partner, "POST", ["mutate"], {"op": operation, "resource": resource, "changes": changes})
    assert partner.truth(resource) == before
    assert partner.mutated[operation] == 0


async def test_photos_lead_to_the_simulator_and_can_be_fetched_where_somebody_tries_it_by_hand() -> None:
    partner = simulator("guesty")
    serve_files(partner)
    async with await serve(partner) as served, aiohttp.ClientSession(served.url) as client:
        async with client.get("/_sim/truth/listings") as answer:
            shown = next(iter((await answer.json())["records"].values()))["pictures"][0]["original"]
        assert shown.startswith(f"{served.url}/_files/")
        async with client.get(shown) as answer:
            assert (answer.status, answer.content_type) == (200, "image/jpeg")
            assert (await answer.read()).startswith(b"\xff\xd8\xff")
            tag = answer.headers["ETag"]
        async with client.get(shown, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
    assert partner.stats()["calls"] == 0, "a picture spends no limit"
