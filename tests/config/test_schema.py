"""The JSON Schema says what the loader says, for every shipped file and every broken one it can judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from syncd.config import load
from syncd.config.document import read
from syncd.config.schema import json_schema
from tests.config.facts import DRIVERS, GUESTY

CONFIG = Path(__file__).resolve().parents[2] / "config"
SHIPPED = [CONFIG / "syncd.yaml", *sorted((CONFIG / "partners").glob("*.yaml*"))]
BAD = sorted((Path(__file__).parent / "bad").glob("*/partners/guesty.yaml"))
SCHEMA = json_schema("partner", {"guesty": GUESTY})


@pytest.mark.parametrize("kind", ["syncd", "partner"])
def test_the_shipped_schema_is_the_generated_one(kind):
    shipped = json.loads((CONFIG / "schema" / f"{kind}.json").read_text())
    assert shipped == json_schema(kind), "write it anew: syncd schema"


def test_the_schemas_are_schemas():
    for kind in ("syncd", "partner"):
        jsonschema.Draft7Validator.check_schema(json_schema(kind))
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.name)
def test_check_jsonschema_passes_every_shipped_file(file):
    kind = "syncd" if file.name == "syncd.yaml" else "partner"
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(CONFIG / "schema" / f"{kind}.json")]
    done = subprocess.run([*command, "--default-filetype", "yaml", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_names_its_schema_and_it_is_there(file):
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve().is_file()


def test_every_shipped_file_passes_the_loader(tmp_path):
    directory = copied(tmp_path, lambda text: text)
    assert load(directory, drivers=None, env={}).problems == ()


def test_every_line_commented_out_is_sound_once_it_is_not(tmp_path):
    directory = copied(tmp_path, uncommented)
    found = load(directory, drivers=None, env={})
    assert found.errors == ()
    assert all("credential too" not in problem.message for problem in found.warnings)


@pytest.mark.parametrize("kind", ["syncd", "partner"])
def test_every_key_stands_in_every_example(kind):
    schema = json_schema(kind)
    keys = {key for part in [schema, *schema["definitions"].values()] for key in part.get("properties", {})}
    keys -= {"env", "file", "credential", "rest", "rules", "rate", "kind", "budget", "burst", "weighted", "literal"}
    keys -= {"chaos", *schema["definitions"].get("ChaosConfig", {}).get("properties", {})}  # an example gets copied
    for file in SHIPPED:
        if (file.name == "syncd.yaml") == (kind == "syncd"):
            missing = {key for key in keys if f"{key}:" not in file.read_text()}
            assert not missing, f"{file.name} does not show {sorted(missing)}"


def test_every_property_is_described():
    for kind in ("syncd", "partner"):
        schema = json_schema(kind)
        for name, part in [("top", schema), *schema["definitions"].items()]:
            for key, value in part.get("properties", {}).items():
                if "$ref" in value:  # said once, at the definition, where both texts would be the same
                    value = schema["definitions"][value["$ref"].rpartition("/")[2]]
                assert value.get("description"), f"{name}.{key}"


BEYOND = {
    # What a schema of one file cannot know, or the loader's own arithmetic.
    "every-and-cron", "bad-cron", "looser-limit", "burst-without-bucket", "lanes-overbooked", "zero-interval", "bad-rate",
    "url-with-password", "rest-under-other-driver", "rest-without-description", "bad-address", "numeric-key",
}  # fmt: skip


@pytest.mark.parametrize("file", BAD, ids=lambda path: path.parent.parent.name)
def test_the_schema_refuses_what_the_loader_refuses_in_one_file(file):
    case = file.parent.parent.name.partition("-")[2]
    expected = (file.parent.parent / "expected").read_text()
    data = read(file, "guesty.yaml").data
    if data is None or not expected.startswith("partners/guesty.yaml") or case in BEYOND:
        return
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


def test_the_schema_passes_a_sound_file(good):
    for name in ("guesty", "attio"):
        data = yaml.safe_load((good / "partners" / f"{name}.yaml").read_text())
        jsonschema.validate(data, json_schema("partner", DRIVERS))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"resources": {"listing": {}}}, "resources"),
        ({"integrations": {"a": {"credentials": {"client_id": {"env": "A"}}}}}, "a"),
    ],
)
def test_a_drivers_facts_tighten_the_schema(change, path):
    wrong = {"driver": "guesty", "integrations": {}, **change}
    with pytest.raises(jsonschema.ValidationError) as refused:
        jsonschema.validate(wrong, SCHEMA)
    assert path in refused.value.absolute_path


def copied(tmp_path: Path, change) -> Path:
    directory = tmp_path / "shipped"
    (directory / "partners").mkdir(parents=True)
    (directory / "syncd.yaml").write_text(change((CONFIG / "syncd.yaml").read_text()))
    for file in (CONFIG / "partners").glob("*.yaml.example"):
        (directory / "partners" / file.name.removesuffix(".example")).write_text(change(file.read_text()))
    return directory


def uncommented(text: str) -> str:
    """Every commented key put in force; of `every` and `cron`, which exclude each other, the first."""
    lines = []
    for line in text.splitlines():
        bare = line.lstrip()
        body = bare[2:] if bare.startswith("# ") else bare
        if bare.startswith("# ") and re.match(r" *[a-z_]+:( |$)", body):
            if body.strip().startswith("cron:"):
                continue
            line = " " * (len(line) - len(bare)) + body
        lines.append(line)
    return "\n".join(lines) + "\n"
