"""What a driver's own options make of its description."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.errors import ConfigError, RejectedError
from syncd.kit import Checkpoint, RestDriver
from syncd.kit.reading import SpecError, parse

SPEC: dict[str, Any] = {
    "name": "acme",
    "page_size": 5,
    "options": {
        "route": {"about": "x", "default": "old", "choices": ["old", "new"], "when": {
            "new": {"boats": "boats_new", "berths": None}}},
        "whole": {"about": "x", "as": "boolean", "default": False, "when": {
            True: {"logs": {"since": None, "every": "1d"}}}},
        "yard": {"about": "x"},
        "language": {"about": "x"},
    },
    "resources": {
        "boats": {"path": "/boats", "fields": {"name": "name"}},
        "berths": {"path": "/berths"},
        "logs": {"path": "/yards/{option.yard}/logs", "params": {"lang": "{option.language}", "kind": "all"},
                 "updated": "at", "since": "from", "fields": {"text": "text"}},
    },
    "alternatives": {"boats_new": {"path": "/v2/boats", "sparse": True}},
}  # fmt: skip


def resources(**options: Any) -> Any:
    return RestDriver(parse(SPEC)).resources(options)


def test_an_option_puts_another_description_in_a_resources_place_or_takes_it_away() -> None:
    old, new = resources(), resources(route="new")
    assert set(old) == {"boats", "berths", "logs"} and set(new) == {"boats", "logs"}
    assert (old["boats"].path, new["boats"].path, new["boats"].name) == ("/boats", "/v2/boats", "boats")
    assert new["boats"].sparse and new["boats"].page_size == 5 and not new["boats"].fields
    assert parse(SPEC).facts().resources == ("boats", "berths", "logs"), "an alternative is no resource of its own"


def test_an_option_changes_single_keys() -> None:
    logs = resources(whole=True)["logs"]
    assert logs.since is None and logs.every == 86400 and logs.fields
    assert resources()["logs"].since is not None


def test_an_options_value_stands_in_a_path_as_one_segment_and_in_parameters() -> None:
    driver = RestDriver(parse(SPEC))
    logs = driver.resources({"yard": "a/b", "language": "de"})["logs"]
    request = driver.request(logs, Checkpoint("a", "logs"))
    assert request.path == "/yards/a%2Fb/logs" and dict(request.params) == {"lang": "de", "kind": "all"}
    unnamed = driver.resources({})["logs"]
    assert dict(unnamed.params) == {"kind": "all"}
    with pytest.raises(RejectedError, match=r"\{option.yard\}") as caught:
        driver.request(unnamed, Checkpoint("a", "logs"))
    assert caught.value.hint == "give options.yard"
    with pytest.raises(ConfigError):
        driver.resources({"yard": 5})


def test_a_day_may_be_as_far_away_as_an_option_says() -> None:
    options = {"ahead": {"about": "x", "as": "integer", "default": 30}}
    boats = {"path": "/boats/{today}/{today+{option.ahead}d}", "params": {"from": "{today-{option.ahead}d}"}}
    driver = RestDriver(parse({"name": "acme", "options": options, "resources": {"boats": boats}}))
    found = driver.resources({"ahead": 7})["boats"]
    assert (found.path, found.params, found.dated) == ("/boats/{today}/{today+7d}", {"from": "{today-7d}"}, True)


LIMITED: dict[str, Any] = {
    **SPEC,
    "headers": {"X-Plain": "yes", "X-Language": "{option.language}"},
    "limits": {
        "tiers": ["9/s", {"rate": "25/s", "when": {"route": {"new": "100/s"}}}, {"rate": "10/30d", "option": "reads"}]
    },
    "options": {**SPEC["options"], "reads": {"about": "x", "as": "integer", "default": 10}},
}


def test_an_options_value_stands_in_a_header_that_is_left_out_without_one() -> None:
    driver = RestDriver(parse(LIMITED))
    assert driver.headers({"language": "de"}) == {"X-Plain": "yes", "X-Language": "de"}
    assert driver.headers({}) == {"X-Plain": "yes"}


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, ["9/s", "25/s", "10/30d"]),
        ({"route": "new"}, ["9/s", "100/s", "10/30d"]),
        ({"reads": 75}, ["9/s", "25/s", "75/30d"]),
        ({"reads": 0}, ["9/s", "25/s"]),
    ],
)
def test_an_option_says_how_many_calls_there_are(options: dict[str, Any], rates: list[str]) -> None:
    tiers = RestDriver(parse(LIMITED)).limits(options).tiers
    assert [str(tier.rate).replace("2592000s", "30d") for tier in tiers] == rates


def test_an_option_says_how_calls_prove_who_we_are_and_where_tokens_come_from() -> None:
    other = {"kind": "oauth2_client", "token_path": "/{option.language}/token"}
    auth = {"kind": "bearer", "credentials": {"token": "key"}, "when": {"route": {"new": other}}}
    driver = RestDriver(parse({**SPEC, "auth": auth}))
    assert driver.auth({}).kind == "bearer" and driver.facts({}).credentials == {"key": True}
    assert driver.auth({"route": "new", "language": "de"}).token_path == "/de/token"
    assert driver.facts({"route": "new"}).credentials == {"client_id": True, "client_secret": True}


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"headers": {"X": "{option.colour}"}}, "headers: there is no option 'colour'"),
        (
            {"auth": {"kind": "bearer", "when": {"colour": {"red": {"kind": "none"}}}}},
            "auth: there is no option 'colour'",
        ),
        ({"limits": {"tiers": [{"rate": "1/s", "option": "colour"}]}}, "limits.tiers: there is no option 'colour'"),
        (
            {"limits": {"tiers": [{"rate": "1/s", "when": {"colour": {"red": "2/s"}}}]}},
            "limits.tiers: there is no option",
        ),
    ],
)
def test_what_a_header_or_a_limit_names_must_be_an_option(more: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError, match=where):
        parse({**SPEC, **more})


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"never": {}}, "cannot have that value"),
        ({"new": {"boats": "boats_now"}}, "no 'boats_now' among `alternatives`"),
        ({"new": {"bots": None}}, "no resource 'bots'"),
        ({"new": {"boats": {"pth": "/x"}}}, "no key 'pth'"),
    ],
)
def test_a_mistake_in_it_is_told(when: dict[str, Any], told: str) -> None:
    route = {**SPEC["options"]["route"], "when": when}
    with pytest.raises(SpecError) as caught:
        parse({**SPEC, "options": {**SPEC["options"], "route": route}})
    assert told in str(caught.value)


def test_an_option_that_is_named_must_be_one() -> None:
    with pytest.raises(SpecError, match="no option 'yrad'"):
        parse({"name": "acme", "resources": {"boats": {"path": "/{option.yrad}/boats"}}})
