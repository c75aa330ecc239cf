"""Telling who cancels: whoever runs a task, or code within it that raises what only the loop should raise."""

from __future__ import annotations

import asyncio


class SelfCancelledError(RuntimeError):
    """Code that is called within a task ended as if the task had been cancelled, and nobody had."""

    def __init__(self) -> None:
        super().__init__(
            "it raised CancelledError, though nobody cancelled it: a fault of the driver, or of what it uses"
        )


def by_itself() -> bool:
    """In `except CancelledError`: was nobody cancelling this task? Then it is a fault like any other, and must not end who
    runs it."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
