"""The container file, read as its builder reads it: two stages, nobody's secrets, no root, and files that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "packaging" / "Containerfile"


def steps() -> list[tuple[str, str]]:
    """Instructions in order, each with its words on one line."""
    text = re.sub(r"^#.*\n", "", FILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    for step in steps():
        if step[0] == "FROM":
            found.append([])
        found[-1].append(step)
    return found[1:]


def values(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [words for instruction, words in stage if instruction == name]


def test_what_builds_stays_behind():
    build, last = stages()
    assert build[0][1].endswith(" AS build")
    assert [words for words in values(last, "COPY") if words.startswith("--from=build")] == [
        "--from=build /opt/syncd /opt/syncd"
    ]
    assert not [words for words in values(last, "RUN") if re.search(r"\b(pip|apt|apt-get|curl|wget)\b", words)]


def test_the_base_is_one_and_pinned_to_a_tag_of_a_python_that_fits():
    base = dict(steps())["ARG"].removeprefix("PYTHON=")
    assert re.fullmatch(r"docker\.io/library/python:3\.(11|12|13)-slim-\w+", base)
    assert [stage[0][1].split(" AS ")[0] for stage in stages()] == ["${PYTHON}"] * 2


def test_it_runs_as_a_number_that_is_not_root():
    last = stages()[-1]
    assert values(last, "USER") == ["10001:10001"]
    after = [name for name, _ in last[[name for name, _ in last].index("USER") :]]
    assert "RUN" not in after and "COPY" not in after


def test_libraries_are_the_locked_ones():
    installs = [part for words in values(stages()[0], "RUN") for part in words.split("&&") if " pip install " in part]
    assert len(installs) == 2
    assert all("--require-hashes" in part or "--no-index --no-deps" in part for part in installs)


def test_what_is_copied_exists_and_is_let_in():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines(), "all else stays out"
    for words in [words for stage in stages() for words in values(stage, "COPY") if not words.startswith("--from")]:
        for source in shlex.split(words)[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let_in, f"{source} is kept out by .dockerignore"


def test_no_secret_has_a_place_in_a_layer():
    settings = [words for stage in stages() for name in ("ARG", "ENV") for words in values(stage, name)]
    assert not [words for words in settings if re.search(r"(?i)(password|secret|token|_key|database_url)\b", words)]


def test_its_health_is_the_daemons_own_answer_and_it_stops_by_draining():
    last = stages()[-1]
    assert values(last, "HEALTHCHECK")[0].endswith('CMD ["syncd", "healthcheck"]')
    assert (values(last, "ENTRYPOINT"), values(last, "CMD")) == (['["syncd"]'], ['["run"]'])
    assert values(last, "STOPSIGNAL") == ["SIGTERM"]


def test_its_configuration_loads_and_listens_to_the_outside(tmp_path: Path):
    from syncd.config import load

    (tmp_path / "partners").mkdir()
    (tmp_path / "syncd.yaml").write_text((ROOT / "packaging/container.yaml").read_text("utf-8"))
    config = load(tmp_path, drivers={}, env={}).require()
    assert str(config.server.listen) == "0.0.0.0:8080"
    assert str(config.server.admin) == "127.0.0.1:8081", "commands stay inside"
    assert yaml.safe_load((tmp_path / "syncd.yaml").read_text())["database"]["url"] == {"env": "SYNCD_DATABASE_URL"}


@pytest.mark.parametrize("word", ["--read-only", "--cap-drop all", "--stop-timeout 40", "--format docker"])
def test_the_page_on_installing_shows_how_it_is_meant_to_run(word: str):
    assert word in (ROOT / "docs/install.md").read_text("utf-8")
