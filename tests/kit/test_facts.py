"""What a check is told of a driver: where its calls go under its options, and how much of what is stated it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from syncd import drivers
from syncd.config.elsewhere import strays
from syncd.config.facts import Elsewhere
from syncd.errors import ConfigError
from syncd.kit import Resource, RestDriver
from syncd.kit.reading import parse

OWN = "https://api.acme.example/v1"
LOGIN = "https://login.acme.example/oauth2/token"
SIDE = "https://side.acme.example"
SPEC: dict[str, Any] = {
    "name": "acme",
    "base_url": OWN,
    "hosts": [SIDE],
    "auth": {"kind": "oauth2_client", "token_path": "{option.login}", "tiers": ["5/d"]},
    "limits": {"tiers": ["10/s", {"rate": "25/s", "budget": "write", "share": 0.5}], "concurrency": 4},
    "options": {"login": {"about": "Where tokens are.", "as": "url", "default": LOGIN}},
    "resources": {
        "rows": {"path": "/rows", "records": "rows", "host": SIDE},
        "more": {"path": "/more", "records": "rows", "host": SIDE, "enabled": False},
    },
}
SANDBOX = "http://127.0.0.1:9100"


def test_the_places_beside_base_url_are_told_with_the_option_that_moves_them() -> None:
    driver = RestDriver(parse(SPEC))
    tokens, rows = driver.facts({}).elsewhere
    assert tokens == Elsewhere("token requests", LOGIN, "login")
    assert rows == Elsewhere("rows, more", SIDE)
    assert driver.facts({"login": f"{SANDBOX}/token"}).elsewhere[0] == Elsewhere(
        "token requests", f"{SANDBOX}/token", "login"
    )


def test_what_is_used_of_each_limit_and_what_is_off_is_told() -> None:
    found = RestDriver(parse(SPEC)).facts({})
    tiers = [(tier.rate.limit, tier.share, tier.budget) for tier in found.tiers]
    assert tiers == [(10, 0.7, ""), (25, 0.5, "write"), (5, 1.0, "token")]
    assert (found.share, found.concurrency, found.off) == (0.7, 4, ("more",))


def test_a_file_may_name_what_the_options_make_and_what_they_take_away() -> None:
    class Making(RestDriver):
        def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
            found = dict(super().resources(options))
            return {**found, "made": found["rows"]} if options.get("few") else found

    few = {"about": "No more than rows.", "as": "boolean", "default": False, "when": {"true": {"more": None}}}
    driver = Making(parse({**SPEC, "options": {**SPEC["options"], "few": few}}))
    assert "more" not in driver.resources({"few": True})
    assert set(driver.facts({"few": True}).resources) == {"rows", "more", "made"}
    assert set(driver.facts({}).resources) == {"rows", "more"}


def test_a_driver_is_asked_once_what_there_is_under_its_options() -> None:
    class Counting(RestDriver):
        asked = 0

        def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
            self.asked += 1
            return super().resources(options)

    driver = Counting(parse(SPEC))
    assert driver.facts({}).elsewhere
    assert driver.asked == 1


def test_the_partners_own_hosts_are_no_home_of_an_account_that_is_elsewhere() -> None:
    spec = {**SPEC, "resources": {"rows": {"path": "/rows", "records": "rows"}}}
    driver = RestDriver(parse(spec))
    assert driver.homes({}) == driver.homes({}, OWN + "/other") == [SIDE]
    assert driver.homes({}, SANDBOX) == []
    assert set(RestDriver(parse(SPEC)).homes({}, SANDBOX)) == {SIDE}  # a file that has come this far names it


def test_an_address_in_the_file_needs_no_option_of_the_drivers_own() -> None:
    spec = {**SPEC, "base_url": "https://api.acme.example/{option.site}", "resources": {}}
    spec["options"] = {**SPEC["options"], "site": {"about": "A site."}}
    driver = RestDriver(parse(spec))
    assert driver.homes({}, SANDBOX) == []
    assert driver.homes({}, "https://api.acme.example/x") == [SIDE]


def test_of_two_options_on_one_host_the_one_that_says_all_of_an_address_moves_it() -> None:
    spec = {**SPEC, "options": {"side": {"about": "A host.", "as": "url", "default": SANDBOX}, **SPEC["options"]}}
    tokens, _ = RestDriver(parse(spec)).facts({"login": f"{SANDBOX}/token"}).elsewhere
    assert tokens.option == "login"


@pytest.mark.parametrize(
    "value", ["login.acme.example", "ftp://acme.example", "https://me:pw@acme.example", "https://a.b/#c"]
)
def test_an_option_that_is_an_address_must_be_one(value: str) -> None:
    with pytest.raises(ConfigError, match="login"):
        RestDriver(parse(SPEC)).resources({"login": value})


@pytest.mark.parametrize("name", sorted(set(drivers.names()) - {"rest"}))
def test_of_our_drivers_none_calls_a_place_that_no_option_can_move(name: str) -> None:
    driver = drivers.load(name)
    options: dict[str, Any] = {key: one.default for key, one in driver.spec.options.items() if one.default is not None}
    needed = {key: ["1"] if one.kind == "list" else "AC1" for key, one in driver.spec.options.items() if one.required}
    moved = set()
    allowed = {"auth": "oauth"} if name in {"attio", "cloudbeds"} else {}
    for given in ({**options, **needed}, {**options, **needed, **allowed}):
        facts = driver.facts(given)
        assert facts.findings == ()
        assert [one for one in facts.elsewhere if not one.option] == []
        moved |= {one.option for one in strays(facts, SANDBOX, needed)}
    assert moved == {key for key, one in driver.spec.options.items() if one.kind == "url"}
