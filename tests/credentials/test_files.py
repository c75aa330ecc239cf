"""The files of a rotation: whatever is cut short, the old secret or the new one is in its place, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.credentials.files import Files, Left, files_of, left_of, previous_of
from syncd.credentials.keyfile import KeyFile, Keys
from syncd.errors import OwnershipError
from syncd.secrets import Ref, SecretError, Vault
from syncd.store import KeyRing
from syncd.store.sealing import new_key_line


@pytest.fixture
def files(tmp_path: Path) -> Files:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text("old\n")
    return Files(path)


def test_a_rotation_leaves_one_whole_secret_at_every_step(files: Files) -> None:
    seen = [(files.left, files.path.read_text())]
    files.draft(b"new")
    seen.append((files.left, files.path.read_text()))
    files.replace()
    seen.append((files.left, files.path.read_text()))
    files.forget()
    seen.append((files.left, files.path.read_text()))
    assert seen == [
        (Left.NOTHING, "old\n"),
        (Left.DRAFT, "old\n"),
        (Left.REPLACED, "new\n"),
        (Left.NOTHING, "new\n"),
    ]
    assert [one.name for one in files.path.parent.iterdir()] == ["key"]
    assert files.path.stat().st_mode & 0o777 == 0o600


def test_one_that_died_between_two_steps_goes_on_or_back(files: Files) -> None:
    files.draft(b"new")
    files.previous.hardlink_to(files.path)  # linked, and not renamed
    assert files.left is Left.DRAFT
    files.replace()
    assert (files.left, files.path.read_text()) == (Left.REPLACED, "new\n")
    files.new.hardlink_to(files.previous)  # on the way back, and not renamed
    assert files.left is Left.REPLACED
    files.put_back()
    assert (files.left, files.path.read_text()) == (Left.BACK, "old\n")
    files.put_back()
    files.forget()
    assert (files.left, files.path.read_text()) == (Left.NOTHING, "old\n")


def test_a_second_rotation_beside_it_is_refused(files: Files) -> None:
    with files.alone(), pytest.raises(OwnershipError, match="under way"), Files(files.path).alone():
        pass


def test_the_secret_before_is_valid_beside_the_new_one_only_while_both_are_there(files: Files) -> None:
    ref, vault = Ref.model_validate({"file": "key"}), Vault(files.path.parent, {})
    assert previous_of(ref, vault) is None
    files.draft(b"new")
    assert (previous_of(ref, vault), left_of(ref, vault)) == (None, Left.DRAFT)
    files.replace()
    before = previous_of(ref, vault)
    assert before is not None
    assert vault.resolve(before).reveal() == "old"
    files.forget()
    assert previous_of(ref, vault) is None
    assert left_of(Ref.model_validate({"env": "NAME"}), vault) is Left.NOTHING


def test_the_secret_before_is_found_beside_the_file_that_a_symbolic_link_names(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o700)
    real, link = tmp_path / "kept" / "hook", tmp_path / "hook"
    real.touch(mode=0o600)
    real.write_text("old\n")
    link.symlink_to(real)
    ref, vault = Ref.model_validate({"file": "hook"}), Vault(tmp_path, {})
    files = files_of(ref, vault)
    files.draft(b"new")
    files.replace()
    before = previous_of(ref, vault)
    assert before is not None
    assert (vault.resolve(ref).reveal(), vault.resolve(before).reveal()) == ("new", "old")


@pytest.mark.parametrize("left", [Left.DRAFT, Left.REPLACED, Left.BACK])
def test_what_is_to_be_run_names_the_secret_as_a_shell_wants_it(left: Left) -> None:
    for webhook in (False, True):
        _, do = left.told("pay", "webhook 2", webhook=webhook)
        assert "syncd credential rotate pay 'webhook 2' --" in do


def test_a_key_that_is_to_seal_is_marked_until_it_does(tmp_path: Path) -> None:
    path = tmp_path / "syncd.key"
    path.touch(mode=0o600)
    path.write_text(new_key_line())
    kept = KeyFile(path)
    old = kept.read()
    kept.write(old.with_new())
    known = kept.read()
    assert known.ids[0] == old.ids[0]
    assert known.next == known.ids[1]
    assert KeyRing.parse(path.read_text()).current == old.ids[0], "it opens and does not seal"
    kept.write(known.promoted())
    over = kept.read()
    assert (over.ids, over.next) == ([known.next, old.ids[0]], "")
    assert KeyRing.parse(path.read_text()).current == known.next
    assert over.without(old.ids).ids == [known.next]
    assert not any(line.partition(":")[2] in repr(over) for line in over.lines)


def test_a_mark_of_a_key_that_is_not_there_or_seals_already_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "syncd.key"
    path.touch(mode=0o600)
    line = new_key_line()
    for mark in ("gone", line.partition(":")[0]):
        path.write_text(f"# next: {mark}\n{line}")
        assert KeyFile(path).read() == Keys((line.strip(),))
    path.chmod(0o640)
    with pytest.raises(SecretError, match="read by others"):
        KeyFile(path).read()
