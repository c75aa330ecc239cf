"""Durations, sizes, rates, addresses: what is read, what is refused, and that it is written back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.units import (
    Rate,
    format_duration,
    format_size,
    parse_address,
    parse_base_url,
    parse_duration,
    parse_origin,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2m", 120), ("15m", 900), ("1h30m", 5400), ("30s", 30), ("500ms", 0.5), ("7d", 604_800), ("1w", 604_800),
     ("1d12h", 129_600), ("1s500ms", 1.5), ("0s", 0), ("90m", 5400)],
)  # fmt: skip
def test_a_duration_names_its_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["60", "", " 2m", "2m ", "2 m", "2min", "1.5h", "-1m", "30s1m", "1m1m", "m", "1M", "٣m", "1h30", "2m\n", "2m$"],
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_duration_is_written_as_it_is_read(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "size"), [("1MiB", 1 << 20), ("512KiB", 1 << 19), ("2GB", 2 * 10**9), ("1kB", 1000), ("7B", 7)]
)
def test_a_size_names_its_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["1000", "1M", "1mb", "1 MiB", "-1B", "1.5MiB", "1KB"])
def test_anything_else_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.integers(0, 10**12 - 1) | st.integers(0, 10**6).map(lambda mebibytes: mebibytes << 20))
def test_a_size_is_written_as_it_is_read(size):
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "limit", "window"),
    [("7/s", 7, 1), ("80/min", 80, 60), ("80/m", 80, 60), ("300/120s", 300, 120), ("5000/h", 5000, 3600), ("5/d", 5, 86_400),
     ("10/10s", 10, 10), ("3/500ms", 3, 0.5), ("5/2min", 5, 120)],
)  # fmt: skip
def test_a_rate_is_calls_and_window(text, limit, window):
    assert parse_rate(text) == Rate(limit, window)
    assert parse_rate(str(parse_rate(text))) == Rate(limit, window)


@pytest.mark.parametrize("text", ["7", "7/", "/s", "7/second", "0/s", "7/0s", "7 / s", "7.5/s", "-7/s", "7/s/s"])
def test_anything_else_is_no_rate(text):
    with pytest.raises(ValueError, match=r"is not a rate|lets nothing through"):
        parse_rate(text)


def test_an_address_knows_its_parts():
    v4, v6, unix = parse_address("0.0.0.0:8080"), parse_address("[::1]:0"), parse_address("unix:/run/syncd/admin.sock")
    assert (v4.host, v4.port, v4.path, v4.private) == ("0.0.0.0", 8080, None, False)
    assert (v6.host, v6.port, v6.path, v6.private) == ("::1", 0, None, True)
    assert (unix.host, unix.port, unix.path, unix.private) == ("", 0, "/run/syncd/admin.sock", True)
    assert v4 == "0.0.0.0:8080"


@pytest.mark.parametrize(
    "text", ["localhost", ":8080", "::1:8080", "h:99999", "h:", "h:http", "unix:relative.sock", ""]
)
def test_anything_else_is_no_address(text):
    with pytest.raises(ValueError, match=r"address|brackets|absolute"):
        parse_address(text)


def test_a_base_url_loses_its_last_slash_only():
    assert parse_base_url("https://api.example.com/v1/") == "https://api.example.com/v1"
    assert parse_base_url("http://127.0.0.1:9100") == "http://127.0.0.1:9100"


@pytest.mark.parametrize(
    "text",
    ["api.example.com", "ftp://x", "https://", "https://u:p@x", "https://u@x", "https://x?a=1", "https://x#f", "https://x:0", "https://x:y",
     "https://x/a b", "https://[::1"],
)  # fmt: skip
def test_a_url_that_could_mislead_is_refused(text):
    with pytest.raises(ValueError, match=r"URL|query"):
        parse_base_url(text)


def test_an_origin_has_no_path():
    assert parse_origin("https://media.example.com/") == "https://media.example.com"
    with pytest.raises(ValueError, match="path"):
        parse_origin("https://media.example.com/x")


def test_a_silence_is_a_duration_or_off():
    from syncd.config.units import format_silence, parse_silence

    assert parse_silence("2h") == 7200.0
    assert parse_silence("off") == float("inf")
    assert (format_silence(7200.0), format_silence(float("inf"))) == ("2h", "off")
    for wrong in ("never", "Off", "60", ""):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_silence(wrong)
