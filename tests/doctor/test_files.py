"""Secrets as they lie on the disk, and what a commit could take along."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from syncd.doctor import acknowledging, files, service
from syncd.errors import ConfigError
from syncd.secrets import Ref, Vault
from syncd.surroundings import user_of
from tests.doctor.made import NOW

TOKEN = "a-token-that-nobody-should-see-4711"


def ref(**given: str) -> Ref:
    return Ref.model_validate(given)


def looked(folder: Path, reference: Ref, **env: str) -> files.SecretFact:
    [found] = files.secrets([("acme.token", "acme", reference)], Vault(folder, env), b"key")
    return found


def test_a_file_is_told_by_mode_and_owner_and_never_by_its_value(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    found = looked(tmp_path, ref(file="token"))
    assert (found.kind, found.mode, found.error, found.leaks) == ("file", 0o600, "", False)
    assert found.owner == user_of((tmp_path / "token").stat().st_uid)
    assert TOKEN not in repr(found)


def test_one_that_others_may_read_says_so_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    found = looked(tmp_path, ref(file="token"))
    assert "0644" in found.error
    assert found.hint.startswith("chmod 600")


def test_equal_secrets_have_one_mark_and_others_another(tmp_path: Path) -> None:
    env = {"A": TOKEN, "B": TOKEN, "C": TOKEN + "!"}
    a, b, c = (looked(tmp_path, ref(env=name), **env).mark for name in "ABC")
    assert a == b != c


def test_a_missing_variable_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    assert "NOPE is not set" in looked(tmp_path, ref(env="NOPE")).error


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "config").mkdir()
    return tmp_path


def loose(tree: Path) -> dict[str, files.EnvFile]:
    found = files.loose_files(str(tree), tree / "config", [])
    return {one.path.rpartition("/")[2]: one for one in found}


def test_an_env_file_in_a_work_tree_is_told_whether_a_commit_would_take_it(tree: Path) -> None:
    (tree / ".env").write_text("export CRM_TOKEN=x\n# A comment\nOTHER = y\n")
    (tree / ".env.example").write_text("CRM_TOKEN=\n")
    (tree / "config" / "seal.key").write_text("x")
    found = loose(tree)
    assert set(found) == {".env", "seal.key"}
    assert (found[".env"].ignored, found[".env"].tracked) == (False, False)
    assert found[".env"].names == {"CRM_TOKEN", "OTHER"}
    (tree / ".gitignore").write_text(".env*\n*.key\n")
    assert all(one.ignored for one in loose(tree).values())
    subprocess.run(["git", "-C", str(tree), "add", "-f", ".env"], check=True)
    assert loose(tree)[".env"].tracked


def test_a_hook_against_secrets_is_found(tree: Path) -> None:
    assert files.hook(str(tree)) == ("", False)
    (tree / ".pre-commit-config.yaml").write_text("repos: [{repo: gitleaks}]\n")
    assert files.hook(str(tree)) == ("gitleaks in .pre-commit-config.yaml", False)
    (tree / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\nexec pre-commit\n")
    assert files.hook(str(tree)) == ("gitleaks in .pre-commit-config.yaml", True)


def test_one_deep_in_the_work_tree_is_found_and_committed_or_not_is_told(tree: Path) -> None:
    (tree / "deploy" / "eu").mkdir(parents=True)
    (tree / "deploy" / "eu" / ".env").write_text("A=1\n")
    (tree / "deploy" / "tls.key").write_text("x")
    (tree / ".gitignore").write_text("*.key\n")
    assert {name: one.tracked for name, one in loose(tree).items()} == {".env": False}
    subprocess.run(["git", "-C", str(tree), "add", "-f", "deploy"], check=True)
    assert {name: one.tracked for name, one in loose(tree).items()} == {".env": True, "tls.key": True}


def test_a_work_tree_that_git_says_nothing_of_is_still_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "config" / ".env").write_text("A=1\n")
    monkeypatch.setenv("PATH", str(tree / "empty"))
    assert files.work_tree(tree / "config") == str(tree)
    assert files.git_silent(str(tree)) == "git is not installed here"
    assert loose(tree)[".env"].unseen == "git is not installed here"


def test_another_users_work_tree_is_told_as_that(tree: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    for place in (tree, tree / ".git"):
        os.chown(place, 65534, 65534)
    assert "another user's" in files.git_silent(str(tree))


def test_outside_of_a_work_tree_there_is_none(tmp_path: Path) -> None:
    assert files.work_tree(tmp_path) == ""


def test_the_machine_is_told_as_it_is(tmp_path: Path) -> None:
    found = service.machine(tmp_path / "not" / "there", embedded=False, key_kept="x")
    assert found.descriptors > 0
    assert found.state_free_bytes
    assert found.user


def test_what_is_acknowledged_stands_beside_the_configuration_with_who_when_and_why(tmp_path: Path) -> None:
    (tmp_path / "syncd.yaml").write_text("{}")
    acknowledging.add(tmp_path, ["attio-1.1"], who="ops@host", reason="looked", now=NOW)
    acknowledging.add(tmp_path, ["attio-6.2"], who="dana@host", reason="it fires: tried", now=NOW)
    found = acknowledging.read(tmp_path / "syncd.yaml")
    assert {name: (one.who, one.at, one.reason) for name, one in found.items()} == {
        "attio-1.1": ("ops@host", "2026-11-22", "looked"),
        "attio-6.2": ("dana@host", "2026-11-22", "it fires: tried"),
    }
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("text", ["- a list\n", "attio-1.1: yes\n", "attio-1.1: {who: x}\n", "{"])
def test_a_file_of_acknowledgements_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    acknowledging.place(tmp_path).write_text(text)
    with pytest.raises(ConfigError):
        acknowledging.read(tmp_path)


def test_a_pattern_names_lines_in_their_order() -> None:
    known = {"attio-6.10", "attio-6.2", "attio-7.1"}
    assert acknowledging.matching("attio-6.*", known) == ["attio-6.2", "attio-6.10"]
