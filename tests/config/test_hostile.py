"""Whatever stands in a file, loading answers with problems and never with an exception."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.config import load, render
from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.wording import keys_of, models_below
from tests.config.facts import DRIVERS

KEYS = sorted({key for model in (Config, PartnerConfig) for below in models_below(model) for key in keys_of(below)})
NAMES = st.sampled_from(
    [*KEYS, "env", "file", "credential", "name", "acme", "listings", "high", "client_id", "x y", ""]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**20),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["guesty", "attio", "rest", "5m", "7/s", "1MiB", "full", "https://a.example", "127.0.0.1:1", "*/5 * * * *"]
    ),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
FILES = st.dictionaries(NAMES, VALUES, max_size=6)
WORKING = st.fixed_dictionaries(
    {"driver": st.sampled_from(["guesty", "attio", "rest", "none"]), "integrations": VALUES},
    optional={"limits": VALUES, "resources": VALUES},
)


@given(FILES, FILES | WORKING)
@settings(max_examples=150, deadline=None)
def test_no_file_makes_loading_raise(main, partner):
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "partners").mkdir()
        (directory / "syncd.yaml").write_text(json.dumps(main))  # JSON is YAML
        (directory / "partners" / "p.yaml").write_text(json.dumps(partner))
        found = load(directory, drivers=DRIVERS, env={})
        assert render(found.problems) == render(found.problems, "text")
        assert render(found.problems, "github").count("::error") >= len(found.errors)
        for problem in found.problems:
            assert problem.message
            assert problem.line <= 1  # json.dumps writes one line
        if not found.errors:
            assert found.require().model_dump_json()
        assert (found.config is None) == any("syncd.yaml" in problem.file for problem in found.errors)
