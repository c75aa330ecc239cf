"""The life of `syncd top`'s screen: asks the daemon, obeys keys, draws."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from syncd.cli.app import App
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, lasting, plural, say
from syncd.cli.top_screen import screen
from syncd.cli.top_seen import Seen
from syncd.cli.top_terminal import Keys

EVERY_SECONDS = 2.0
MESSAGE_SECONDS = 6.0
PAUSE_SECONDS = 2 * 3600.0
ASK_SECONDS = 4.0
LAST_SECONDS = 2.0
"""Longest that quitting waits for the answer to what was asked for."""
T = TypeVar("T")
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, "home": -100_000, "end": 100_000}


class Top:
    """One screen. Whoever changes what is seen sets `_dirty`."""

    def __init__(self, app: App, seen: Seen) -> None:
        self._app = app
        self._seen = seen
        self._link = app.link()
        self._dirty = asyncio.Event()
        self._asked: Callable[[str], None] | None = None
        """What is done with the line that is being typed."""
        self._under_way: set[asyncio.Task[None]] = set()
        """Wishes that have no answer yet, each named by what is wished for."""
        self._said_until = 0.0
        self._ended: asyncio.Future[Exit] | None = None

    async def run(self) -> Exit:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            code = Exit.OK if number == signal.SIGINT else Exit.INTERRUPTED
            loop.add_signal_handler(number, self._end, code)
        loop.add_signal_handler(signal.SIGWINCH, self._dirty.set)
        try:
            await self._live()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # The terminal is gone; nothing must be flushed into it at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.INTERRUPTED
        for wish in self._under_way:
            say(f"no answer yet to: {wish.get_name()}; syncd status shows whether it was done")
            wish.cancel()
        return self._ended.result() if self._ended.done() else Exit.OK

    async def _live(self) -> None:
        """The screen, until somebody ends it."""
        assert self._ended is not None
        console = Console(highlight=False)
        async with Keys() as keys:
            with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
                tasks = [asyncio.create_task(work) for work in (self._ask(), self._obey(keys), self._draw(live))]
                try:
                    waited: list[asyncio.Future[Any]] = [self._ended, *tasks]
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    found = await asyncio.gather(*tasks, return_exceptions=True)
        if faults := [one for one in found if isinstance(one, Exception)]:
            raise faults[0]
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=LAST_SECONDS)

    def _end(self, code: Exit) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(code)

    # -- seeing ------------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """A daemon that is away is asked again and again: it may be starting."""
        clock, seen = self._app.clock, self._seen
        while True:
            try:
                seen.found = await _aside(lambda: self._link.get("status", seconds=ASK_SECONDS))
                seen.at, seen.away = clock.now(), ""
            except Failure as failure:
                seen.away = f"{failure.what}: {failure.why}"
                seen.at = seen.at or clock.now()
            self._dirty.set()
            await clock.sleep(EVERY_SECONDS)

    async def _draw(self, live: Live) -> None:
        clock, seen = self._app.clock, self._seen
        while True:
            if seen.message and clock.monotonic() > self._said_until:
                seen.message = ""
            # The terminal's own word: what COLUMNS and LINES say was true when a shell exported them.
            live.console.size = width, height = os.get_terminal_size(live.console.file.fileno())
            lines = screen(seen, clock.now(), width, height)
            live.update(Text("\n").join(lines), refresh=True)
            self._dirty.clear()
            with contextlib.suppress(TimeoutError):
                async with clock.timeout(1.0):
                    await self._dirty.wait()

    def _say(self, text: str) -> None:
        self._seen.message, self._said_until = text, self._app.clock.monotonic() + MESSAGE_SECONDS
        self._dirty.set()

    # -- keys --------------------------------------------------------------------------------------------------------

    async def _obey(self, keys: Keys) -> None:
        while True:
            key = await keys.next()
            if key == "gone":
                self._end(Exit.OK)
            elif self._seen.typing:
                self._type(key)
            else:
                self._press(key)
            self._dirty.set()

    def _press(self, key: str) -> None:
        seen = self._seen
        if key == "q":
            self._end(Exit.OK)
        elif key in _STEPS and seen.view == "all":
            seen.move(_STEPS[key])
        elif key in _STEPS:
            seen.first += _STEPS[key]
        elif key == "escape":
            if seen.view == "all":
                seen.filter = ""
            seen.view, seen.first = "all", 0
        elif key == "enter" and seen.chosen() is not None:
            seen.view, seen.first = "details", 0
        elif key == "?":
            seen.view, seen.first = "help", 0
        elif key == "d":
            seen.view, seen.first = "letters", 0
        elif key == "r":
            self._runbook()
        elif key == "/":
            self._line("show only:", self._filter, seen.filter)
            seen.view = "all"
        elif key in ("p", "s"):
            self._control(key)

    def _runbook(self) -> None:
        seen, chosen = self._seen, self._seen.chosen()
        why: dict[str, Any] = (chosen or {}).get("explanation") or {}
        if not why.get("code"):
            conditions = (seen.found or {}).get("conditions") or []
            name = (chosen or {}).get("name")
            why = next((one for one in conditions if one.get("integration") in (name, "")), {})
        if not why.get("code"):
            self._say("nothing is wrong with it: there is no runbook to show")
            return
        from syncd.runbooks import pages

        text = pages().get(why["code"], "there is no runbook of this name")
        seen.view, seen.first = "runbook", 0
        seen.page = [f"syncd runbook {why['code']}", "", *text.replace("**", "").splitlines()]

    def _control(self, key: str) -> None:
        chosen = self._seen.chosen()
        if not self._seen.control:
            self._say("nothing can be changed here: syncd top --control")
        elif chosen is None:
            return
        elif key == "s":
            name = str(chosen["name"])
            self._line(f"read all of {name} now? y/n", lambda text: self._sync(name, text))
        elif chosen.get("paused"):
            name = str(chosen["name"])
            self._line(f"resume {name}? y/n", lambda text: self._resume(name, text))
        else:
            name = str(chosen["name"])
            self._line(
                f"pause {name} for {lasting(PAUSE_SECONDS)}, because (escape: no):",
                lambda text: self._pause(name, text),
            )

    # -- lines typed ---------------------------------------------------------------------------------------------------

    def _line(self, question: str, then: Callable[[str], None], text: str = "") -> None:
        self._seen.typing, self._seen.typed, self._asked = question, text, then

    def _type(self, key: str) -> None:
        seen = self._seen
        if key == "enter":
            then, text = self._asked, seen.typed.strip()
            seen.typing, seen.typed, self._asked = "", "", None
            if then is not None:
                then(text)
        elif key == "escape":
            seen.typing, seen.typed, self._asked = "", "", None
        elif key == "back":
            seen.typed = seen.typed[:-1]
        elif key == "clear":
            seen.typed = ""
        elif len(key) == 1 and len(seen.typed) < 200:
            seen.typed += key

    def _filter(self, text: str) -> None:
        self._seen.filter, self._seen.name, self._seen.row, self._seen.first = text, "", 0, 0

    def _sync(self, name: str, text: str) -> None:
        if text.lower() in ("y", "yes"):
            self._wish(
                "sync",
                {"integration": name},
                lambda found: f"{name}: {plural(len(found.get('wish_ids', [])), 'run')} wished for",
            )

    def _resume(self, name: str, text: str) -> None:
        if text.lower() in ("y", "yes"):
            self._wish("resume", {"integration": name}, lambda _: f"{name} resumed")

    def _pause(self, name: str, text: str) -> None:
        if not text:
            self._say("not paused: whoever looks next has to know why")
            return
        until = self._app.clock.now() + timedelta(seconds=PAUSE_SECONDS)
        said = {"integration": name, "reason": text, "until": until.isoformat()}
        self._wish("pause", said, lambda _: f"{name} paused for {lasting(PAUSE_SECONDS)}")

    def _wish(self, path: str, said: dict[str, Any], told: Callable[[dict[str, Any]], str]) -> None:
        """Ask the daemon; the screen goes on meanwhile."""

        async def work() -> None:
            try:
                self._say(told(await _aside(lambda: self._link.post(path, said))))
                self._seen.found = await _aside(lambda: self._link.get("status", seconds=ASK_SECONDS))
            except Failure as failure:
                self._say(f"{failure.what}: {failure.why}")

        task = asyncio.create_task(work(), name=f"{path} {said['integration']}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


async def _aside(work: Callable[[], T]) -> T:
    """In a thread that nobody waits for at the end, as is done for those of `asyncio.to_thread`: a daemon may be silent."""
    loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def settle(found: Any, error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def run() -> None:
        try:
            found: tuple[Any, Exception | None] = work(), None
        except Exception as error:
            found = None, error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(settle, *found)

    threading.Thread(target=run, name="ask", daemon=True).start()
    result: T = await answer
    return result
