"""Masking: every form a secret takes on its way into a text, and nothing else."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.redaction import KnownSecrets

NASTY = 's3cr"et\\with/all+of=it&ünïcode€ 100%'


@pytest.fixture
def known():
    found = KnownSecrets()
    found.add(NASTY)
    return found


@pytest.mark.parametrize(
    "form",
    [
        lambda v: v,
        lambda v: quote(v, safe=""),
        lambda v: quote(v),
        quote_plus,
        lambda v: "https://api.example.com/x?" + urlencode({"key": v}),
        json.dumps,
        lambda v: json.dumps(v, ensure_ascii=False),
        lambda v: json.dumps(json.dumps(v)),
        repr,
        lambda v: repr(v.encode()),
        lambda v: repr({"nested": [v]}),
        lambda v: base64.b64encode(v.encode()).decode(),
        lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
        lambda v: base64.b64encode(b"user:" + v.encode()).decode(),
        lambda v: base64.b64encode(v.encode() + b":").decode(),
        lambda v: base64.b64encode(b"a-longer-user:" + v.encode() + b":tail").decode(),
    ],
    ids=["raw", "percent", "path", "plus", "query", "json", "json utf-8", "json twice", "repr", "bytes", "nested",
         "base64", "base64url", "basic user", "basic alone", "basic inside"],
)  # fmt: skip
def test_a_secret_is_found_in_every_form(known, form):
    text = f"before {form(NASTY)} after"
    masked = known.mask(text)
    assert "****" in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    for piece in (NASTY[8:20], quote(NASTY)[10:25], base64.b64encode(NASTY.encode()).decode()[6:18]):
        assert piece not in masked


@given(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=6, max_size=60),
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.integers(0, 2),
)
def test_no_secret_survives_whatever_stands_round_it(value, before, after, form):
    known = KnownSecrets()
    known.add(value)
    written = [value, json.dumps(value)[1:-1], quote(value, safe="")][form]
    assert written not in known.mask(f"{before} {written} {after}").replace("****", "\0")


@given(
    st.binary(max_size=20), st.text("abcdefghijklmnop0123456789-_", min_size=12, max_size=60), st.binary(max_size=20)
)
def test_no_secret_survives_inside_base64(before, value, after):
    known = KnownSecrets()
    known.add(value)
    masked = known.mask("auth " + base64.b64encode(before + value.encode() + after).decode())
    for piece in masked.split():
        padded = piece + "=" * (-len(piece) % 4)
        try:
            assert value.encode() not in base64.b64decode(padded)
        except ValueError:
            continue


def test_the_longer_of_two_secrets_goes_whole():
    known = KnownSecrets()
    known.add("secret")
    known.add("secret-and-more")
    assert known.mask("a secret-and-more b secret c") == "a **** b **** c"


def test_short_values_are_left_alone():
    known = KnownSecrets()
    known.add("abcde")
    assert len(known) == 0
    assert known.mask("abcde") == "abcde"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer eyJhbGciOi.J9.x1", "Authorization: Bearer ****"),
        ("Basic dXNlcjpwYXNz0", "Basic ****"),
        ("postgresql://syncd:hunter2@db:5432/syncd", "postgresql://****@db:5432/syncd"),
        (
            "GET https://x.example/a?page=2&access_token=abc123&x=1",
            "GET https://x.example/a?page=2&access_token=****&x=1",
        ),
        ("basic authentication was refused", "basic authentication was refused"),
        ("https://x.example/a:b/c@d?token_kind=x", "https://x.example/a:b/c@d?token_kind=x"),
        ("http://127.0.0.1:8080/health", "http://127.0.0.1:8080/health"),
        (
            "https://f.example/a?X-Amz-Signature=ab12&x=1&Signature=ab",
            "https://f.example/a?X-Amz-Signature=****&x=1&Signature=****",
        ),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjg-_R8U is over", "jwt **** is over"),
        ("after=eyJpZCI6MTIzfQ==&x=1", "after=eyJpZCI6MTIzfQ==&x=1"),
        ("a -----BEGIN RSA " + "PRIVATE KEY-----\nMII\nabc=\n-----END RSA PRIVATE KEY----- b", "a **** b"),
        (
            "-----BEGIN RSA "
            + "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A-1\n\nMII-=\n-----END RSA PRIVATE KEY----- b",
            "**** b",
        ),
        ("-----BEGIN " + "PRIVATE KEY-----\nMII -----BEGIN " + "PRIVATE KEY-----\nMII", "********"),
        ('"-----BEGIN ' + "PRIVATE KEY-----\\nMIIE\\nabcd…", '"****…'),
        ("no such key: sk_" + "live_4eC39HqLyjWDarjt", "no such key: ****"),
        ("risk_test_something and task_live_something", "risk_test_something and task_live_something"),
    ],
)
def test_what_stands_where_a_credential_stands_is_masked_though_unknown(text, masked):
    assert KnownSecrets().mask(text) == masked


def test_a_private_key_is_found_line_by_line():
    known = KnownSecrets()
    known.add("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----")
    assert known.mask("line MIIEvQIBADANBgkqhkiG9w0B of it") == "line **** of it"


def test_run_time_values_are_bounded_and_pinned_ones_stay():
    known = KnownSecrets()
    known.pin("pinned-value")
    for number in range(3_000):
        known.add(f"token-number-{number:06}")
    assert len(known) <= 1_001
    assert known.mask("pinned-value token-number-002999") == "**** ****"


def test_the_registry_shows_a_count_and_nothing_else(known):
    assert repr(known) == "KnownSecrets(1)"
