"""Every call of a real driver arrives at its simulator as the partner has published it, and so does every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from syncd import drivers
from syncd.testing import published
from syncd.testing.driving import drive
from syncd.testing.process import make, serve
from syncd.testing.samples import read_samples

WORLDS: dict[str, dict[str, Any]] = {
    "attio": {"people": 15, "companies": 12, "deals": 12},
    "bookingcom": {"queued": 3, "properties": 1},
    "guesty": {"secret_delay": 0},
}
"""Options by driver of a simulator small enough to be read whole in a second."""
OPTIONS: dict[str, dict[str, Any]] = {
    "attio": {},
    "bookingcom": {"auth_url": "{url}/token-based-authentication/exchange", "reservations_url": "{url}"},
}
"""Options by driver of an integration there, where those of its samples do not fit; {url} is the simulator's."""
REFUSED: dict[str, dict[str, str]] = {
    "attio": {
        **{
            f"push comment of {name}": "the sample's record is of another workspace"
            for name in ("people", "companies", "deals")
        },
        "push delete of list_entries": "no list has the name that is made up",
    },
    "bookingcom": {"push acknowledge of": "the sample's reservation waits in no queue here"},
    "cloudbeds": {
        "push check_in of reservations": "the sample's room is of another reservation",
        "push check_out of reservations": "the sample's room is of another reservation",
    },
    "guesty": {
        "push notes of reservations": "what came from a channel answers 404 although it can be read",
        "push approve of reservations": "none of the first is a request",
        "push decline of reservations": "none of the first is a request",
    },
    "stripe": {
        **{
            f"push {kind} of invoices": "it is paid by the push before"
            for kind in ("void", "mark_uncollectible", "send")
        },
        **{f"push {kind} of payment_intents": "none of the first waits for that" for kind in ("capture", "cancel")},
        "push create of refunds": "the sample's charge is of another account",
    },
    "twilio": {
        "push status of messages": "none of the first records is scheduled",
        "push status of calls": "none of the first records is under way",
        "push redirect of calls": "the call is over",
    },
}
"""By driver, what its simulator refuses of what is made up here: how it begins, and why."""


def options_at(name: str, usual: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The options of an integration at the simulator with this address."""
    given = OPTIONS.get(name, usual)
    return {key: value.replace("{url}", url) if isinstance(value, str) else value for key, value in given.items()}


@pytest.mark.parametrize("name", [name for name in published.FILES if name in drivers.names()])
async def test_a_driver_and_its_simulator_keep_to_what_is_published(name: str) -> None:
    missing = published.why_not(name)
    if missing:
        pytest.skip(missing)
    driver, samples = drivers.load(name), read_samples(name, drivers.folder(name))
    simulator = make(name, {"tiers": [], "published": True, **WORLDS.get(name, {})})
    async with await serve(simulator) as served:
        options = options_at(name, samples[0].options if samples else {}, served.url)
        driven = await drive(driver, served, options, samples)
    seen = simulator.stats()["contract_seen"]
    assert not seen["problems"], "\n".join(f"{count}x {told}" for told, count in seen["problems"].items())
    assert seen["requests"] >= len(driven.made) > 5
    expected = REFUSED.get(name, {})
    surprising = [told for told in driven.refused if not any(told.startswith(begin) for begin in expected)]
    assert not surprising, "\n".join(surprising)
    listed = {one.name for one in driver.resources(options).values() if not one.feeds and one.parent is None}
    assert {resource for resource, found in driven.records.items() if found} >= listed
