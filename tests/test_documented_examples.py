"""What documents show is right as it stands: SQL runs on the real schema, YAML is taken, JSON and Python are what they claim.

Whole files (`# config/...`) are loaded by test_docs.py, the programs of docs/changes.md run by whole/test_change_feed.py.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import yaml
from pydantic import BaseModel, ValidationError

import syncd.config
import syncd.kit
from syncd.alerts import message
from syncd.config.document import read
from syncd.explain import Explanation, State
from syncd.kit import DriverSpec
from syncd.server.ports import ServiceHealth
from syncd.store import Store
from tests.documented import DOCUMENTS, FENCE, ROOT, SOURCE, SPAN, blocks
from tests.server.fakes import NOON, FakeStatus
from tests.server.test_health import ask

KINDS = {"yaml", "sql", "json", "python", "toml", "ini", "nginx", "console", "sh", "text", "markdown", ""}
"""Of blocks. `ini` runs under systemd (tests/systemd), `nginx` is another program's, `console` and `sh` are commands."""
QUERY = re.compile(r"(?:SELECT|UPDATE|INSERT|DELETE|DROP SCHEMA|GRANT|CREATE) (?!.*\.\.\.|/)")
PARTS = {"orders"}
"""Keys that are names of an example's own: a resource."""


def shown(*kinds: str) -> list[tuple[str, str]]:
    """Every block of these kinds, with where it stands."""
    return [
        (f"{path.relative_to(ROOT).as_posix()}:{number}", body)
        for path in DOCUMENTS
        for number, body in enumerate(blocks(path.read_text("utf-8"), *kinds), 1)
    ]


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    kinds = {match["kind"] for path in DOCUMENTS for match in FENCE.finditer(path.read_text("utf-8"))}
    assert kinds - KINDS == set()


# -- SQL


def statements() -> dict[str, str]:
    """Blocks, and code within a line, to where they stand."""
    found = {body: place for place, body in shown("sql")}
    for path in DOCUMENTS:
        for span in SPAN.findall(FENCE.sub("", path.read_text("utf-8"))):
            if QUERY.match(span):
                found[span] = path.name
    return found


async def test_every_statement_a_document_shows_runs_on_the_real_schema(database: str, store: Store) -> None:
    """Each undone before the next: roles are the server's, and gone with the transaction that made them."""
    await store.views.refresh("stripe", "customers", {"email": "text"})
    said = statements()
    assert len(said) > 12
    tables = next(body for body in said if body.startswith("CREATE TABLE my_positions"))
    connection = await asyncpg.connect(database)
    wrong = []
    for statement, place in said.items():
        block = connection.transaction()
        await block.start()
        try:
            await connection.execute("SET LOCAL search_path = public; CREATE ROLE my_program; CREATE ROLE app")
            await connection.execute("CREATE TABLE guests (id int, email text)")
            if statement != tables:
                await connection.execute(tables)
            await connection.execute(re.sub(r"^(?:BEGIN|COMMIT);$", "", statement, flags=re.MULTILINE))
        except asyncpg.PostgresError as error:
            wrong.append(f"{place}: {error}\n{statement}")
        finally:
            await block.rollback()
    await connection.close()
    assert wrong == []


# -- YAML


def models() -> list[type[BaseModel]]:
    """All that describe a part of a file of ours."""
    for package in (syncd.kit, syncd.config):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")

    def below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    return sorted(
        {one for one in below(BaseModel) if one.__module__.startswith(("syncd.kit", "syncd.config"))},
        key=lambda one: one.__qualname__,
    )


def refused(key: str, value: Any, kinds: list[type[BaseModel]]) -> str:
    """What every model that has the key says against its value; empty where one takes it."""
    said = []
    for kind in kinds:
        if key in {name for field, info in kind.model_fields.items() for name in (field, info.alias)}:
            try:
                kind.model_validate({key: value})
            except ValidationError as error:
                against = [one for one in error.errors() if one["loc"][:1] == (key,)]
                if against:
                    said.append(f"{kind.__name__}: {against[0]['loc']}: {against[0]['msg']}")
                    continue
            return ""
    return "; ".join(said) or "no file has this key"


def examples(body: str, folder: Path) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """A block's keys with their values, and mistakes; where one key has alternatives, each of them."""
    whole = _read(body, folder)
    if not whole[1]:
        yield whole
        return
    parts: list[str] = []
    for line in body.splitlines(keepends=True):
        if re.match(r"[^\s#]", line):
            parts.append(line)
        elif parts:
            parts[-1] += line
    yield from (_read(part, folder) for part in parts)


