"""The daemon's own seams, which one that runs shows too seldom: a start that is cut off, a reload that cannot be had."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from syncd.daemon import Daemon, Options
from syncd.errors import StoreError
from syncd.opening import OpenedStore


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    (tmp_path / "partners").mkdir()
    (tmp_path / "syncd.yaml").write_text(
        f"server: {{listen: '127.0.0.1:0', admin: '127.0.0.2:0'}}\nstate_directory: {tmp_path}\n"
    )
    return Daemon(Options(tmp_path, log_stream=io.StringIO()), environ={})


class Opened:
    """Stands for a store with a server of its own under it."""

    store = None
    url = "postgresql:///nowhere"
    server = None
    closed = 0

    async def aclose(self) -> None:
        await anyio.sleep(0)
        self.closed += 1


def said(daemon: Daemon) -> str:
    return cast(io.StringIO, daemon.options.log_stream).getvalue()


async def test_a_start_that_fails_half_way_leaves_no_embedded_server_running(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
):
    opened = Opened()

    async def reached(*_: Any) -> bool:
        daemon._opened = cast(OpenedStore, opened)
        return True

    async def fails(*_: Any) -> None:
        raise StoreError("the database went away again")

    monkeypatch.setattr(daemon, "_open_store", reached)
    monkeypatch.setattr(daemon, "_start_partners", fails)
    monkeypatch.setattr(daemon._intake, "use", lambda url: None)
    monkeypatch.setattr(daemon._receivers, "keep", lambda clock: anyio.sleep(0))
    with pytest.raises(ExceptionGroup):
        await daemon.run()
    assert opened.closed == 1
    assert "daemon_stopped" not in said(daemon)


async def test_a_reload_that_cannot_be_is_answered_and_is_in_the_log_too(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
):
    answers = list[Any]()

    async def meanwhile(*_: Any) -> bool:
        answers.append(await daemon.engine.reload(who="SIGHUP"))
        daemon.stopping.set()
        answers.append(await daemon.engine.reload(who="SIGHUP"))
        return False

    monkeypatch.setattr(daemon, "_open_store", meanwhile)
    assert await daemon.run() == 0
    assert [answer.ok for answer in answers] == [False, False]
    assert answers[0].problems[0].startswith("still starting")
    assert answers[1].problems[0].startswith("stopping")
    assert said(daemon).count('"reload_refused"') == 2
