"""What the daemon's process has around it: each secret as the files name it now, by the daemon's own variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from syncd.errors import ConfigError
from syncd.surroundings import Surroundings

URL = "postgresql://keeper:a-password-4711@db.example/syncd"  # not-a-secret


def configured(folder: Path) -> Path:
    (folder / "partners").mkdir()
    main = {"database": {"url": {"env": "DB_URL"}}, "secrets": {"key": {"file": str(folder / "seal")}}}
    (folder / "syncd.yaml").write_text(yaml.safe_dump(main))
    one = {"driver": "attio", "integrations": {"crm": {"credentials": {"token": {"file": str(folder / "token")}}}}}
    (folder / "partners" / "attio.yaml").write_text(yaml.safe_dump(one))
    (folder / "token").write_text("a-token-that-nobody-sees")
    (folder / "token").chmod(0o600)
    return folder


async def test_each_secret_is_told_as_the_daemon_finds_it_and_none_is_shown(tmp_path: Path) -> None:
    around = Surroundings(configured(tmp_path), {"DB_URL": URL}, embedded=False)
    told = await around.view()
    found = {one["place"]: one for one in told["secrets"]}
    assert {place: one["ok"] for place, one in found.items()} == {
        "database.url": True, "secrets.key": False, "crm.token": True,
    }  # fmt: skip
    assert "does not exist" in found["secrets.key"]["error"] and found["secrets.key"]["hint"]
    assert "4711" not in str(told) and "nobody-sees" not in str(told)
    assert (told["pid"], told["uid"]) == (os.getpid(), os.geteuid())
    assert told["descriptors"] > 0
    (tmp_path / "token").chmod(0o644)  # the files as they are now, not as they were when it began
    again = {one["place"]: one for one in (await around.view())["secrets"]}
    assert "0644" in again["crm.token"]["error"]


async def test_a_variable_of_somebody_elses_shell_is_not_the_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_URL", URL)
    told = await Surroundings(configured(tmp_path), {}, embedded=False).view()
    assert told["secrets"][0]["error"] == "environment variable DB_URL is not set"
    own = await Surroundings(tmp_path, {}, embedded=True).view()
    assert "database.url" not in [one["place"] for one in own["secrets"]]


async def test_files_that_cannot_be_read_are_a_refusal(tmp_path: Path) -> None:
    (configured(tmp_path) / "syncd.yaml").write_text("server: {listn: x}\n")
    with pytest.raises(ConfigError) as raised:
        await Surroundings(tmp_path, {}, embedded=False).view()
    assert raised.value.hint == "syncd check"
