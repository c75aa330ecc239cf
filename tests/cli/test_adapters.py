"""`syncd adapters`, `renormalize` and `schema show` as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner

from syncd.cli import adapters, renormalize
from syncd.cli import schema as shapes
from syncd.cli.root import cli

APP: Any = SimpleNamespace(clock=SimpleNamespace(now=lambda: datetime(2026, 11, 22, 12, tzinfo=UTC)))
ROW: dict[str, Any] = {
    "integration": "acme", "resource": "rooms", "state": "done", "adapter": None, "dry": False, "seen": 1200, "changed": 124,
    "unchanged": 1070, "passed": 2, "rejected": 4, "healed": 1, "fields": {}, "examples": [], "reason": None,
}  # fmt: skip
FOUND: dict[str, Any] = {"name": "rooms", "known": ["v1", "v2"], "in_force": {"v1": 100.0}, "in_use": {"v1": 1200}}


def test_a_renormalization_is_one_line():
    assert renormalize.line_of(ROW) == (
        "acme/rooms  done: 1,200 read, 124 changed, 1,070 the same, 2 stored anew meanwhile, "
        "4 refused, and left as they were, 1 rejected before stored now"
    )
    plain = {**ROW, "passed": 0, "rejected": 0, "healed": 0}
    assert renormalize.line_of({**plain, "state": "failed", "reason": "a fault"}).endswith("\n  a fault")


def test_a_dry_one_says_what_would_be_with_fields_and_examples():
    dry = {
        **ROW, "dry": True, "adapter": "v2", "passed": 0, "rejected": 0, "healed": 0, "fields": {"name": 3, "(not read)": 1},
        "examples": [{"id": "a", "fields": {"name": ["text, 3 long", "nothing"]}}, {"id": "b", "refused": "no name"}],
    }  # fmt: skip
    assert renormalize.line_of(dry) == "acme/rooms  done: 1,200 read by v2, 124 would change, 1,070 the same"
    assert renormalize.lines_below(dry) == [
        "  name: 3 records",
        "  (not read): 1 record",
        "  a: name: text, 3 long → nothing",
        "  b: refused: no name",
    ]


def test_adapters_name_the_command_where_what_is_stored_was_made_by_another():
    lines = adapters.lines_of(APP, "acme", {**FOUND, "in_force": {"v1": 90.0, "v3": 10.0}, "shadow": None})
    assert lines == ["rooms  in force: v1 90 %, v3 10 %  of v1, v2; v1 made 1,200"]
    lines = adapters.lines_of(APP, "acme", {**FOUND, "in_force": {"v2": 100.0}, "shadow": None})
    assert lines == ["rooms  in force: v2  of v1, v2; v1 made 1,200", "  do: syncd renormalize acme/rooms"]


def test_a_shadow_says_how_many_differ_in_which_fields():
    trial = {
        "adapter": "v2", "against": "v1", "compared": 1200, "differing": 7, "refused": 1, "since": "2026-11-22T10:00:00Z",
        "fields": {"name": 6, "(not read)": 1}, "examples": [{"id": "a", "refused": "no name"}],
    }  # fmt: skip
    assert adapters.lines_of(APP, "acme", {**FOUND, "shadow": "v2", "trial": trial})[1:] == [
        "  shadow v2, begun 2h ago: 7 of 1,200 readings differ from v1, 1 it could not read",
        "    name: 6 readings",
        "    (not read): 1 reading",
        "    a: refused: no name",
    ]
    assert adapters.lines_of(APP, "acme", {**FOUND, "shadow": "v2", "trial": None})[1:] == [
        "  shadow v2: nothing compared yet"
    ]


def test_a_shape_shows_what_is_new_and_how_to_accept_it():
    news = [
        {
            "path": "price",
            "what": "retyped",
            "expected": "number",
            "got": "text",
            "since": "2026-11-22T11:00:00Z",
            "count": 7,
        },
        {
            "path": "note",
            "what": "missing",
            "expected": "text",
            "got": "",
            "since": "2026-11-22T11:00:00Z",
            "count": 40,
        },
        {"path": "x", "what": "unknown", "expected": "", "got": "list", "since": "2026-11-22T11:00:00Z", "count": 1},
    ]
    one = {
        "name": "rooms",
        "policy": "warn",
        "fields": 3,
        "records": 1,
        "learned_at": "2026-11-21T12:00:00Z",
        "news": news,
    }
    assert shapes.lines_of(APP, "acme", one) == [
        "rooms  schema: warn  3 fields in 1 record looked at, learned 1d ago",
        "  field price: expected number, got text, in 7, for 1h",
        "  field note: missing, in 40, for 1h",
        "  field x: unknown (list), in 1, for 1h",
        "  do: syncd schema accept acme/rooms",
    ]
    known = [
        {"path": "id", "kinds": {"text": 3}, "present": 3, "of": 3},
        {"path": "n", "kinds": {}, "present": 0, "of": 3},
    ]
    assert shapes.lines_of(APP, "acme", {**one, "news": [], "learned_at": None, "known": known}) == [
        "rooms  schema: warn  3 fields in 1 record looked at, still learning",
        "    id: text 3; in 3 of 3",
        "    n: null; in 0 of 3",
    ]


def test_schema_still_prints_the_schemas_of_files():
    for words, title in ((["schema"], "partner"), (["schema", "syncd"], "syncd"), (["schema", "driver"], "driver")):
        found = CliRunner().invoke(cli, words)
        assert '"properties"' in found.output, title
    assert CliRunner().invoke(cli, ["schema", "partner"]).output == CliRunner().invoke(cli, ["schema"]).output
    assert "No such command" in CliRunner().invoke(cli, ["schema", "partners"]).output