def _read(text: str, folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    (folder / "part.yaml").write_text(re.sub(r", \.\.\.", "", text), "utf-8")
    document = read(folder / "part.yaml", "part.yaml")
    return document.data or {}, [problem.message for problem in document.problems]


def test_every_part_of_a_file_that_a_document_shows_is_taken(tmp_path: Path) -> None:
    kinds, wrong, seen = models(), [], 0
    for place, body in shown("yaml"):
        if body.startswith(("# config/", "# prometheus.yml")) or re.search(r"^driver:", body, re.MULTILINE):
            continue
        for data, mistakes in examples(body, tmp_path):
            if named := re.match(r"# drivers/(\w+)/driver\.yaml", body):
                stated = yaml.safe_load((SOURCE / "drivers" / named[1] / "driver.yaml").read_text("utf-8"))
                DriverSpec.model_validate({"name": named[1], **merged(stated, data)})
                continue
            wrong += [f"{place}: {mistake}" for mistake in mistakes]
            for key, value in data.items():
                seen += 1
                key, value = ("resources", {key: value}) if key in PARTS else (key, value)
                if said := refused(key, value, kinds):
                    wrong.append(f"{place}: {key}: {said}")
    assert wrong == []
    assert seen > 50


def merged(below: Any, above: Any) -> Any:
    """A description with a part of it laid over it."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


def partners() -> list[tuple[str, str]]:
    return [
        (place, body)
        for place, body in shown("yaml")
        if re.search(r"^driver:", body, re.MULTILINE) and not body.startswith("# config/")
    ]


@pytest.mark.parametrize(("place", "body"), partners(), ids=[place for place, _ in partners()])
def test_every_partners_file_that_a_document_shows_passes_check(place: str, body: str, tmp_path: Path) -> None:
    from syncd.cli.load import load_config

    (tmp_path / "partners").mkdir()
    shutil.copy2(ROOT / "config" / "syncd.yaml", tmp_path)
    name = re.search(r"^driver: (\w+)", body, re.MULTILINE)[1]  # type: ignore[index]
    (tmp_path / "partners" / f"{name.replace('rest', 'boatyard')}.yaml").write_text(body, "utf-8")
    load_config(tmp_path)  # raises with all problems


def test_prometheus_takes_what_is_shown_of_its_file(tmp_path: Path) -> None:
    found = [body for _, body in shown("yaml") if body.startswith("# prometheus.yml")]
    assert found
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    for body in found:
        (tmp_path / "prometheus.yml").write_text(body, "utf-8")
        words = ["promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


# -- JSON, Python, TOML


async def test_every_document_in_json_has_the_keys_of_the_real_one() -> None:
    """The health's, as the server answers, and the alert's, as it is sent."""
    said = [orjson.loads(body) for _, body in shown("json")]
    [alert] = [one for one in said if one.get("schema") == "syncd.alert/1"]
    [health] = [one for one in said if "services" in one]
    assert len(said) == 2, "a new one wants its own comparison"
    real = orjson.loads(message.sample("generic", "alert_1", NOON))
    assert set(alert) == set(real)
    assert set(alert["began"][0]) == set(real["began"][0])
    engine = FakeStatus()
    why = Explanation("auth-failed", "401 invalid_grant", NOON, "revoked", "syncd credential test acme")
    engine.services["acme"] = ServiceHealth(State.AUTH_REQUIRED, 180.0, why)
    _, answered, _ = await ask(engine, "/health")
    assert set(health) == set(answered)
    assert set(health["services"]["acme"]) == set(answered["services"]["acme"])


def test_every_program_a_document_shows_names_what_exists() -> None:
    programs = shown("python")
    assert len(programs) > 4
    for place, body in programs:
        for node in ast.walk(ast.parse(body, place)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("syncd"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], place


def test_the_simulator_and_the_suite_a_document_shows_can_be_made(tmp_path: Path) -> None:
    """With a partner's sample beside it, as it is told to lie there; the tests it shows are checks of a driver there is."""
    (tmp_path / "samples").mkdir()
    raw = {"id": "t-1", "updated_at": "2026-11-01T08:00:01Z"}
    (tmp_path / "samples" / "things.plain.json").write_bytes(orjson.dumps({"raw": raw}))
    [simulator] = [body for _, body in shown("python") if "StatedSimulator" in body]
    made: dict[str, Any] = {"__file__": str(tmp_path / "simulator.py"), "__name__": "simulator"}
    exec(compile(simulator, "simulator.py", "exec"), made)
    assert made["AcmeSimulator"].name == "acme"
    [suite] = [body for _, body in shown("python") if "import checks" in body]
    exec(compile(suite.replace('"acme"', '"stripe"'), "test_acme.py", "exec"), made)
    made["test_acme"](made["checks"]("stripe")[0])


def test_every_toml_a_document_shows_is_toml() -> None:
    assert [tomllib.loads(body) for _, body in shown("toml")]
