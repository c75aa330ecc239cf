"""A new driver's suite passes at once, whatever was chosen; its simulator enforces what it states."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from syncd import drivers
from syncd.cli.new import AUTHS, PAGINATIONS, WEBHOOKS
from syncd.cli.root import cli
from syncd.config.load import load
from syncd.errors import AskedWrongError, AuthError
from syncd.kit import Delivery, Headers, Secret
from syncd.scaffold import choices as chosen
from syncd.scaffold import find_place, plain_choices, write, yaml_text
from syncd.testing.driver_suite import checks
from syncd.testing.walking import walked
from tests.scaffold.built import Build, build  # noqa: F401 - a fixture

FAST = {"tiers": ["1000/s"]}


def simulator(written: Any, **options: Any) -> Any:
    return import_module(f"{written.place.module}.simulator").create(**{**FAST, **options})


def pairs() -> list[tuple[str, str, str]]:
    """Every auth, every kind of pages and every scheme at least once, in as few drivers as that takes."""
    longest = max(len(AUTHS), len(PAGINATIONS), len(WEBHOOKS))
    return [
        (AUTHS[n % len(AUTHS)], PAGINATIONS[n % len(PAGINATIONS)], WEBHOOKS[n % len(WEBHOOKS)]) for n in range(longest)
    ]


def test_the_command_line_offers_what_can_be_written() -> None:
    assert (AUTHS, PAGINATIONS, WEBHOOKS) == (chosen.AUTHS, chosen.PAGINATIONS, chosen.WEBHOOKS)


@pytest.mark.parametrize(("auth", "pagination", "webhooks"), pairs())
async def test_whatever_is_chosen_the_suite_is_green_and_the_simulator_is_brought_whole(
    build: Build,  # noqa: F811
    auth: str,
    pagination: str,
    webhooks: str,
) -> None:
    written = build(plain_choices("newcomer", auth=auth, pagination=pagination, webhooks=webhooks))
    names = []
    for check in checks("newcomer"):
        check()
        names.append(str(check))
    assert {"newcomer-record-things-plain", "newcomer-pages-things-walk", "newcomer-error-limited"} <= set(names)
    driver, partner = drivers.load("newcomer"), simulator(written, records=120)
    found = await walked(driver, partner)
    assert set(found["things"]) == set(partner.truth("things"))
    assert partner.counters.calls >= (1 if pagination == "none" else 3)
    since = datetime.fromtimestamp(partner.now() - 86_400 + 100, UTC)
    partner = simulator(written, records=120)
    assert 10 < len((await walked(driver, partner, since=since))["things"]) < 40
    loaded = load(written.place.root / "config", drivers=drivers.facts(), env={}, strict=True)
    assert [str(problem) for problem in loaded.problems] == []


@pytest.mark.parametrize("auth", [one for one in AUTHS if one != "none"])
async def test_a_simulator_turns_away_who_has_another_credential(build: Build, auth: str) -> None:  # noqa: F811
    written = build(plain_choices("newcomer", auth=auth))
    partner = simulator(written)
    partner.credentials = dict.fromkeys(partner.credentials, "other")
    partner.options["other"] = "nobody's"
    with pytest.raises(AuthError):
        await walked(drivers.load("newcomer"), partner)


async def test_a_simulator_refuses_what_is_too_much_and_the_walk_says_so(build: Build) -> None:  # noqa: F811
    written = build(plain_choices("newcomer", auth="none", pagination="page"))
    with pytest.raises(AssertionError, match="beyond the simulator's limits"):
        await walked(drivers.load("newcomer"), simulator(written, records=400, tiers=["2/30s"]))


@pytest.mark.parametrize("webhooks", [one for one in WEBHOOKS if one not in {"none", "unsigned"}])
def test_what_a_simulator_signs_its_driver_lets_in_and_reads(build: Build, webhooks: str) -> None:  # noqa: F811
    written = build(plain_choices("newcomer", webhooks=webhooks))
    partner, driver = simulator(written), drivers.load("newcomer")
    secret = "whsec_dGhlIHRlc3QncyBvd24ga2V5"  # not-a-secret
    target = partner.subscription("https://sync.example.com/webhooks/newcomer/main", [secret], ["*"])
    partner.deliveries.targets[target.id] = target
    external_id = next(iter(partner.truth("things")))
    partner.update("things", external_id)
    partner.delete("things", external_id)
    changed, gone = partner.deliveries.waiting
    for sent, deleted in ((changed, False), (gone, True)):
        headers = {"Content-Type": "application/json", **partner.sign(target, sent.body, sent.id)}
        delivery = Delivery(sent.body, Headers(headers), target.url)
        now = datetime.fromtimestamp(partner.now(), UTC)
        assert driver.verify(delivery, [Secret(secret)], now)
        assert not driver.verify(delivery, [Secret("whsec_YW5vdGhlciBrZXksIG9mIG5vYm9keQ==")], now)  # not-a-secret
        [event] = driver.events(delivery)
        assert (event.resource, event.external_id, event.deleted) == ("things", external_id, deleted)


@pytest.mark.parametrize(
    ("name", "words"),
    [("Newcomer", "cannot be"), ("1st", "cannot be"), ("a-b", "cannot be"), ("class", "cannot be"), ("rest", "cannot be"),
     ("", "cannot be"), ("a/b", "cannot be"), ("x" * 41, "cannot be"), ("../up", "cannot be")],
)  # fmt: skip
def test_a_name_that_cannot_be_is_one_error(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(AskedWrongError, match=words):
        find_place(name, directory=tmp_path, here=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "newcomer").mkdir()
    found = CliRunner().invoke(cli, ["new", "driver", "newcomer"])
    assert found.exit_code == 2
    assert "newcomer is there already" in found.stderr
    assert list((tmp_path / "newcomer").iterdir()) == []


def test_a_driver_there_is_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(cli, ["new", "driver", "stripe"])
    assert (found.exit_code, "there is a driver stripe already" in found.stderr) == (2, True)
    assert "uninstall" not in found.stderr, "it is syncd's own"
    assert list(tmp_path.iterdir()) == []


def test_of_a_driver_that_a_package_brought_it_is_said_how_to_be_rid_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "syncd.drivers.sources", lambda: {"acme": drivers.Source("acme", "acme_syncd", "", "syncd-acme")}
    )
    monkeypatch.setattr("sys.executable", "/opt/elsewhere/bin/python3")
    found = CliRunner().invoke(cli, ["new", "driver", "acme"])
    assert (found.exit_code, "there is a driver acme (from syncd-acme) already" in found.stderr) == (2, True)
    assert "/opt/elsewhere/bin/python3 -m pip uninstall syncd-acme" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_document_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "other.json").write_text('{"paths": {}}')
    for file, words in (
        ("none.json", "cannot read"),
        ("broken.yaml", "neither JSON nor YAML"),
        ("other.json", "no OpenAPI"),
    ):
        found = CliRunner().invoke(cli, ["new", "driver", "newcomer", "--from-openapi", file])
        assert (found.exit_code, words in found.stderr) == (2, True), found.stderr
        assert "Traceback" not in found.stderr
    assert not (tmp_path / "newcomer").exists()


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: Counter[str] = Counter()
    real = Path.write_text

    def full(self: Path, *words: Any, **more: Any) -> int:
        written["files"] += 1
        if written["files"] > 3:
            raise OSError(28, "No space left on device", str(self))
        return real(self, *words, **more)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    found = CliRunner().invoke(cli, ["new", "driver", "newcomer"])
    assert (found.exit_code, "No space left" in found.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_a_driver_in_a_checkout_shows_its_own_defaults_and_no_other_partners() -> None:
    examples = Path(__file__).resolve().parents[2] / "config" / "partners"
    template = (examples / "rest.yaml.example").read_text("utf-8")
    choices = plain_choices("acme")
    text = yaml_text.example_yaml(choices, template)
    assert "strategy: incremental " in text, "its listing is asked for what changed"
    assert "rest" not in re.findall(r"[\w.]+", text.partition("driver: acme")[2])
    assert not re.search(r"specs/rest|/rest\b|boat|stated above", text)
    assert "#   tiers: [5/s]                # used whole, unlike what is stated\n" in text
    others = (examples / "stripe.yaml.example").read_text("utf-8").splitlines()
    assert text.splitlines()[3] == others[3], "the same is said of every driver's keys"
    found = choices.resources[0]
    whole = replace(choices, resources=(replace(found, rows=replace(found.rows, since="")),))
    assert "strategy: full " in yaml_text.example_yaml(whole, template)


def test_the_readme_of_a_package_names_no_place_on_this_machine(tmp_path: Path) -> None:
    place = find_place("acme", directory=tmp_path, here=tmp_path)
    written = write(plain_choices("acme"), place, datetime(2026, 11, 20, tzinfo=UTC))
    text = (written.place.root / "README.md").read_text("utf-8")
    assert "python -m pytest -q ." in text
    assert str(tmp_path) not in text and sys.executable not in text


def test_the_commands_say_python_where_that_is_the_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3.11").touch(mode=0o755)
    (folder / "python").symlink_to("python3.11")
    here = tmp_path / "work"
    monkeypatch.setattr(sys, "executable", str(folder / "python3.11"))
    monkeypatch.setenv("PATH", str(folder))
    assert find_place("acme", directory=here, here=here).commands[1] == "python -m pytest -q ./acme"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_place("acme", directory=here, here=here).commands[1].startswith(str(folder / "python3.11"))
    monkeypatch.setenv("PATH", str(folder))
    (folder / "python").unlink()
    (folder / "python").touch(mode=0o755)  # of another release, in the same folder
    assert find_place("acme", directory=here, here=here).commands[1].startswith(str(folder / "python3.11"))
