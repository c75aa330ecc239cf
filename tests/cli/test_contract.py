"""What `syncd contract` prints while it looks and of what was found, and how it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import contract as command
from syncd.cli.contract import Telling, exit_of, render
from syncd.cli.exits import Exit
from syncd.cli.output import Failure
from syncd.errors import TransientError
from syncd.server import desk_contract
from tests.cli.conftest import partner


def resource(name: str, **more: Any) -> dict[str, Any]:
    told = {"resource": name, "records": 20, "calls": 1, "drift": [], "more": 0, "remarks": [], "unknown": []}
    return {**told, "note": "", "later": False, **more}


def left(name: str, note: str, *, later: bool = True) -> dict[str, Any]:
    return resource(name, records=0, calls=0, note=note, later=later)


def found(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"integration": "acme", "published": [], "resources": list(resources)}


DRIFT = [{"place": "name", "told": "in none of 20 records", "what": "missing"}]


def test_a_headline_says_what_was_not_looked_at() -> None:
    whole, part = found(resource("boats")), found(resource("boats"), left("berths", "the 300 s were over"))
    assert render(whole) == [
        "acme: 20 records of 1 resource in 1 call, compared with mapping and samples: as its driver relies on"
    ]
    assert render(part) == [
        "acme: 20 records of 1 of 2 resources in 1 call, compared with mapping and samples: as its driver relies on; "
        "1 resource was not looked at",
        "  ? berths: not looked at: the 300 s were over",
        "  do: longer, or later: syncd contract acme --wait 3600",
    ]


@pytest.mark.parametrize(
    ("resources", "exit"),
    [
        ([resource("a")], Exit.OK),
        ([resource("a"), left("b", "a limit")], Exit.TRY_LATER),
        ([left("a", "a limit"), resource("b", drift=DRIFT)], Exit.FAILURES),
        ([left("a", "a limit"), left("b", "answered 404", later=False)], Exit.FAILURES),
    ],
)
def test_what_may_come_in_a_while_is_told_apart_from_what_waits_for_a_person(
    resources: list[dict[str, Any]], exit: Exit
) -> None:
    assert exit_of([found(resource("z")), found(*resources)]) is exit


def test_what_a_look_is_at_and_waits_for_is_said_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling("acme")
    at = {"resource": "boats", "number": 3, "of": 12, "left_seconds": 290.4, "waits_for": "", "until": None}
    telling.hears(None)
    telling.hears({**at, "resource": "", "number": 0})
    telling.hears(at)
    telling.hears({**at, "left_seconds": 289.4})
    waits = {**at, "waits_for": "30/min"}
    telling.hears({**waits, "left_seconds": 280.0, "until": "2026-11-22T23:14:02+00:00"})
    telling.hears({**waits, "left_seconds": 260.0, "until": "2026-11-22T23:14:12+00:00"})
    telling.hears({**waits, "left_seconds": 250.0, "until": "2026-11-22T23:14:22+00:00"})
    assert capsys.readouterr().err.splitlines() == [
        "acme: looking at boats (3 of 12); at most 290 s more in all",
        "acme: looking at boats (3 of 12), waiting for a limit until 2026-11-22 23:14:02Z or later: 30/min; "
        "at most 280 s more in all",
        "acme: looking at boats (3 of 12), waiting for a limit until 2026-11-22 23:14:22Z or later: 30/min; "
        "at most 250 s more in all",
    ]


@pytest.mark.parametrize("release", ["this", "an older"])
def test_the_daemon_is_asked_how_it_goes_while_it_looks(
    release: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.001)
    asked = threading.Event()
    told = {"resource": "boats", "number": 1, "of": 2, "left_seconds": 9.0, "waits_for": "", "until": None}

    class Daemon:
        looks = 0

        def get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
            self.looks += 1
            assert (path, query) == ("contract", {"integration": "acme"})
            if release == "an older":
                asked.set()
                raise Failure("the daemon answered 405")
            if self.looks > 1:
                asked.set()
            return {"look": told}

    with command._told_of(Daemon(), "acme"):  # type: ignore[arg-type]
        assert asked.wait(20)
    said = capsys.readouterr().err
    assert said == ("" if release == "an older" else "acme: looking at boats (1 of 2); at most 9 s more in all\n")


def test_the_command_waits_as_long_as_the_daemon_allows() -> None:
    assert (command.SECONDS, command.LONGEST_SECONDS) == (desk_contract.SECONDS, desk_contract.LONGEST_SECONDS)


@pytest.mark.parametrize(
    ("resources", "exit"), [([resource("a")], Exit.TRY_LATER), ([resource("a", drift=DRIFT)], Exit.FAILURES)]
)
def test_a_partner_that_is_away_keeps_none_of_the_others_from_being_looked_at(
    run: Any, directory: Path, monkeypatch: pytest.MonkeyPatch, resources: list[dict[str, Any]], exit: Exit
) -> None:
    for name in ("one", "two", "three"):
        (directory / "partners" / f"{name}.yaml").write_text(partner("{env: KEY}").replace("shop", name))
    (directory / "partners" / "plain.yaml").unlink()

    async def looked(app: Any, config: Any, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["integration"] == "one":
            raise Failure("syncd contract failed", "refused the connection", exit=Exit.TRY_LATER)
        if asked["integration"] == "three":
            raise TransientError("is away")
        return {**found(*resources), "integration": asked["integration"]}

    monkeypatch.setattr(command, "_found", looked)
    done = run("contract", "--config", directory)
    assert done.exit_code == exit, done.stderr
    assert done.stdout.startswith("two: 20 records of 1 resource")
    assert "one was not looked at" in done.stderr and "refused the connection" in done.stderr
    assert "three was not looked at" in done.stderr
    assert run("contract", "three", "--config", directory).exit_code != 0
