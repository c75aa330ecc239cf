"""`syncd top` in a real terminal, before a real daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import KEY
from tests.whole.terminal import Terminal


async def test_top_shows_everything_obeys_keys_and_leaves_the_terminal_as_it_was(
    plain: Any, tmp_path: Path, database: str, rows: Rows
):
    sim, control = plain(things=50)
    integrations = {
        "acme": {"credentials": {"api_key": KEY}, "resources": only("things", every="1h", jitter="0s")},
        "wrong": {"credentials": {"api_key": "no such key"}, "resources": only("things", every="1h", jitter="0s")},
    }
    async with Daemon(tmp_path, database, {"plain": partner(sim.base_url, integrations=integrations)}) as daemon:
        words = ["-m", "syncd", "top", "--config", str(daemon.config)]

        exported = {"COLUMNS": "80", "LINES": "24"}
        async with Terminal([*words, "--control"], {**daemon.env, **exported}) as terminal:
            shown = await terminal.until("AUTH REQUIRED", "✓ healthy", "wrong: GET", "syncd credential test wrong")
            assert shown.index("wrong  ") < shown.rindex("acme  "), "the worst first"

            terminal.press("r")
            await terminal.until("syncd runbook auth-failed", "escape back")
            terminal.press("\x1b")
            terminal.press("j\r")
            await terminal.until("things: 50 records")
            terminal.press("\x1b")
            terminal.press("d")
            await terminal.until("no dead letters")
            terminal.press("\x1b?")
            await terminal.until("read all of it now")
            terminal.press("\x1b")
            terminal.press("/zzz\r")
            await terminal.until("nothing fits the filter")
            terminal.press("\x1b")
            await terminal.until("acme", "wrong")

            pasted = "the bridge is closed, " * 6 + "see the ticket"
            terminal.press(f"\x1b[Bp{pasted}\r")
            await terminal.until("acme paused for 2h")
            paused = await rows.connection.fetchrow("SELECT * FROM syncd.controls WHERE kind = 'pause'")
            assert paused is not None and paused["why"] == pasted
            await terminal.until("‖ paused")
            terminal.press("p")
            await terminal.until("resume acme? y/n")
            terminal.press("y\r")
            await terminal.until("acme resumed")
            await terminal.until("› acme")
            terminal.resize(48, 12)
            await terminal.until("INTEGRATION")
            await asyncio.sleep(2.5)  # a frame that was half written when the size changed, and a whole one
            lines = [line for frame in terminal.frames[1:] for line in frame.splitlines()]
            assert any("INTEGRATION" in line for line in lines)
            assert [line for line in lines if len(line) > 48] == []
            terminal.resize(120, 30)
            await terminal.until("P99")

            await daemon.kill()
            await terminal.until("NO ANSWER", "asking again: no daemon answers")
            terminal.press("q")
            assert await terminal.ended() == 0 and terminal.restored

        async with Terminal(words, daemon.env) as terminal:
            await terminal.until("no daemon")
            await daemon.start()
            await terminal.until("AUTH REQUIRED")
            terminal.press("s")
            await terminal.until("nothing can be changed here: syncd top --control")
            terminal.process.send_signal(signal.SIGTERM)
            assert await terminal.ended() == 130 and terminal.restored

        code, _, err = await daemon.cli("top")
        assert code == 2 and "syncd status --watch" in err
    assert os.environ.get("TERM") != "nothing" and control is not None


BROKEN = """
import sys
from syncd.cli import top_live
real, count = top_live.screen, []
def screen(*given):
    count.append(1)
    if len(count) > 1:
        raise ZeroDivisionError("a fault of ours")
    return real(*given)
top_live.screen = screen
sys.argv = ["syncd", "top"]
from syncd.cli.root import cli
cli()
"""


async def test_a_fault_of_ours_leaves_the_terminal_as_it_was_too(tmp_path: Path):
    async with Terminal(["-c", BROKEN], {"SYNCD_ADMIN": "127.0.0.1:1", "SYNCD_CONFIG": str(tmp_path)}) as terminal:
        await terminal.until("ZeroDivisionError: a fault of ours", "please report it")
        assert await terminal.ended() == 1 and terminal.restored


PATIENT = """
import sys
from syncd.cli import top_live
top_live.ASK_SECONDS = 60.0
sys.argv = ["syncd", "top", "--control"]
from syncd.cli.root import cli
cli()
"""


async def test_quitting_waits_for_no_daemon_that_is_silent_and_a_closed_terminal_is_no_fault(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"SYNCD_ADMIN": f"127.0.0.1:{silent.getsockname()[1]}", "SYNCD_CONFIG": str(tmp_path)}
        for way in ("q", "ctrl-c", "closed"):
            async with Terminal(["-c", PATIENT], env) as terminal:
                await terminal.until("no daemon: asking")
                if way == "closed":
                    terminal.hang_up()
                    assert await terminal.ended() == 130
                    continue
                if way == "q":
                    terminal.press("q")
                else:
                    terminal.process.send_signal(signal.SIGINT)
                assert await terminal.ended() == 0 and terminal.restored
