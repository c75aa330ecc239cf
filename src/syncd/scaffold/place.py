"""Where a new driver goes: into a checkout of syncd, or into a small package of its own."""

from __future__ import annotations

import keyword
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from syncd.errors import AskedWrongError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_TAKEN = frozenset({"rest", "syncd", "test", "tests", "driver", "drivers"})


@dataclass(frozen=True)
class Place:
    """The files' places, and the commands that try them from where the person stands."""

    driver: Path
    """The driver's folder."""
    tests: Path
    """The file of its own tests."""
    module: str
    """The package its folder is."""
    example: Path
    """The partner's file to begin with."""
    root: Path
    """What is new, whole: removed again if it cannot be written to its end."""
    package: bool
    commands: tuple[str, str, str]


def find_place(name: str, *, directory: Path | None, here: Path) -> Place:
    """The place for a driver of this name. Raises AskedWrongError for a name that cannot be, or a folder that is there."""
    if not _NAME.match(name) or keyword.iskeyword(name) or name in _TAKEN:
        raise AskedWrongError(
            f"{name!r} cannot be a driver's name",
            hint="lower-case letters, digits and _, at most 40, beginning with a letter: acme, acme_pms",
        )
    checkout = None if directory is not None else _checkout(here)
    place = _package(name, directory or here, here) if checkout is None else _own(name, checkout, here)
    for path in (place.root, *((place.tests.parent, place.example) if not place.package else ())):
        if path.exists():
            raise AskedWrongError(f"{path} is there already", hint="another name, or remove it first")
    return place


def to_free(package: str, here: Path) -> str:
    """What to do for a name that a driver has already, which an installed package brought (empty: syncd itself)."""
    if not package:
        return "another name"
    return f"another name; or, to begin it anew: {_python(here)} -m pip uninstall {package}"


def _checkout(here: Path) -> Path | None:
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and (folder / "src" / "syncd" / "drivers").is_dir():
            if re.search(r'^name = "syncd"$', file.read_text("utf-8"), re.MULTILINE):
                return folder
            return None
    return None


def _own(name: str, checkout: Path, here: Path) -> Place:
    folder = checkout / "src" / "syncd" / "drivers" / name
    tests = checkout / "tests" / "drivers" / name / f"test_{name}.py"
    python = _python(here)
    at = "" if here == checkout else f"{_shown(checkout, here)}/"
    return Place(
        driver=folder,
        tests=tests,
        module=f"syncd.drivers.{name}",
        example=checkout / "config" / "partners" / f"{name}.yaml.example",
        root=folder,
        package=False,
        commands=(
            f"{python} -m pytest -q {at}tests/drivers/test_every_driver.py -k {name}-",
            f"{python} -m pytest -q {at}tests/drivers/{name}",
            f"{python} -m pytest -q {at}tests/config/test_examples.py -k {name}",
        ),
    )


def _package(name: str, directory: Path, here: Path) -> Place:
    root = directory / name
    shown, python = _shown(root, here), _python(here)
    return Place(
        driver=root / f"{name}_syncd",
        tests=root / "tests" / f"test_{name}.py",
        module=f"{name}_syncd",
        example=root / "config" / "partners" / f"{name}.yaml",
        root=root,
        package=True,
        commands=(
            f"{python} -m pip install --quiet --editable '{shown}[test]'",
            f"{python} -m pytest -q {shown}",
            f"{python} -m syncd check --config {shown}/config",
        ),
    )


def _shown(path: Path, here: Path) -> str:
    try:
        return f"./{path.absolute().relative_to(here.absolute())}"
    except ValueError:
        return str(path)


def _python(here: Path) -> str:
    """How to call the interpreter that runs this: by the shortest name that means it."""
    own = Path(sys.executable)
    if own.absolute().is_relative_to(here.absolute()):
        return str(own.absolute().relative_to(here.absolute()))
    found = shutil.which("python")
    if found is not None and Path(found).absolute().parent == own.absolute().parent and Path(found).samefile(own):
        return "python"  # of the same environment and release, whatever the name it was called by (python3.11)
    return str(own)
