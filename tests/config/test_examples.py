"""The examples against the drivers as they are: names of credentials, resources and options, and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd import drivers
from syncd.config import load, render
from tests.config.test_schema import CONFIG, uncommented

EXAMPLES = sorted((CONFIG / "partners").glob("*.yaml.example"))


def test_every_driver_has_an_example():
    assert set(drivers.names()) <= {file.name.partition(".")[0] for file in EXAMPLES}


@pytest.mark.parametrize("change", [str, uncommented], ids=["as shipped", "with every key"])
@pytest.mark.parametrize(
    "name", [name for name in drivers.names() if (CONFIG / "partners" / f"{name}.yaml.example").exists()]
)
def test_an_example_passes_its_own_driver(tmp_path: Path, name, change):
    partners = tmp_path / "partners"
    partners.mkdir()
    (partners / f"{name}.yaml").write_text(change((CONFIG / "partners" / f"{name}.yaml.example").read_text()))
    found = load(tmp_path, drivers=drivers.facts(), env={})
    assert found.errors == (), render(found.errors)
    if change is str:
        assert found.warnings == (), render(found.warnings)
