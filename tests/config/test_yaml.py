"""YAML as syncd reads it: 1.2's scalars, places of everything, and bounds that hold against hostile files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import compose
from syncd.config.compose import MOST_DEPTH
from syncd.config.document import MOST_BYTES, read
from syncd.config.scalars import resolve

ROOT = Path(__file__).resolve().parents[2]


def document(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, "file.yaml")


def told(found):
    return [(problem.line, problem.column, problem.message) for problem in found.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ("NO", "no", "Yes", "on", "OFF", "y", "n")),  # Norway is a text
        *((text, text) for text in ("12:30:00", "1:20", "190:20:30")),  # no base 60
        *((text, text) for text in ("2026-11-21", "2026-11-21T10:00:00Z")),  # no timestamps
        *(
            (text, text)
            for text in ("1_000", "0b101", "0o8", "0xg", "1e", "e3", ".", "+", "-", "+.", "tRUE", "nULL", "~~", ".inF")
        ),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *((text, None) for text in ("null", "Null", "NULL", "~", "")),
        ("0o17", 15),
        ("017", 17),  # decimal: octal wants its o
        ("0x1F", 31),
        ("-12", -12),
        ("+12", 12),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("7/s", "7/s"),
        ("15m", "15m"),
        ("=", "="),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(tmp_path, text, value):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)
    if text not in ("", "-"):  # a lone dash would begin a list
        assert document(tmp_path, f"key: {text}\n").data == {"key": value}


def test_not_a_number_is_a_float():
    assert math.isnan(resolve(".nan"))


@pytest.mark.parametrize("form", ["'NO'", '"12"', "|\n  true\n", "!!str 12", "! 12"])
def test_what_is_quoted_or_tagged_as_text_is_text(tmp_path, form):
    assert isinstance(document(tmp_path, f"key: {form}\n").data["key"], str)


def test_the_core_schemas_tags_are_known_and_checked(tmp_path):
    text = "a: !!int '12'\nb: !!float 3\nc: !!bool 'true'\nd: !!null ''\ne: !!map {}\nf: !!seq []\n"
    assert document(tmp_path, text).data == {"a": 12, "b": 3.0, "c": True, "d": None, "e": {}, "f": []}
    assert told(document(tmp_path, "a: !!int twelve\n")) == [(1, 4, "'twelve' is not of type int")]
    assert told(document(tmp_path, "a: !!timestamp 2026-01-01\n"))[0][2].startswith("unknown tag")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!custom", "!!set", "!!binary"])
def test_no_tag_makes_an_object(tmp_path, tag):
    for value in ("x", "[x]", "{x: y}"):
        found = document(tmp_path, f"a: {tag} {value}\n")
        assert found.root is None
        assert found.problems[0].message.startswith("unknown tag")


def test_an_alias_stands_for_what_it_names(tmp_path):
    found = document(tmp_path, "a: &x {every: 5m}\nb: *x\nc: [*x, *x]\nd: &t 5m\ne: *t\n")
    assert found.data["b"] == found.data["a"] == {"every": "5m"}
    assert found.data["c"] == [{"every": "5m"}] * 2
    assert found.data["e"] == "5m"


def test_a_billion_laughs_are_refused_before_anyone_laughs(tmp_path):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    found = document(tmp_path, "\n".join(lines))
    assert found.root is None
    assert "once aliases are followed" in found.problems[0].message


def test_an_alias_cannot_contain_itself(tmp_path):
    for text in ("a: &x [*x]\n", "a: &x {b: {c: *x}}\n"):
        assert "contains itself" in document(tmp_path, text).problems[0].message


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "a: " + "{a: " * 5_000, "- " * 30_000, "\n".join(" " * n + "a:" for n in range(200))],
    ids=["flow lists", "flow mappings", "block lists", "block mappings"],
)
def test_depth_is_bounded_and_never_a_recursion_error(tmp_path, text):
    found = document(tmp_path, text)
    assert found.root is None
    assert found.problems[0].message == f"nested deeper than {MOST_DEPTH} levels"


def test_aliases_cannot_stack_up_depth(tmp_path):
    text = "a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 20 + "*a" + "]" * 20 + "\n"
    assert document(tmp_path, text).problems[0].message == f"nested deeper than {MOST_DEPTH} levels"


def test_a_file_has_a_size_bound(tmp_path):
    assert "larger than" in document(tmp_path, b"a: " + b"x" * MOST_BYTES).problems[0].message


def test_a_huge_number_is_a_text_or_a_number_but_no_crash(tmp_path):
    assert document(tmp_path, "a: " + "9" * 5_000 + "\n").problems == []


def test_duplicate_keys_are_each_told_and_the_rest_is_still_read(tmp_path):
    found = document(tmp_path, "a: 1\nb: {x: 1, x: 2}\na: 3\n")
    assert told(found) == [(2, 11, "duplicate key 'x'"), (3, 1, "duplicate key 'a'")]
    assert found.data == {"a": 1, "b": {"x": 1}}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    assert document(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "--- ~\n", "\n\n"])
def test_an_empty_file_is_nothing_and_no_mistake(tmp_path, text):
    found = document(tmp_path, text)
    assert (found.data, found.problems) == (None, [])


def test_a_place_is_the_value_or_the_key_and_the_nearest_thing_above_what_is_missing(tmp_path):
    found = document(tmp_path, "a:\n  b: [x, {c: y}]\n")
    assert found.mark(("a", "b", 1, "c")) == (2, 14)
    assert found.mark(("a", "b", 1, "c"), key=True) == (2, 11)
    assert found.mark(("a", "b", 1, "gone")) == (2, 10)
    assert found.mark(("a", "gone", "deep")) == (1, 1)


def test_columns_count_characters_and_not_bytes(tmp_path):
    found = document(tmp_path, "{ä: ö, ü: !x y}\n")
    assert told(found)[0][:2] == (1, 11)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_no_text_makes_reading_raise(text):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        found = document(Path(directory), text)
    assert found.root is None or found.data is not None
    for problem in found.problems:
        assert problem.text()
        assert problem.github()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text("abcNOyes01.:-~ ", max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abcn", min_size=1, max_size=4), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_whatever_pyyaml_writes_with_texts_quoted_is_read_back(value):
    import tempfile
    from pathlib import Path

    class Quoting(yaml.SafeDumper):
        pass

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    with tempfile.TemporaryDirectory() as directory:
        found = document(Path(directory), yaml.dump({"v": value}, Dumper=Quoting, allow_unicode=True))
    assert found.problems == []
    assert found.data == {"v": value}


def test_the_quick_reader_reads_every_file_of_ours_as_the_slow_one_does() -> None:
    def reading(text: str, parser: object) -> object:
        noted: list[object] = []
        try:
            return repr(compose._Composer(lambda *mistake: noted.append(mistake)).run(text, parser)), noted
        except (yaml.YAMLError, compose.RefusedError):
            return None

    folders = (ROOT / "src" / "syncd" / "drivers", ROOT / "config", ROOT / "tests" / "config" / "bad")
    files = [path for folder in folders for path in folder.rglob("*") if {".yaml", ".example"} & set(path.suffixes)]
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in files}
    assert len(texts) > 100
    assert compose._QUICK is not yaml.SafeLoader, "PyYAML is installed without libyaml"
    quick = {path: reading(text, compose._QUICK) for path, text in texts.items()}
    assert {
        path: found for path, found in quick.items() if found and found != reading(texts[path], yaml.SafeLoader)
    } == {}


SHIPPED = sorted((ROOT / "src" / "syncd" / "drivers").glob("*/driver.yaml"))


@st.composite
def changed(draw):
    """A piece of a real file with a few characters put in where they do not belong."""
    text = draw(st.sampled_from(SHIPPED)).read_text("utf-8")
    first = draw(st.integers(0, len(text) - 1))
    piece = list(text[first : first + draw(st.integers(1, 300))])
    for _ in range(draw(st.integers(0, 4))):
        piece.insert(draw(st.integers(0, len(piece))), draw(st.sampled_from("\t :#-[]{}'\"&*!|>%@?,\n~1aé\u2028😀")))
    return "".join(piece) + "\n"  # without, a collection ends on its last line for one, and after it for the other


@given(changed())
def test_what_the_slow_reader_reads_the_quick_one_reads_alike(text):
    """The quick one takes a little more (`|#`), which harms nobody."""

    def said(quick):
        mistakes = []
        with pytest.MonkeyPatch.context() as patch:
            if not quick:
                patch.setattr(compose, "_QUICK", yaml.SafeLoader)
            try:
                root = compose.compose(text, lambda *mistake: mistakes.append(mistake))
            except yaml.YAMLError:
                return None
            except compose.RefusedError as error:
                return mistakes, str(error)
        return mistakes, root

    slow = said(quick=False)
    assert slow is None or said(quick=True) == slow
