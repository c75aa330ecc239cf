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
            "True": {"logs": {"since": None, "every": "1d"}}}},
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
