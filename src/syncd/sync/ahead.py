"""Fetching ahead of storing: a bounded number of calls in flight, their answers taken in the order they were asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Owns the tasks it starts: leaving the block cancels and awaits whatever is still in flight."""

    def __init__(self) -> None:
        self._tasks: deque[asyncio.Task[T]] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def push(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    @property
    def oldest(self) -> asyncio.Task[T]:
        """The one whose turn it is."""
        return self._tasks[0]

    async def pop(self) -> T:
        """The oldest answer; raises what its call raised."""
        task = self._tasks[0]
        try:
            return await task
        finally:
            if task.done() and self._tasks and self._tasks[0] is task:
                self._tasks.popleft()

    async def clear(self) -> None:
        """Cancel what is in flight and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def __aenter__(self) -> Ahead[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.clear()
