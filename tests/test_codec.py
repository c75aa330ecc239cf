"""The codec against what partners, proxies and attackers send."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import codec
from syncd.errors import PayloadError


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        ('"text"', "text"),
        (bytearray(b"[1]"), [1]),
        (memoryview(b"[1]"), [1]),
        (b"-0.0", -0.0),
        (b"1e-400", 0.0),
        (b"18446744073709551616", 18446744073709551616),
        (b"-123456789012345678901234567890", -123456789012345678901234567890),
        (b'{"id": 123456789012345678901}', {"id": 123456789012345678901}),
        (b"1" + b"0" * 400, 10**400),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\u0000"', "\x00"),
        (b'"\\ud800"', "\ud800"),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'"12345678901234567890"', "12345678901234567890"),
    ],
)
def test_loads_what_is_sound(document, value):
    found = codec.loads(document)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"NaN",
        b"Infinity",
        b"[-Infinity]",
        b"1e400",
        b"[1e400]",
        b"{",
        b"[1,]",
        b"\xff",
        b'"\xed\xa0\x80"',
        b"<html>",
        b"1" * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 50_000 + b"12345678901234567890123" + b"]" * 50_000,
        b'["\\ud800"' + b",[" * 100_000,
    ],
)
def test_refuses_what_is_not_json_without_crashing(document):
    with pytest.raises(PayloadError):
        codec.loads(document)


def test_a_long_number_keeps_its_value_wherever_it_stands():
    number = 98765432109876543210
    for padding in range(40):
        document = b'{"p":"' + b"x" * padding + b'","n":' + str(number).encode() + b"}"
        assert codec.loads(document)["n"] == number


@pytest.mark.parametrize(
    "number", [b"1e400", b"1E400", b"1e+400", b"-1e0400", b"9" * 299 + b"e99", b"9" * 400 + b".5", b"9" * 4001]
)
def test_a_number_out_of_range_is_refused_also_beside_a_long_one(number):
    with pytest.raises(PayloadError, match="number"):
        codec.loads(b"[" + number + b", 98765432109876543210]")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers()))
def test_numbers_beside_a_long_one_are_those_they_would_be_alone(numbers):
    document = codec.dumps(numbers)
    assert codec.loads(b"[98765432109876543210," + document + b"]") == [98765432109876543210, codec.loads(document)]


def test_deep_values_are_refused_when_written_and_never_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for write in (codec.dumps, codec.canonical, codec.dumps_storable, codec.content_hash, codec.storable):
        with pytest.raises(PayloadError):
            write(deep)


def test_a_page_survives_one_deep_record():
    page = codec.loads(b'[{"id": 1}, ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"]")
    assert codec.dumps(page[0]) == b'{"id":1}'
    with pytest.raises(PayloadError):
        codec.dumps(page[1])


def test_dumps_writes_long_numbers_and_lone_surrogates():
    assert codec.dumps({"n": 10**30}) == b'{"n":1000000000000000000000000000000}'
    assert json.loads(codec.dumps("\ud800")) == "\ud800"
    assert codec.dumps_text({"ü": 1}) == '{"ü":1}'


@pytest.mark.parametrize("value", [{1: 2, "a": object()}, {"a": {1, 2}}, float])
def test_dumps_refuses_what_json_cannot_say(value):
    with pytest.raises(PayloadError):
        codec.dumps(value)


def test_dates_are_written_even_on_the_slow_road():
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert (
        codec.dumps({"at": moment, "n": 10**30})
        == b'{"at":"2024-05-01T12:00:00+00:00","n":' + str(10**30).encode() + b"}"
    )


def test_storable_gives_back_the_same_object_when_nothing_is_wrong():
    value = {"a": ["b", {"c": 1.5}]}
    assert codec.storable(value) is value


def test_storable_replaces_what_jsonb_cannot_hold():
    value = {"a\x00": ["x\x00y", {"s": "\udfff!"}], "n": 10**30}
    assert codec.storable(value) == {"a\ufffd": ["x\ufffdy", {"s": "\ufffd!"}], "n": 10**30}
    assert json.loads(codec.dumps_storable(value)) == codec.storable(value)


def test_a_written_backslash_is_not_taken_for_a_nul():
    value = {"path": "\\u0000"}
    assert codec.storable(value) == value


def test_the_hash_does_not_see_the_order_of_keys():
    assert codec.content_hash({"a": 1, "b": {"c": 2, "d": 3}}) == codec.content_hash({"b": {"d": 3, "c": 2}, "a": 1})


def test_the_hash_sees_spelling_adapter_and_content():
    contents = ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": -0.0}, {"a": 0.0}, {"a": None}, {})
    hashes = [codec.content_hash(each) for each in contents]
    hashes.append(codec.content_hash({"a": 1}, "v2"))
    assert len(set(hashes)) == len(hashes)
    assert {len(each) for each in hashes} == {32}


def test_the_hash_of_known_content_never_changes():
    """Stored hashes outlive releases: another result would make every record look changed."""
    known = codec.content_hash({"b": [1, 2.5, "ü", None, True], "a": {}})
    assert known.hex() == "44aa579582fffd976c55a2cc8235129fa76dd4f905d0f18def254e22c6a994f2"
    known = codec.content_hash({"a": 1}, "v1")
    assert known.hex() == "0a2a8c01aea0dfcf511ee3bedabbdab3b1bc8440a3de07d6840a605aa9803b7f"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(st.characters()), children, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_was_written_reads_back(value):
    assert codec.loads(codec.dumps(value)) == value


@given(values)
def test_storable_documents_hold_no_nul_and_no_surrogate(value):
    text = codec.dumps_storable(value).decode("utf-8")
    assert codec.loads(text) == codec.storable(value)
    flat = json.dumps(codec.storable(value), ensure_ascii=False)
    flat.encode("utf-8")
    assert "\x00" not in json.loads(json.dumps(flat))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_payload_error(data):
    with contextlib.suppress(PayloadError):
        codec.loads(data)


@given(values, st.sampled_from(["", "v1"]))
def test_a_fingerprint_is_canonical_form_and_hash_in_one_go(value, adapter):
    assert codec.fingerprint(value, adapter) == (codec.canonical(value), codec.content_hash(value, adapter))


@pytest.mark.parametrize("write", [codec.dumps, codec.dumps_storable])
def test_a_document_keeps_no_more_memory_than_it_needs(write):
    record = {"name": "x" * 100, "nul": "a\u0000b"}
    tracemalloc.start()
    try:
        kept = [write(record) for _ in range(500)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(kept) < 2 * len(kept[0]) + 100
