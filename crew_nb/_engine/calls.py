"""The gate before every LLM call: stop, pause, limits, budgets and retries; no thread waits while holding a slot.

Async calls pass it on the engine's loop. Sync calls come from worker threads (the stock executor, guardrails) and hop
onto the loop to ask. A call that fails for good ends its run at once: CrewAI would multiply the tries by its own
(27 requests for one call that meets a lasting 429, CrewAI 1.15.30).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
import random
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from crew_nb._crewai import names as _crewai
from crew_nb._engine import failure as _failure
from crew_nb._engine import retry as _retry
from crew_nb._engine.limits import AdaptiveSlots, Budget, Charge, RateLimit, Share, Slots, TokenLimit, shared
from crew_nb._state import attempt as _attempt
from crew_nb._state import events as ev
from crew_nb._state.errors import BudgetExceededError

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from crew_nb._state.attempt import Attempt
    from crew_nb._state.options import Options

T = TypeVar("T")

FIRST_ESTIMATE = 1_000
"""Tokens reserved for a call under `max_tpm` until one has been measured."""


class Gate:
    """What one batch's LLM calls pass. Made and used on the engine's loop; `call` from worker threads."""

    def __init__(self, options: Options) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._keys = itertools.count()
        self._random = random.Random()  # noqa: S311 - jitter
        self._estimate = FIRST_ESTIMATE
        self.max_retries = options.max_retries
        self.budget = Budget(options.max_total_tokens, options.max_cost)
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.in_flight = 0
        self._adaptive: AdaptiveSlots | None = None
        self._shares: list[Share[Any]] = []
        self._own = Slots(options.concurrency)
        self._slots: Slots
        if options.max_concurrency == "auto":
            self._adaptive = self._share(shared("auto", options.concurrency))
            self._slots = self._adaptive
        else:
            self._slots = self._share(shared("calls", options.concurrency))
        self._rpm: RateLimit | None = self._share(shared("rpm", options.max_rpm)) if options.max_rpm else None
        self._tpm: TokenLimit | None = self._share(shared("tpm", options.max_tpm)) if options.max_tpm else None

    def _share(self, share: Share[Any]) -> Any:
        self._shares.append(share)
        return share.limiter

    def close(self) -> None:
        """The batch is over; its numbers hold no more."""
        for share in self._shares:
            share.leave()

    @property
    def limit(self) -> int:
        """LLM calls that may be in flight at once."""
        return min(self._own.limit, self._slots.limit)

    @property
    def limit_reason(self) -> str:
        """Why the adaptive limit last changed; empty where it does not adapt."""
        return self._adaptive.reason if self._adaptive is not None else ""

    def retune(self, limit: int) -> None:
        """Change how many LLM calls may be in flight, while they are."""
        self._own.limit = limit
        for share in self._shares:
            if share.limiter is self._slots:
                share.retune(limit)

    async def acall(self, attempt: Attempt, operation: Callable[[], Awaitable[T]]) -> T:
        """An LLM call of an async client."""
        for tries in itertools.count(1):
            async with self._admitted(attempt) as record:
                try:
                    result = await operation()
                except Exception as error:
                    verdict = self._judge(attempt, error, tries)
                else:
                    self._answered(attempt, record)
                    return result
            await self._hop(self._wait(attempt, "retry", _words(verdict, tries, self.max_retries), verdict, tries))
        raise AssertionError("unreachable")

    def call(self, attempt: Attempt, operation: Callable[[], T]) -> T:
        """An LLM call of a sync client; blocks its thread, which holds no slot while it waits."""
        if threading.get_ident() == self._thread:
            self._check(attempt)  # CrewAI calls on our loop itself: waiting here would hold up every crew
            return operation()
        for tries in itertools.count(1):
            stack = AsyncExitStack()
            record = self._join(attempt, stack.enter_async_context(self._admitted(attempt, remember=False)))
            token = _attempt.call.set(record)
            try:
                with _attempt.in_thread():
                    result = operation()
            except Exception as error:
                verdict = self._judge(attempt, error, tries)
            else:
                self._answered(attempt, record)
                return result
            finally:
                _attempt.call.reset(token)
                asyncio.run_coroutine_threadsafe(stack.aclose(), self._loop)
            words = _words(verdict, tries, self.max_retries)
            self._join(attempt, self._wait(attempt, "retry", words, verdict, tries))
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _admitted(self, attempt: Attempt, remember: bool = True) -> AsyncIterator[_attempt.CallRecord]:
        """Holds what one call needs while it is in flight: a slot, a request, tokens."""
        record = _attempt.CallRecord(began=time.time())
        token: contextvars.Token[_attempt.CallRecord | None] | None = None
        try:
            await self._hop(self._admit(attempt, record))
            token = _attempt.call.set(record) if remember else None
            yield record
        finally:
            if token is not None:
                _attempt.call.reset(token)
            self._soon(self._leave, attempt, record)

    async def _admit(self, attempt: Attempt, record: _attempt.CallRecord) -> None:
        """On the loop: returns when the call may start, holding a slot, which `_leave` gives back."""
        charges: list[tuple[RateLimit | TokenLimit, Charge]] = record.charges
        try:
            while True:
                self._check(attempt)
                if not self.resumed.is_set():
                    await self._while(attempt, "pause", "the batch is paused", self.resumed.wait())
                    continue
                # Limits that take time come first: nobody sits on a slot while waiting for a minute to pass.
                if self._rpm is not None and not any(limit is self._rpm for limit, _ in charges):
                    words = f"max_rpm={self._rpm.per_minute}"
                    charges.append((self._rpm, await self._limited(attempt, words, self._rpm.acquire)))
                    continue
                if self._tpm is not None and not any(limit is self._tpm for limit, _ in charges):
                    words = f"max_tpm={self._tpm.per_minute}"
                    take = functools.partial(self._tpm.acquire, self._estimate)
                    charges.append((self._tpm, await self._limited(attempt, words, take)))
                    continue
                await self._take(attempt, self._own)
                try:
                    await self._take(attempt, self._slots)
                except BaseException:
                    self._own.release()
                    raise
                if attempt.stop_reason or not self.resumed.is_set() or self.budget.check():
                    self._give_back()
                    continue
                for limit, charge in charges:
                    limit.begin(charge)
                self.in_flight += 1
                record.began = time.time()
                attempt.calls.add(record)
                return
        except BaseException:
            for limit, charge in charges:
                limit.give_back(charge)
            charges.clear()
            raise

    async def _take(self, attempt: Attempt, slots: Slots) -> None:
        if slots.in_use >= slots.limit or slots.waiting:
            words = f"{slots.limit} LLM calls are in flight"
            await self._while(attempt, "slot", words, slots.acquire())
        else:
            await slots.acquire()

    def _give_back(self) -> None:
        self._slots.release()
        self._own.release()

    def abandon(self, attempt: Attempt) -> None:
        """The attempt has ended: calls of it that cannot be stopped hold up nobody from now on."""
        for record in list(attempt.calls):
            self._leave(attempt, record)

    def _leave(self, attempt: Attempt, record: _attempt.CallRecord) -> None:
        if record in attempt.calls:  # else it was abandoned, or never admitted
            attempt.calls.discard(record)
            self._released(record)

    def _released(self, record: _attempt.CallRecord) -> None:
        self.in_flight -= 1
        self._give_back()
        used = record.usage.total_tokens
        if used:
            self._estimate = (3 * self._estimate + used) // 4
        for limit, charge in record.charges:
            if isinstance(limit, TokenLimit) and used:
                limit.settle(charge, used)

    def _check(self, attempt: Attempt) -> None:
        if attempt.stop_reason:
            raise _crewai.abort(attempt.stop_reason)
        reason = self.budget.check()
        if reason:
            raise _crewai.abort(reason) from BudgetExceededError(reason)

    def _judge(self, attempt: Attempt, error: Exception, tries: int) -> _retry.Verdict:
        """What to do about a failed call: a verdict to wait on, or the error that ends the run is raised."""
        if attempt.stop_reason or _crewai.is_abort(error) or _crewai.is_hook_abort(error):
            raise error
        verdict = _retry.classify(error)
        self._soon(self._note, verdict)
        if _crewai.recovers_from(error):
            raise error
        if verdict.kind == "other":
            raise error  # no trouble of a provider's (an answer that does not fit): the agent's own tries are for it
        if not verdict.retryable or tries > self.max_retries:
            raise _crewai.abort(_failure.said(error)) from error
        return verdict

    def _note(self, verdict: _retry.Verdict) -> None:
        if self._adaptive is not None and verdict.kind == "rate limit" and verdict.retryable:
            self._adaptive.note_rate_limited(verdict.retry_after)
        elif self._adaptive is not None and verdict.kind == "server error":
            self._adaptive.note_server_error()

    def _answered(self, attempt: Attempt, record: _attempt.CallRecord) -> None:
        if self._adaptive is not None:
            self._soon(self._adaptive.note_success)
        if attempt.stop_reason:
            raise _crewai.abort(attempt.stop_reason)  # too late: the answer is dropped
        if not record.heard:  # a custom LLM class that emits no events still shows in the timeline
            key = f"call-{next(self._keys)}"
            place = attempt.places.get(str(_crewai.current_task_id()))
            common: dict[str, Any] = {"run": attempt.index, "call": key, "kind": "llm", "task": place}
            attempt.post(ev.CallStarted(at=record.began, name="LLM", **common))
            attempt.post(ev.CallFinished(at=time.time(), **common))

    async def _limited(self, attempt: Attempt, words: str, acquire: Callable[[Any], Awaitable[Charge]]) -> Charge:
        key = f"wait-{next(self._keys)}"
        told = False

        def on_wait(until: float) -> None:
            nonlocal told
            told = True
            self._post_wait(attempt, key, "rate limit", words, until)

        try:
            return await acquire(on_wait)
        finally:
            if told:
                attempt.post(ev.WaitFinished(run=attempt.index, at=time.time(), key=key))

    async def _while(self, attempt: Attempt, reason: ev.WaitReason, words: str, waiting: Awaitable[Any]) -> None:
        key = f"wait-{next(self._keys)}"
        self._post_wait(attempt, key, reason, words, None)
        try:
            await waiting
        finally:
            attempt.post(ev.WaitFinished(run=attempt.index, at=time.time(), key=key))

    async def _wait(
        self, attempt: Attempt, reason: ev.WaitReason, words: str, verdict: _retry.Verdict, tries: int
    ) -> None:
        """The time between two tries, shown in the row."""
        seconds = _retry.backoff(tries, verdict, self._random)
        key = f"wait-{next(self._keys)}"
        self._post_wait(attempt, key, reason, words, time.time() + seconds)
        try:
            await asyncio.sleep(seconds)
        finally:
            attempt.post(ev.WaitFinished(run=attempt.index, at=time.time(), key=key))

    def _post_wait(self, attempt: Attempt, key: str, reason: ev.WaitReason, words: str, until: float | None) -> None:
        place = attempt.places.get(str(_crewai.current_task_id()))
        wait = ev.WaitStarted(
            run=attempt.index, at=time.time(), key=key, reason=reason, detail=words, until=until, task=place
        )
        attempt.post(wait)

    async def _hop(self, work: Coroutine[Any, Any, T]) -> T:
        """Await on the engine's loop, from whichever loop this is (a tool may run an LLM on one of its own)."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _join(self, attempt: Attempt, work: Awaitable[T]) -> T:
        """Wait for the loop from a worker thread."""

        async def run() -> T:
            return await work

        try:
            return asyncio.run_coroutine_threadsafe(run(), self._loop).result()
        except concurrent.futures.CancelledError:
            raise _crewai.abort(attempt.stop_reason or "stopped") from None

    def _soon(self, function: Callable[..., object], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)


def _words(verdict: _retry.Verdict, tries: int, max_retries: int) -> str:
    what = str(verdict.status) if verdict.status else verdict.kind
    return f"{what}, try {tries + 1} of {max_retries + 1}"


def applies() -> bool:
    """Whether this code runs for one of our runs."""
    return _attempt.current.get() is not None


def in_call() -> bool:
    """Whether this code runs inside an LLM call that passed the gate."""
    return _attempt.call.get() is not None


def call(operation: Callable[[], Any]) -> Any:
    """The gate of the current run, for sync calls; calls within a call have passed already."""
    attempt = _attempt.current.get()
    if attempt is None or in_call():
        return operation()
    return attempt.gate.call(attempt, operation)


async def acall(operation: Callable[[], Awaitable[Any]]) -> Any:
    """The gate of the current run, for async calls; calls within a call have passed already."""
    attempt = _attempt.current.get()
    if attempt is None or in_call():
        return await operation()
    return await attempt.gate.acall(attempt, operation)


def install() -> str:
    """Put the gate before every LLM call of our runs; returns what could not be, in words."""
    _crewai.install_sdk_retry_switch(in_call)
    return _crewai.install_gate(applies, call, acall)
