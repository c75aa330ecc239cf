"""What a hangup means: in a process of its own, on a terminal of its own that is closed, for the kernel has the last word."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PROGRAM = """
import signal, sys
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
import anyio
from syncd import log
from syncd.signals import Signals

async def main():
    heard = anyio.Event()

    def tell(what):
        with open(sys.argv[1], "a") as file:
            print(what, file=file)
        heard.set()

    async def reload(who):
        tell("reload by " + who)

    async with anyio.create_task_group() as group:
        await group.start(Signals(lambda why: tell("stop: " + why), reload).run)
        try:
            print("up", flush=True)
        except OSError:
            pass  # closed as soon as it was read
        await heard.wait()
        group.cancel_scope.cancel()

log.configure("info", "json")
anyio.run(main)
"""


class Attached:
    """The program on a terminal that it controls, or (`attached` False) on one that is another's."""

    def __init__(self, told: Path, *more: str, attached: bool = True) -> None:
        self.told = told
        self.master, slave = os.openpty()

        def control() -> None:
            os.setsid()
            if attached:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(told), *more], stdin=slave, stdout=slave, stderr=slave,
            preexec_fn=control, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        os.close(slave)
        assert b"up" in os.read(self.master, 100)

    def close(self) -> None:
        os.close(self.master)

    def ended(self) -> str:
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
        return self.told.read_text()


def test_closing_its_terminal_stops_the_daemon(tmp_path: Path):
    one = Attached(tmp_path / "told")
    one.close()
    assert one.ended() == "stop: its terminal was closed\n"


def test_a_hangup_on_a_terminal_that_is_there_reloads(tmp_path: Path):
    one = Attached(tmp_path / "told")
    one.process.send_signal(signal.SIGHUP)
    assert one.ended() == "reload by SIGHUP\n"
    one.close()


@pytest.mark.parametrize(("more", "attached"), [(("nohup",), True), ((), False)], ids=["nohup", "no terminal"])
def test_who_is_to_outlive_its_terminal_reloads(tmp_path: Path, more: tuple[str, ...], attached: bool):
    one = Attached(tmp_path / "told", *more, attached=attached)
    one.close()
    one.process.send_signal(signal.SIGHUP)
    assert one.ended() == "reload by SIGHUP\n"
