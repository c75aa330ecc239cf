"""What signals mean: TERM and INT drain, a second one ends at once, HUP reads the configuration anew.

A hangup has a second meaning, older than the first: the terminal is gone. Whoever closes the window of a daemon in the
foreground wants it to end, as all else that ran there does, and not to run on unseen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

say = structlog.get_logger()

INTERRUPTED = 130
"""The exit code after a second signal."""
TERMINAL = "/dev/tty"
"""The terminal that this process belongs to, whichever it is; cannot be opened where there is none, or none any more."""


class Signals:
    """`run()` hears them for as long as the daemon lives."""

    def __init__(self, stop: Callable[[str], None], reload: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        """`stop` is told why, once; `reload` who asked."""
        self._stop = stop
        self._reload = reload
        self._stopped = False
        # nohup(1) has hangups ignored before we begin: such a process is to outlive its terminal.
        self._attached = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Until cancelled. While a reload goes on, the others are still heard."""
        async with anyio.create_task_group() as reloads:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
                task_status.started()
                async for number in received:
                    self._received(signal.Signals(number), reloads)

    def _received(self, number: signal.Signals, reloads: TaskGroup) -> None:
        gone = number == signal.SIGHUP and self._attached and not _has_terminal()
        if number == signal.SIGHUP and not gone:
            reloads.start_soon(self._reload, "SIGHUP", name="reload")
        elif not self._stopped:
            self._stopped = True
            why = "its terminal was closed" if gone else number.name
            say.info("daemon_stopping", signal=number.name, reason=why)
            self._stop(why)
        elif not gone:  # the shell and the system may both tell of one terminal: that is no second wish
            say.warning("daemon_hurried", signal=number.name)
            os._exit(INTERRUPTED)


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
