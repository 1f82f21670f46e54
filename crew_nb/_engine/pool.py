"""Threads for the sync work of crews: as many as are needed at once, gone soon after, and never awaited at exit."""

from __future__ import annotations

import functools
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = tuple[Future[Any], Callable[[], Any]]

IDLE_SECONDS = 0.5


class DaemonPool(ThreadPoolExecutor):
    """An executor of daemon threads without a fixed size.

    The standard one joins its threads when the interpreter exits, so that one hung HTTP request would keep a stopped
    kernel alive; and its size would cap how many crews are in flight (CrewAI's default of 6 on 2 cores is that cap).
    It is a `ThreadPoolExecutor` by name only because asyncio takes no other as a loop's default.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(max_workers=1, thread_name_prefix=prefix)
        self._choice = threading.Lock()  # a thread must not leave in the moment in which it is given work
        self._idle: list[queue.SimpleQueue[Job]] = []
        """Mailboxes of the threads that wait; the last one is taken first, so that those too many end."""
        self._names = (f"{prefix}-{n}" for n in itertools.count())
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in an idle thread, or in a new one."""
        future: Future[T] = Future()
        job: Job = (future, functools.partial(fn, *args, **kwargs))
        with self._choice:
            if self._closed:
                raise RuntimeError("the pool is closed")
            mailbox = self._idle.pop() if self._idle else None
        if mailbox is not None:
            mailbox.put(job)
            return future
        mailbox = queue.SimpleQueue()
        mailbox.put(job)
        threading.Thread(target=self._serve, args=(mailbox,), name=next(self._names), daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; threads end by themselves."""
        self._closed = True

    def _serve(self, mailbox: queue.SimpleQueue[Job]) -> None:
        while (job := self._next(mailbox)) is not None:
            _do(*job)
            del job  # an idle thread holds on to nobody's result
            with self._choice:
                self._idle.append(mailbox)

    def _next(self, mailbox: queue.SimpleQueue[Job]) -> Job | None:
        try:
            return mailbox.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._choice:
                if mailbox in self._idle:
                    self._idle.remove(mailbox)
                    return None
            return mailbox.get()  # somebody has chosen us just now


class GeneratorExitRaised(BaseException):
    """In the place of `GeneratorExit`, which, thrown into what awaits, closes it and is not raised in it."""


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except StopIteration as error:  # no future takes it before Python 3.12: who awaits would wait for ever
        raised = RuntimeError("a function raised StopIteration, as next() does where nothing is left")
        raised.__cause__ = error
        future.set_exception(raised)
    except GeneratorExit as error:
        told = GeneratorExitRaised(*error.args)
        told.__cause__ = error
        future.set_exception(told)
    except BaseException as error:
        future.set_exception(error)
