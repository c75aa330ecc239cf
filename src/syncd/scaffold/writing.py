"""All files of a new driver, checked against each other before one of them is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from syncd.errors import AskedWrongError, PayloadError, SyncdError
from syncd.kit import Driver, RestDriver
from syncd.kit.reading import parse
from syncd.scaffold import code_text, readme_text, yaml_text
from syncd.scaffold.choices import Choices, Found
from syncd.scaffold.place import Place
from syncd.scaffold.sample_files import sample_files


@dataclass(frozen=True)
class Written:
    """What was written, and what to run next."""

    files: tuple[Path, ...]
    place: Place
    choices: Choices


def write(choices: Choices, place: Place, now: datetime) -> Written:
    """Write the driver. Raises AskedWrongError where that cannot be; then nothing stays behind."""
    day = f"{now:%Y-%m-%d}"
    choices = _sound(choices, day)
    files = _files(choices, place, day)
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        shutil.rmtree(place.root, ignore_errors=True)
        if not place.package:
            shutil.rmtree(place.tests.parent, ignore_errors=True)
            place.example.unlink(missing_ok=True)
        raise AskedWrongError(
            f"cannot write {error.filename}: {error.strerror or error}", hint="say where: --directory DIR"
        ) from error
    return Written(tuple(files), place, choices)


def _driver(choices: Choices, day: str) -> Driver:
    data = yaml.safe_load(yaml_text.driver_yaml(choices, day))
    return RestDriver(parse({"name": choices.name, **data}))


def _sound(choices: Choices, day: str) -> Choices:
    """Without what a guess got wrong: a resource whose own example cannot be read has its fields taken away, or goes."""
    driver = _driver(choices, day)
    kept: list[Found] = []
    for found in choices.resources:
        if found.rows.parent and found.rows.parent not in {one.rows.name for one in kept}:
            continue
        sound = _readable(driver, found)
        if sound is not None:
            kept.append(sound)
    if not kept:
        raise AskedWrongError("no resource is left of what was found", hint="begin without a document")
    return replace(choices, resources=tuple(kept))


def _readable(driver: Driver, found: Found) -> Found | None:
    resource = driver.spec.resources[found.rows.name]
    raw = dict(found.rows.like)
    try:
        driver.identify(resource, raw)
    except PayloadError:
        return None
    fields = {}
    for name, told in found.fields.items():
        try:
            driver.normalize(resource.model_copy(update={"fields": {name: resource.fields[name]}}), raw)
        except PayloadError:
            fields[name] = {"from": told["from"]} if "from" in told else {}
        else:
            fields[name] = dict(told)
    return replace(found, fields=fields)


def _files(choices: Choices, place: Place, day: str) -> dict[Path, str]:
    try:
        samples = sample_files(choices, _driver(choices, day))
    except SyncdError as error:
        raise AskedWrongError(
            f"what was found does not fit together: {error}", hint="begin without a document"
        ) from error
    base_path = urlsplit(choices.base_url).path.rstrip("/")
    folder = place.driver
    made = {
        folder / "__init__.py": f'"""{choices.title}."""\n',
        folder / "driver.yaml": yaml_text.driver_yaml(choices, day),
        folder / "README.md": readme_text.readme(choices, day),
        folder / "simulator.py": code_text.simulator_py(choices, base_path, day),
        **{folder / "samples" / name: _json(content) for name, content in samples.items()},
        place.tests: code_text.test_py(choices, place),
        place.example: _partner_file(choices, place),
    }
    if choices.needs_python:
        made[folder / "driver.py"] = code_text.driver_py(choices)
    if place.package:
        made[place.root / "pyproject.toml"] = code_text.pyproject(choices, place)
        made[place.root / "README.md"] = _package_readme(choices, place)
    return made


def _partner_file(choices: Choices, place: Place) -> str:
    template = place.example.parent / "rest.yaml.example"
    if place.package or not template.is_file():
        return yaml_text.partner_yaml(choices)
    return yaml_text.example_yaml(choices, template.read_text("utf-8"))


def _package_readme(choices: Choices, place: Place) -> str:
    """For whoever has the package, wherever it lies: not the commands of the machine it was begun on."""
    return f"""# {choices.title} for syncd

A driver in a package of its own: `{place.module}/` is its folder, and its README says what is known of the partner. In this
folder:

```sh
python -m pip install --quiet --editable '.[test]'
python -m pytest -q .
python -m syncd check --config config
```
"""


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
