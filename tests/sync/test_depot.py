"""A content-addressed directory."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from syncd.errors import PayloadError, StoreError
from syncd.sync.depot import Depot, place_of


def depot(tmp_path: Path, most: int = 1000) -> Depot:
    return Depot(tmp_path / "media", most)


def test_a_file_lies_where_its_content_says_and_the_same_content_once(tmp_path: Path):
    one = depot(tmp_path)
    for _ in range(2):
        with one.grow() as growing:
            growing.begin()
            growing.write(b"pic")
            growing.write(b"ture")
            digest = growing.keep()
    assert digest == sha256(b"picture").hexdigest()
    assert place_of(one.directory, digest).read_bytes() == b"picture"
    assert [path.name for path in one.directory.rglob("*") if path.is_file()] == [digest]


def test_a_second_try_begins_anew(tmp_path: Path):
    with depot(tmp_path).grow() as growing:
        growing.begin()
        growing.write(b"half of a longer one")
        growing.begin()
        growing.write(b"whole")
        assert growing.keep() == sha256(b"whole").hexdigest()
        assert growing.size == 5


def test_what_is_not_kept_leaves_nothing(tmp_path: Path):
    one = depot(tmp_path, most=4)
    with pytest.raises(PayloadError, match="larger than 4 bytes"), one.grow() as growing:
        growing.write(b"12345")
    assert list(one.directory.iterdir()) == []


def test_a_full_disk_is_an_error_of_the_store_that_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    one = depot(tmp_path)
    with one.grow() as growing:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"media directory .* takes nothing: No space left"):
            growing.write(b"x")


def test_a_directory_whose_parent_is_missing_is_told_of(tmp_path: Path):
    with pytest.raises(StoreError, match="No such file"):
        Depot(tmp_path / "not" / "there", 10).grow()


def test_old_files_are_found_and_what_never_became_one_is_removed(tmp_path: Path):
    one = depot(tmp_path)
    with one.grow() as growing:
        growing.write(b"old")
        old = growing.keep()
    with one.grow() as growing:
        growing.write(b"new")
        growing.keep()
    left = one.directory / "left.part"
    left.write_bytes(b"of a process that died")
    for path in (place_of(one.directory, old), left):
        os.utime(path, (1000, 1000))
    assert list(one.digests(2000)) == [old]
    assert not left.exists()
    one.drop(old)
    one.drop(old)
    assert not one.holds(old)
