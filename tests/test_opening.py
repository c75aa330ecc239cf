"""Reaching the database: what is said where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.config import Config, main_file
from syncd.errors import ConfigError
from syncd.opening import open_store
from syncd.secrets import Vault


async def test_without_a_database_the_file_that_was_read_is_the_one_to_name_it_in(tmp_path: Path):
    with pytest.raises(ConfigError, match="no database is configured") as caught:
        await open_store(Config(), Vault(None, {}), SystemClock(), said_in=main_file(tmp_path))
    assert f"set database.url in {tmp_path / 'syncd.yaml'} (" in caught.value.hint


def test_a_configuration_named_by_its_file_is_that_file(tmp_path: Path):
    (tmp_path / "other.yaml").write_text("{}")
    assert main_file(tmp_path / "other.yaml") == tmp_path / "other.yaml"
