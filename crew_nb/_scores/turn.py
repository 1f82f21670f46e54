"""`Turn`: calls of the user's, one after another in a thread, each heard of as it ends and none waited for for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor


class HungError(Exception):
    """Raised when a call took longer than it may."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__(f"took longer than {seconds:g} s, and was given up")


class Turn:
    """A thread is asked once for all of them, which costs a hundredth of asking for each.

    Args:
        calls: They raise nothing but an `Exception`.
        seconds: How long each may take.
        pool: Has the thread, once the first is waited for.
    """

    def __init__(self, calls: Iterable[Callable[[], Any]], seconds: float | None, pool: Executor) -> None:
        self.given_up = False
        """Whether no further call begins."""
        self._calls = calls
        self._seconds = seconds
        self._pool = pool
        self._has_begun = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._is_told = False
        self._said: deque[tuple[Any, Exception | None]] = deque()
        self._since = 0.0

    def _run(self) -> None:
        for call in self._calls:
            if self.given_up:
                return
            self._since = time.monotonic()
            try:
                self._said.append((call(), None))
            except Exception as error:
                self._said.append((None, error))
            if not self._is_told:
                self._is_told = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                    self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._is_told = False
        self._news.set()

    async def next(self) -> Any:
        """What the next call gives.

        Raises:
            HungError: When it takes too long; no other one begins.
            Exception: What it raised.
        """
        if not self._has_begun:
            self._has_begun, self._since = True, time.monotonic()
            self._loop.run_in_executor(self._pool, self._run)
        while not self._said:
            self._news.clear()
            left = None if self._seconds is None else self._since + self._seconds - time.monotonic()
            if left is not None and left <= 0:
                self.given_up = True
                raise HungError(self._seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        said, error = self._said.popleft()
        if error is not None:
            raise error
        return said
