from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client import inflate

CAP = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "": bytes}


def read(encoding: str, body: bytes, cuts: list[int], cap: int = CAP) -> bytes:
    decoder = inflate.decoder(encoding, cap)
    edges = sorted({0, len(body), *[cut % (len(body) + 1) for cut in cuts]})
    out = b"".join(decoder.feed(body[a:b]) for a, b in itertools.pairwise(edges))
    decoder.finish()
    return out


@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=3000), st.lists(st.integers(0, 4000), max_size=6))
def test_bodies_come_out_as_they_went_in_however_they_are_cut(encoding: str, data: bytes, cuts: list[int]) -> None:
    assert read(encoding, PACKERS[encoding](data), cuts) == data


@given(st.binary(max_size=3000), st.lists(st.integers(0, 4000), max_size=6))
def test_deflate_without_its_header_is_understood(data: bytes, cuts: list[int]) -> None:
    packed = raw_deflate(data)
    first, second = packed[0], packed[1]
    if first & 0x0F == 8 and (first * 256 + second) % 31 == 0:
        return  # looks like a header by chance: nobody can tell
    assert read("deflate", packed, cuts) == data


def test_members_in_a_row_are_one_body() -> None:
    assert read("gzip", gzip.compress(b"one ") + gzip.compress(b"two"), [7, 21, 30]) == b"one two"


def test_padding_after_the_end_is_ignored() -> None:
    assert read("gzip", gzip.compress(b"data") + b"\0" * 20, []) == b"data"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_stops_at_the_cap(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * (64 << 20))
    decoder = inflate.decoder(encoding, CAP)
    with pytest.raises(inflate.TooLargeError):
        decoder.feed(bomb)


def test_a_body_of_exactly_the_cap_passes() -> None:
    for size in (CAP, 3 * (1 << 20)):
        data = b"x" * size
        assert read("gzip", gzip.compress(data), [], cap=size) == data
        with pytest.raises(inflate.TooLargeError):
            read("gzip", gzip.compress(data + b"x"), [], cap=size)
        with pytest.raises(inflate.TooLargeError):
            read("", data + b"x", [], cap=size)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_cut_short_is_noticed(encoding: str) -> None:
    packed = PACKERS[encoding](bytes(range(256)) * 20)
    for end in range(1, len(packed) - 1, 7):
        with pytest.raises(inflate.UndecodableError):
            read(encoding, packed[:end], [])


def test_garbage_is_undecodable_and_other_encodings_unknown() -> None:
    with pytest.raises(inflate.UndecodableError):
        read("gzip", b"this is no gzip at all", [])
    for encoding in ("br", "zstd", "gzip, gzip"):
        with pytest.raises(inflate.UnknownEncodingError):
            inflate.decoder(encoding, CAP)
