"""Drivers are found by name, in our folders and in other packages, and a broken one hurts only who uses it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from syncd import drivers
from syncd.drivers import DriverError
from syncd.kit import RestDriver

YAML = "base_url: https://api.acme.example\nresources: {rows: {path: /rows}}\n"
PYTHON = """
from syncd.kit import RestDriver

class Base(RestDriver):
    pass

class Acme(Base):
    pass
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages; `install` makes one of them a registered driver."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    drivers._class_and_spec.cache_clear()
    yield tmp_path
    drivers._class_and_spec.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("other_"):
            del sys.modules[name]


def install(packages: Path, monkeypatch: pytest.MonkeyPatch, **files: dict[str, str]) -> None:
    """Each keyword is a package other_<name> with these files, registered as driver <name>."""
    entries = []
    for name, content in files.items():
        place = packages / f"other_{name}"
        place.mkdir()
        for file, text in {"__init__.py": "", **content}.items():
            (place / file).write_text(text)
        entries.append(EntryPoint(name, content.get("entry", f"other_{name}"), drivers.GROUP))
    monkeypatch.setattr(drivers, "entry_points", lambda group: entries)


def test_our_own_folders_are_found_without_importing_any() -> None:
    assert "rest" in drivers.names()
    assert drivers.names() == sorted(drivers.names())
    assert drivers.sources()["rest"].module == "syncd.drivers.rest"


def test_a_package_registers_a_driver_by_its_folder_its_class_or_its_yaml_alone(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        packages,
        monkeypatch,
        plain={"driver.yaml": YAML},
        python={"driver.yaml": YAML, "driver.py": PYTHON},
        named={"driver.yaml": YAML, "acme.py": PYTHON, "entry": "other_named.acme:Base"},
    )
    assert type(drivers.load("plain")) is RestDriver
    assert type(drivers.load("python")).__name__ == "Acme"
    assert type(drivers.load("named")).__name__ == "Base"
    assert {drivers.load(name).spec.name for name in ("plain", "python", "named")} == {"plain", "python", "named"}
    assert drivers.folder("plain") == packages / "other_plain"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"__init__.py": "import nowhere_to_be_found"}, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ({"__init__.py": "raise SystemError('boom')"}, "SystemError: boom"),
        ({"driver.yaml": YAML, "driver.py": "def ("}, "SyntaxError"),
        ({"driver.yaml": YAML, "driver.py": "x = 1"}, "must define one subclass of Driver, not 0"),
        ({"driver.yaml": YAML, "driver.py": PYTHON + "\nclass Two(RestDriver): pass"}, "not 2"),
        ({"driver.yaml": "resources: {rows: {path: /rows}\n"}, "driver.yaml:"),
        ({"driver.yaml": YAML + "limts: {}\n"}, "driver.yaml:3: limts: there is no key 'limts' here"),
        ({"driver.yaml": "- a\n"}, "not a mapping"),
        ({}, "has no driver.yaml"),
        ({"entry": "other_bad:Missing"}, "Missing"),
        ({"entry": "other_bad:x", "__init__.py": "x = int"}, "no subclass of Driver"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_broken_driver_is_one_error_that_names_it_and_hurts_no_other(
    files: dict[str, str], words: str, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(packages, monkeypatch, bad=files, good={"driver.yaml": YAML})
    with pytest.raises(DriverError) as caught:
        drivers.load("bad")
    assert caught.value.driver == "bad"
    assert "bad" in str(caught.value)
    assert words in str(caught.value)
    assert drivers.load("good").spec.name == "good"
    assert {"bad", "good", "rest"} <= set(drivers.names())
    finding = drivers.facts()["bad"].facts({}, None).findings
    assert words in finding[0].message if finding else "no driver.yaml" in words
    assert drivers.facts()["good"].facts({}, None).findings == ()


def test_a_driver_that_was_mended_loads_without_a_restart(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(packages, monkeypatch, bad={"driver.yaml": "limts: {}\n"})
    with pytest.raises(DriverError):
        drivers.load("bad")
    (packages / "other_bad" / "driver.yaml").write_text(YAML)
    assert drivers.load("bad").spec.name == "bad"


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(DriverError) as caught:
        drivers.load("rets")
    assert caught.value.hint == "did you mean rest?"
    with pytest.raises(DriverError) as caught:
        drivers.load("zzzzzz")
    assert "rest" in caught.value.hint


def test_our_own_folder_wins_over_a_registration_of_the_same_name(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(packages, monkeypatch, rest={"driver.yaml": YAML})
    assert drivers.sources()["rest"].module == "syncd.drivers.rest"


def test_the_rest_driver_takes_its_description_and_its_name_from_the_partners_file() -> None:
    driver = drivers.load("rest", rest={"resources": {"rows": {"path": "/rows"}}}, partner="acme")
    assert driver.spec.name == "acme"
    with pytest.raises(DriverError, match="under `rest:`"):
        drivers.load("rest")
    with pytest.raises(DriverError, match="no key 'pth'"):
        drivers.load("rest", rest={"resources": {"rows": {"pth": "/rows"}}}, partner="acme")


def test_mistakes_under_rest_are_findings_at_their_place_in_the_file() -> None:
    facts = drivers.facts()["rest"]
    found = facts.facts({}, {"resources": {"rows": {"path": "/rows", "page": {}}}}).findings
    assert [(tuple(finding.path), finding.help) for finding in found] == [
        (("rest", "resources", "rows", "page"), "did you mean pages?")
    ]
    known = facts.facts({}, {"auth": {"kind": "bearer"}, "resources": {"rows": {"path": "/rows"}}})
    assert (set(known.resources), dict(known.credentials or {})) == ({"rows"}, {"token": True})
    assert facts.facts({}, None).findings == ()
