"""`chaos:` never does harm by being copied: it takes `mode: development` in the main file, and says so where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd.config import Loaded, load

PARTNER: dict[str, Any] = {
    "driver": "rest",
    "rest": {"base_url": "https://api.boatyard.example", "resources": {"boats": {"path": "/boats"}}},
    "integrations": {"calm": {}, "wild": {"chaos": {"rate": 0.2, "faults": ["limited", "slow"]}}},
}


def loaded(folder: Path, main: str, partner: dict[str, Any] = PARTNER) -> Loaded:
    (folder / "partners").mkdir(parents=True, exist_ok=True)
    (folder / "syncd.yaml").write_text(main)
    (folder / "partners" / "boatyard.yaml").write_text(yaml.safe_dump(partner, sort_keys=False))
    return load(folder, drivers=None, env={})


@pytest.mark.parametrize("main", ["", "mode: production\n", "{}\n"])
def test_it_is_refused_in_production_mode_which_is_what_there_is_without_a_word(tmp_path: Path, main: str):
    found = loaded(tmp_path, main)
    [problem] = found.errors
    assert problem.message == "chaos is refused in production mode"
    assert (problem.line, "mode: development" in problem.help) == (10, True)
    assert found.broken_partners == {"boatyard"}


def test_a_main_file_that_cannot_be_read_is_production(tmp_path: Path):
    found = loaded(tmp_path, "mode: [development\n")
    assert "chaos is refused in production mode" in [problem.message for problem in found.errors]
    found = loaded(tmp_path, "mode: develop\n")
    assert "chaos is refused in production mode" in [problem.message for problem in found.errors]


def test_it_is_taken_in_development_mode(tmp_path: Path):
    found = loaded(tmp_path, "mode: development\n")
    assert found.problems == ()
    chaos = found.require().partners["boatyard"].integrations["wild"].chaos
    assert chaos is not None
    assert (chaos.rate, chaos.faults, chaos.pause, chaos.seed) == (0.2, ("limited", "slow"), 1.0, 1)


def test_what_a_reload_keeps_of_an_earlier_configuration_obeys_the_new_mode(tmp_path: Path):
    old = loaded(tmp_path, "mode: development\n").require()
    wanted = loaded(tmp_path, "mode: production\n")
    kept = wanted.keeping(old)
    assert set(kept.partners) == {"boatyard"}
    assert kept.partners["boatyard"].integrations["wild"].chaos is None
    still = loaded(tmp_path, "mode: development\n", {**PARTNER, "driver": 7}).keeping(old)
    assert still.partners["boatyard"].integrations["wild"].chaos is not None


@pytest.mark.parametrize(
    ("chaos", "words"),
    [
        ({"rate": 0}, "must be more than 0"),
        ({"rate": 1}, "0.9"),
        ({"faults": ["flood"]}, "timeout"),
        ({"faults": []}, "no faults"),
        ({"pause": "5m"}, "at most 60s"),
        ({"seeds": 1}, "unknown key 'seeds'"),
    ],
)
def test_what_it_says_is_checked(tmp_path: Path, chaos: dict[str, Any], words: str):
    found = loaded(tmp_path, "mode: development\n", {**PARTNER, "integrations": {"wild": {"chaos": chaos}}})
    told = " ".join(f"{problem.message} {problem.help}" for problem in found.errors)
    assert words in told, told
