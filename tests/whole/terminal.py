"""A real pseudo-terminal with a command in it: what it shows, which keys it is given, and how it is left."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from types import TracebackType

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]")


class Terminal:
    """`async with Terminal([...], env) as terminal`. `shown` is what came since the last key, without colours."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str] | None = None, *, columns: int = 80, rows: int = 24
    ) -> None:
        self._words = words
        self._env = {**os.environ, **(env or {}), "TERM": "xterm-256color"}
        self._env.pop("NO_COLOR", None)
        self._size = columns, rows
        self.output = ""
        self._mark = 0
        self._came = asyncio.Event()
        self._there = True

    async def __aenter__(self) -> Terminal:
        self._master, self.slave = os.openpty()
        self.resize(*self._size, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [sys.executable, *self._words], stdin=self.slave, stdout=self.slave, stderr=self.slave, env=self._env,
            start_new_session=True,
        )  # fmt: skip
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)
        self.hang_up()

    def hang_up(self) -> None:
        """The terminal is closed: what runs in it can neither read nor write any more."""
        if self._there:
            self._there = False
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self.slave)

    def _read(self) -> None:
        try:
            self.output += os.read(self._master, 65536).decode("utf-8", "replace")
        except OSError:
            return
        self._came.set()

    @property
    def shown(self) -> str:
        return _CODES.sub("", self.output[self._mark :])

    @property
    def frames(self) -> list[str]:
        """The same by screen: each begins where the cursor was sent to the upper left corner."""
        return [_CODES.sub("", frame) for frame in self.output[self._mark :].split("\x1b[H")]

    def press(self, keys: str) -> None:
        self._mark = len(self.output)
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._mark = len(self.output)
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    async def until(self, *texts: str, seconds: float = 20.0) -> str:
        """Wait until all of this is shown. Raises AssertionError with what was shown instead."""
        try:
            async with asyncio.timeout(seconds):
                while not all(text in self.shown for text in texts):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"{texts} not shown, but:\n{self.shown[-4000:]}") from None
        return self.shown

    async def ended(self, seconds: float = 10.0) -> int:
        """Its exit code, once it has ended and everything it wrote was read."""
        code = await asyncio.wait_for(asyncio.to_thread(self.process.wait), seconds)
        await asyncio.sleep(0.05)
        return code

    @property
    def restored(self) -> bool:
        """Are line editing and echo as before, the cursor visible, and the screen the one from before?"""
        back = self.output.rfind("\x1b[?1049l") > self.output.rfind("\x1b[?1049h")
        visible = self.output.rfind("\x1b[?25h") >= self.output.rfind("\x1b[?25l")
        return back and visible and termios.tcgetattr(self.slave) == self.before
