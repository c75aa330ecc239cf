"""The terminal under `syncd top`: keys as words, one at a time; it is as it was when it is left, whatever happens."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Final

_NAMED: Final = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1b[F": "end", "\r": "enter", "\n": "enter", "\x7f": "back", "\x08": "back", "\x1b": "escape",
    "\x15": "clear",
}  # fmt: skip
ESCAPE_SECONDS = 0.05
"""What follows an escape so soon belongs to it."""
_MOST = 4096
"""Keys that may wait: what is pasted comes in one piece."""


class Keys:
    """`async with Keys() as keys`, then `await keys.next()`. Characters come as they are, others by name."""

    def __init__(self) -> None:
        self._file = sys.stdin.fileno()
        self._before: list[Any] = []
        self._queue: asyncio.Queue[str] = asyncio.Queue(_MOST)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Keys:
        self._before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        asyncio.get_running_loop().add_reader(self._file, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._file)
        with contextlib.suppress(termios.error):  # it is gone
            termios.tcsetattr(self._file, termios.TCSAFLUSH, self._before)

    async def next(self) -> str:
        """The next key; "gone" once the terminal is."""
        return await self._queue.get()

    def _read(self) -> None:
        try:
            data = os.read(self._file, 1024)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._file)
            self._put("gone")
            return
        self._held += self._decoder.decode(data)
        if self._timer is not None:
            self._timer.cancel()
        self._split(ended=False)
        if self._held:
            self._timer = asyncio.get_running_loop().call_later(ESCAPE_SECONDS, self._split)

    def _split(self, *, ended: bool = True) -> None:
        """Take whole keys off what came. `ended`: nothing more belongs to the last one."""
        while self._held:
            size = _length(self._held)
            if size == 0 and not ended:
                return
            word, self._held = self._held[: size or 1], self._held[size or 1 :]
            named = _NAMED.get(word, word)
            if named == word and not word.isprintable():
                continue  # a key nobody here knows
            self._put(named)

    def _put(self, key: str) -> None:
        if not self._queue.full():
            self._queue.put_nowait(key)


def _length(text: str) -> int:
    """How many characters the first key has; 0: it may go on."""
    if text[0] != "\x1b":
        return 1
    if len(text) == 1:
        return 0
    if text[1] not in "[O":
        return 1
    for at, character in enumerate(text[2:], start=2):
        if "@" <= character <= "~":
            return at + 1
    return 0
