from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import markup
from syncd.errors import ConfigError, PayloadError
from syncd.markup import Markup, dumps, loads, without

RULES = Markup(frozenset({"Room"}), ("PaymentCard", "cc_*"))


def test_attributes_text_and_children_become_one_dictionary_without_namespaces() -> None:
    found = loads(b'<o:Stay xmlns:o="urn:o" Code="7"><o:Night>1</o:Night><o:Empty/>words</o:Stay>', RULES)
    assert found == {"Stay": {"@Code": "7", "Night": "1", "Empty": ""}}
    assert loads(b'<Stay Code="7"> words </Stay>', RULES) == {"Stay": {"@Code": "7", "$": "words"}}


def test_what_may_come_more_than_once_is_a_list_even_when_it_comes_once() -> None:
    assert loads(b"<Stay><Room>1</Room></Stay>", RULES) == {"Stay": {"Room": ["1"]}}
    assert loads(b"<Stay><Bed>1</Bed><Bed>2</Bed><Bed>3</Bed></Stay>", RULES) == {"Stay": {"Bed": ["1", "2", "3"]}}


@pytest.mark.parametrize("nothing", [b"", b" \n\t"])
def test_an_empty_answer_holds_nothing(nothing: bytes) -> None:
    assert loads(nothing, RULES) == {}


def test_json_where_xml_was_due_is_read_all_the_same() -> None:
    assert loads(b' {"errors": [1]}', RULES) == {"errors": [1]}


@pytest.mark.parametrize(
    "hostile",
    [
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><a>&y;</a>',
        b'<!DOCTYPE a SYSTEM "http://evil.example/a.dtd"><a/>',
        b"<a>&undefined;</a>",
        b"<a><b></a>",
        b"not xml",
        b"\xff\xfe\x00<",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a>" * 5000 + b"</a>" * 5000,
        b"<a>" + b"<b/>" * 2_000_001 + b"</a>",
    ],
)
def test_what_is_hostile_or_broken_is_a_payload_error(hostile: bytes) -> None:
    with pytest.raises(PayloadError):
        loads(hostile, RULES)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(document: bytes) -> None:
    with suppress(PayloadError):
        loads(without(document, RULES), RULES)


def test_without_the_extra_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml.ElementTree", None)
    with pytest.raises(ConfigError) as caught:
        loads(b"<a/>", RULES)
    assert caught.value.hint == markup.INSTALL


def test_what_nobody_may_keep_is_gone_from_the_values_and_from_the_bytes() -> None:
    document = (
        b'<a><b>1</b><PaymentCard CardNumber="4111"><Holder>Ilse</Holder></PaymentCard><cc_number>4111</cc_number>'
        b"<o:cc_cvc>123</o:cc_cvc><cc_empty/></a>"
    )
    assert without(document, RULES) == b"<a><b>1</b></a>"
    assert loads(document.replace(b"o:", b""), RULES) == {"a": {"b": "1"}}


@pytest.mark.parametrize(
    "odd", [b"a\x01b", b"a&#1;b", b"a&#x1f;b", b"a\xffb", b"a&#99999999;b", b"a&#xd800;b", b"a\x00b"]
)
def test_a_character_xml_has_no_way_to_write_costs_itself_and_not_the_document(odd: bytes) -> None:
    found = loads(b"<RS><Name>" + odd + b"</Name><Name>&#169; \xc3\xa9</Name></RS>", RULES)
    assert found == {"RS": {"Name": ["a\N{REPLACEMENT CHARACTER}b", "\xa9 \xe9"]}}


CARD = st.sampled_from(
    [b"<PaymentCard N='4111'/>", b"<x:paymentcard>4111</x:paymentcard>", b"<cc_no a='>'>4111</cc_no>", b"<cc_no>4111"]
)


@given(
    st.lists(st.one_of(CARD, st.sampled_from([b"<b/>", b"<c>text</c>", b"<PaymentCards/>"])), max_size=8),
    st.integers(0, 200),
)
def test_no_part_of_a_card_survives_wherever_the_document_is_cut(parts: list[bytes], cut: int) -> None:
    document = b"<a>" + b"".join(parts)
    assert b"4111" not in without(document[: len(document) - cut] if cut < len(document) else document, RULES)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_of_an_encoding_in_which_cards_could_not_be_seen_nothing_is_left_and_nothing_is_believed(encoding: str) -> None:
    kept = without("<a><PaymentCard>4111</PaymentCard></a>".encode(encoding), RULES)
    assert b"4" not in kept
    with pytest.raises(PayloadError):
        loads(kept, RULES)


def test_what_is_written_reads_back_as_it_was() -> None:
    document = {
        "RQ": {
            "@Version": "2.001",
            "Room": [{"@Code": 'a"<&', "Name": "x < y & z"}, {"$": "text", "@on": True}],
            "Empty": "",
        }
    }
    assert loads(dumps(document), RULES) == {
        "RQ": {
            "@Version": "2.001",
            "Room": [{"@Code": 'a"<&', "Name": "x < y & z"}, {"$": "text", "@on": "true"}],
            "Empty": "",
        }
    }
    assert dumps({"request": {"left_out": None}}).endswith(b"<request/>")


@pytest.mark.parametrize("odd", [{}, {"a": 1, "b": 2}, {"a": {"no name": 1}}, {"a": {"@no name": 1}}, {"a": "nul \0"}])
def test_what_xml_cannot_say_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        dumps(odd)
