"""The site of docs/: every page stands in its navigation, and what must not be in a built one is found."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    """packaging/site.py, which is no part of the program."""
    spec = importlib.util.spec_from_file_location("syncd_site", ROOT / "packaging" / "site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = load()


class Lenient(yaml.SafeLoader):
    """mkdocs.yml names Python objects, which are of no interest here."""


Lenient.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def places(nav: list[Any]) -> set[str]:
    found: set[str] = set()
    for entry in nav:
        below = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found |= places(below) if isinstance(below, list) else {below}
    return found


def test_every_page_stands_in_the_navigation():
    config = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader=Lenient)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} | set(site.brought())
    named = places(config["nav"])
    folders = tuple(place for place in named if place.endswith("/"))
    assert {page for page in pages - named if not page.startswith(folders)} == set(), "name it under nav: in mkdocs.yml"
    assert {place for place in named - pages if not place.endswith("/")} == set()


def test_every_runbook_and_driver_is_a_page():
    from syncd.cli.runbook import pages

    places = set(site.brought())
    assert {f"runbooks/{name}.md" for name in pages()} <= places
    drivers = {file.parent.name for file in (ROOT / "src/syncd/drivers").glob("*/README.md")}
    assert {f"drivers/{name}.md" for name in drivers} <= places


@pytest.mark.parametrize(
    ("file", "text", "place", "expected"),
    [
        ("docs/partners.md", "[x](../src/syncd/drivers/attio/README.md#a)", "partners.md", "[x](drivers/attio.md#a)"),
        ("src/syncd/drivers/attio/README.md", "[x](../../../../docs/cli.md)", "drivers/attio.md", "[x](../cli.md)"),
        ("README.md", "[x](docs/cli.md) [y](CHANGELOG.md)", "index.md", "[x](cli.md) [y](changelog.md)"),
        ("docs/cli.md", "[x](https://example.com/docs/cli.md)", "cli.md", "[x](https://example.com/docs/cli.md)"),
        ("docs/cli.md", "[x](../conformance/waits.yaml)", "cli.md", "[x](files/conformance/waits.yaml)"),
        ("docs/cli.md", "run `syncd runbook a-b`", "cli.md", "run [`syncd runbook a-b`](runbooks/a-b.md)"),
        ("docs/cli.md", "run `syncd runbook unknown`", "cli.md", "run `syncd runbook unknown`"),
        ("docs/cli.md", "```sh\n[x](../README.md)\n```\n", "cli.md", "```sh\n[x](../README.md)\n```\n"),
    ],
)  # fmt: skip
def test_links_lead_to_the_same_page_on_the_site(file: str, text: str, place: str, expected: str):
    assert site.rewritten(text, file, place, {"runbooks/a-b.md"}) == expected


@pytest.mark.parametrize(
    ("page", "trouble"),
    [
        ('<a href="two.html">two</a><img src="own.png">', []),
        ('<a href="two.html">two</a><img src="https://example.com/x.png">', ["index.html fetches https://example.com/x.png"]),
        ('<a href="two.html">x</a><script src="//example.com/x.js"></script>', ["index.html fetches //example.com/x.js"]),
        ('<a href="two.html">x</a><link rel="preconnect" href="https://fonts.example">',
         ["index.html fetches https://fonts.example"]),
        ('<a href="https://example.com/two.html">two</a>', ["nothing leads to two.html"]),
    ],
)  # fmt: skip
def test_what_a_browser_would_fetch_and_pages_nobody_leads_to_are_found(tmp_path: Path, page: str, trouble: list[str]):
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "two.html").write_text('<a href="index.html">back</a>')
    assert site.troubles(tmp_path) == trouble


def test_a_style_that_fetches_is_found(tmp_path: Path):
    (tmp_path / "a.css").write_text("@import url('https://example.com/a.css'); b { background: url(data:x) }")
    assert site.troubles(tmp_path) == ["a.css fetches https://example.com/a.css"]


@pytest.mark.skipif(
    not (ROOT / ".venv-docs/bin/mkdocs").exists(), reason="the site's environment is made by `make docs`"
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path):
    for name in ("docs", "src/syncd/drivers/attio", "packaging"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "mkdocs.yml", "src/syncd/runbooks.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs/media.md").open("a") as file:
        file.write("\n[nowhere](no-such-page.md)\n")
    words = [ROOT / ".venv-docs/bin/python", "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "no-such-page.md" in done.stderr
