"""Reaching the database: what is said where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.config import Config, main_file
from syncd.errors import ConfigError, StoreError
from syncd.opening import keep_alive, open_store
from syncd.secrets import Vault
from syncd.store.embedded import EmbeddedServer


async def test_without_a_database_the_file_that_was_read_is_the_one_to_name_it_in(tmp_path: Path):
    with pytest.raises(ConfigError, match="no database is configured") as caught:
        await open_store(Config(), Vault(None, {}), SystemClock(), said_in=main_file(tmp_path))
    assert f"set database.url in {tmp_path / 'syncd.yaml'} (" in caught.value.hint


def test_a_configuration_named_by_its_file_is_that_file(tmp_path: Path):
    (tmp_path / "other.yaml").write_text("{}")
    assert main_file(tmp_path / "other.yaml") == tmp_path / "other.yaml"


async def test_an_embedded_server_that_dies_is_started_again_and_what_stands_against_it_is_told_until_then():
    """The server itself has tests of its own: here it is when it is looked at, and what is told."""
    told, slept = list[str](), list[float]()

    class Counted(SystemClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 6:
                raise TimeoutError

    class Server(EmbeddedServer):
        living: int | None = None

        @property
        def owned(self) -> bool:
            return True

        @property
        def pid(self) -> int | None:
            return self.living

        def revive(self) -> bool:
            if len(slept) < 4:
                raise StoreError("no room", hint="df -h")
            self.living = 7
            return True

    with pytest.raises(TimeoutError):
        await keep_alive(Server(Path(), Path(), None), Counted(), told.append)
    assert slept == [1, 2, 4, 8, 16, 1, 1]
    assert told == ["no room", "no room", "no room", ""]
