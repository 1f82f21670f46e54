"""The gate before every LLM call: stop, pause, limits, budgets and retries; no thread waits while holding a slot.

It makes the one record of a call, tells of it in events, and is the place where a `Witness` sees calls or answers them.
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
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from crew_nb._crewai import connections as _connections
from crew_nb._crewai import listen as _listen
from crew_nb._crewai import models as _models
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import patches
from crew_nb._crewai import rpm as _rpm
from crew_nb._crewai import tokens as _tokens
from crew_nb._engine import failure as _failure
from crew_nb._engine import prices as _prices
from crew_nb._engine import retry as _retry
from crew_nb._engine import streams as _streams
from crew_nb._engine.limits import AdaptiveSlots, Budget, Charge, RateLimit, Share, Slots, TokenLimit, shared
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.call import CallRecord
from crew_nb._state.errors import BlueprintError, BudgetExceededError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from crew_nb._state.attempt import Attempt, Witness
    from crew_nb._state.call import Answer, Asked
    from crew_nb._state.options import Options

T = TypeVar("T")

FIRST_ESTIMATE = 1_000
"""Tokens reserved for a call under `max_tpm` until one has been measured."""


class Gate:
    """What one batch's LLM calls pass. Made and used on the engine's loop; `call` from worker threads."""

    def __init__(self, options: Options, before: Gate | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._keys = itertools.count()
        self._random = random.Random()  # noqa: S311 - jitter
        self._estimate = FIRST_ESTIMATE
        self.max_retries = options.max_retries
        self.budget: Budget = before.budget if before else Budget(options.max_total_tokens, options.max_cost)
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.streams: _streams.Streams = before.streams if before else _streams.Streams()
        self.witnesses: list[Witness] = before.witnesses if before else []
        """Who sees every call, in this order; the first that has an answer to one is not asked in vain."""
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

    async def acall(self, attempt: Attempt, asked: Asked, operation: Callable[[], Awaitable[Any]]) -> Any:
        """An LLM call of an async client."""
        again = _Again()
        while True:
            record = self._record(attempt, asked, again)
            if self._is_to_recall(again) and (known := await self._hop(self._recall(attempt, record))):
                return self._given(record, known)
            async with self._admitted(attempt, record):
                with self._under_way(attempt, record, again), self._elsewhere(record):
                    result = await operation()
                    self._take_answer(attempt, record, result, again)
                    return result
            await self._hop(self._wait(attempt, again))

    def call(self, attempt: Attempt, asked: Asked, operation: Callable[[], Any]) -> Any:
        """An LLM call of a sync client; blocks its thread, which holds no slot while it waits."""
        again = _Again()
        on_loop = threading.get_ident() == self._thread  # CrewAI calls on our loop itself: nobody may wait here
        while True:
            record = self._record(attempt, asked, again)
            stack = AsyncExitStack()
            if on_loop:
                self._check(attempt)
                if self._is_to_recall(again) and (known := self._look(attempt, record)):
                    self._began(attempt, record)
                    self._ended(attempt, record)
                    return self._given(record, known)
                self._began(attempt, record)
            else:
                if self._is_to_recall(again) and (known := self._join(attempt, self._recall(attempt, record))):
                    return self._given(record, known)
                self._join(attempt, stack.enter_async_context(self._admitted(attempt, record)))
            try:
                with _attempt.in_thread(), self._under_way(attempt, record, again):
                    result = operation()
                    self._take_answer(attempt, record, result, again)
                    return result
            finally:
                if not on_loop:
                    asyncio.run_coroutine_threadsafe(stack.aclose(), self._loop)
            if not on_loop:
                self._join(attempt, self._wait(attempt, again))
            elif not again.at_once():
                assert again.error is not None
                raise again.error

    def rest(self, attempt: Attempt, seconds: float) -> None:
        """Wait in a worker thread until the time is over or the run is stopped."""
        if seconds and threading.get_ident() != self._thread:
            self._join(attempt, asyncio.sleep(seconds))

    def price(self, llm: Any, usage: Usage) -> float | None:
        """US dollars for tokens of that LLM; None where the price is unknown."""
        if getattr(llm, "is_offline", False):
            return 0.0
        cost = _prices.price(str(getattr(llm, "model", "")), usage, provider=getattr(llm, "provider", None))
        return cost if usage.total_tokens else None

    @contextmanager
    def within(self, attempt: Attempt, asked: Asked) -> Iterator[None]:
        """A call that is made within another: an LLM class that passes the question on, or asks again."""
        record = _attempt.call.get()
        if record is None or asked.llm is None or asked.llm is record.asked.llm:
            yield
            return
        patches.hear_tokens(type(asked.llm), _tokens.tracked)
        with _crewai.streaming(asked.llm, self.streams.wanted(attempt.stream, asked)):
            yield

    # --- one record from its beginning to its end ----------------------------------------------------------------

    def _record(self, attempt: Attempt, asked: Asked, again: _Again) -> CallRecord:
        if attempt.models and (words := _models.trouble(attempt.models, asked)):
            attempt.refused = BlueprintError(words)
            raise _crewai.abort(words) from attempt.refused
        place = _listen.place_of(attempt, asked.task_id)
        record = CallRecord(asked=asked, task=place, within=_attempt.tool.get(), tries=again.tries)
        if again.first is None:
            again.first = record
        else:
            record.question = again.first.question
        return record

    def _is_to_recall(self, again: _Again) -> bool:
        """Whether witnesses are to be asked: once a call, however often it is tried."""
        first, again.is_known = not again.is_known, True
        return first and bool(self.witnesses)

    def _look(self, attempt: Attempt, record: CallRecord) -> Answer | None:
        """What a witness says; the call then takes no slot and spends nothing."""
        for witness in self.witnesses:
            self._check(attempt)
            answer = witness.before(attempt, record)
            if answer is not None:
                record.answer, record.saved = answer.value, answer.usage
                record.output = _listen.text(answer.value, attempt.secrets)
                return answer
        return None

    async def _recall(self, attempt: Attempt, record: CallRecord) -> Answer | None:
        """The same, at the pace that the witness tells."""
        while not self.resumed.is_set():
            await self._while(attempt, "pause", "the batch is paused", self.resumed.wait())
        answer = self._look(attempt, record)
        if answer is None:
            return None
        self._began(attempt, record)
        try:
            for at, piece in answer.pieces:
                await asyncio.sleep(max(0.0, record.began + at - _clock.now()))
                if attempt.stream:
                    attempt.post(
                        ev.CallChunk(run=attempt.index, at=_clock.now(), call=record.key, text=piece, task=record.task)
                    )
            await asyncio.sleep(max(0.0, record.began + answer.seconds - _clock.now()))
        except BaseException as error:
            record.error = error
            raise
        finally:
            self._ended(attempt, record)
        return answer

    def _given(self, record: CallRecord, answer: Answer) -> Any:
        """The answer, once the functions have run that the LLM's own class runs for it."""
        if not answer.ran or not record.asked.functions:
            return answer.value
        token = _attempt.call.set(record)
        try:
            results = [_crewai.run_function(record.asked, name, arguments) for name, arguments in answer.ran]
        finally:
            _attempt.call.reset(token)
        return results[-1] if answer.value is None else answer.value

    @contextmanager
    def _under_way(self, attempt: Attempt, record: CallRecord, again: _Again) -> Iterator[None]:
        """While the LLM is asked. An error on which it is to be asked again ends here; `again` says how."""
        wish = False if again.without_stream else self.streams.wanted(attempt.stream, record.asked)
        patches.let_litellm_break_off(in_call)
        token = _attempt.call.set(record)
        try:
            with _tokens.watching(record), _crewai.streaming(record.asked.llm, wish) as record.stream:
                try:
                    yield
                finally:
                    _attempt.call.reset(token)
        except Exception as error:
            record.error = error
            try:
                again.judged(error, self._judge(attempt, record, error, again))
            finally:
                self._ended(attempt, record)
        except BaseException as error:  # cancelled: what was told of tokens until then was spent
            record.error = error
            self._ended(attempt, record)
            raise
        else:
            self._ended(attempt, record)
            if self._adaptive is not None:
                self._soon(self._adaptive.note_success)
            if attempt.stop_reason:
                raise _crewai.abort(attempt.stop_reason)  # too late: the answer is dropped

    @contextmanager
    def _elsewhere(self, record: CallRecord) -> Iterator[None]:
        """Where a tool or a step awaits its LLM on a loop of its own, which no stop reaches otherwise."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if loop is not self._loop and task is not None:
            record.cancel = functools.partial(loop.call_soon_threadsafe, task.cancel)
        try:
            yield
        finally:
            record.cancel = None

    def _take_answer(self, attempt: Attempt, record: CallRecord, result: Any, again: _Again) -> None:
        if trouble := self.streams.trouble(record, result, attempt.stream):
            raise trouble
        record.answer = result
        record.output = record.output or _listen.text(result, attempt.secrets)
        if again.refused and _streams.is_empty(result):
            self.streams.clear(record.asked)
        elif again.refused:
            self._without_streams(attempt, record, again.refused)

    def _without_streams(self, attempt: Attempt, record: CallRecord, why: str) -> None:
        """Ask this LLM without streams from now on, and say so once."""
        if self.streams.give_up(record.asked):
            self._soon(attempt.note, f"{record.asked.model} {why}: it is asked without streams from now on")

    def _began(self, attempt: Attempt, record: CallRecord) -> None:
        record.began = _clock.now()
        attempt.post(
            ev.CallStarted(
                run=attempt.index,
                at=record.began,
                call=record.key,
                kind="llm",
                name=record.asked.model or "LLM",
                task=record.task,
                agent=record.asked.agent,
                detail=_listen.last_message(record.asked.messages, attempt.secrets),
                within=record.within,
                provider=str(getattr(record.asked.llm, "provider", None) or ""),
            )
        )

    def _ended(self, attempt: Attempt, record: CallRecord) -> None:
        """The call has its end: counted, told to the board, to witnesses."""
        record.ended = _clock.now()
        self._count(attempt, record)
        attempt.spend(record.usage)
        common: dict[str, Any] = {
            "run": attempt.index,
            "at": record.ended,
            "call": record.key,
            "kind": "llm",
            "task": record.task,
            "usage": record.usage,
            "cost": record.cost,
        }
        if record.error is None:
            common |= {"counted": record.counted, "finish_reason": record.finish_reason or ""}
            if record.saved is not None:
                common |= {"saved": record.saved, "saved_cost": self.price(record.asked.llm, record.saved)}
            attempt.post(ev.CallFinished(output=record.output, **common))
            if _streams.was_cut(record):
                attempt.log(f"an answer of {record.asked.model} is cut short: {record.finish_reason}", record.task)
        elif isinstance(record.error, Exception) or record.usage.total_tokens:
            error = _failure.type_name(record.error)
            attempt.post(ev.CallFailed(message=_failure.said(record.error) or "stopped", error=error, **common))
        for witness in self.witnesses:
            witness.after(attempt, record)

    def _count(self, attempt: Attempt, record: CallRecord) -> None:
        tallies = _tokens.tallies(record)
        record.usage = sum((tally.usage for tally in tallies), Usage())
        costs = [self.price(tally.llm, tally.usage) for tally in tallies]
        record.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        if record.saved is not None or record.usage.total_tokens:
            return
        record.cost = self.price(record.asked.llm, record.usage)
        if record.error is not None:
            return
        model = record.asked.model or "an LLM"
        if not _streams.did_stream(record):
            record.counted = "no"
            record.usage = Usage(successful_requests=1)
            words = f"tokens of {model} are not counted: it tells none"
            if self.budget.is_set:  # else the row's log and the count beside the tokens say enough
                self._soon(attempt.note, f"{words}, so no budget holds for it")
            attempt.log(words, record.task)
            return
        record.counted = "estimated"
        record.usage = _tokens.estimate(record)
        record.cost = self.price(record.asked.llm, record.usage)
        self._soon(
            attempt.note, f"~ tokens of {model} are estimated where its answers stream: it tells none in streams"
        )
        if self.budget.is_set and attempt.stream:
            self._without_streams(attempt, record, "tells no tokens in streams, and there is a budget")

    @asynccontextmanager
    async def _admitted(self, attempt: Attempt, record: CallRecord) -> AsyncIterator[None]:
        """Holds what one call needs while it is in flight: a slot, a request, tokens."""
        try:
            await self._hop(self._admit(attempt, record))
            self._began(attempt, record)
            yield
        finally:
            self._soon(self._leave, attempt, record)

    async def _admit(self, attempt: Attempt, record: CallRecord) -> None:
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
                record.began = _clock.now()
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

    def hang_up(self, attempt: Attempt) -> None:
        """No answer is wanted any more: requests that are in flight are closed."""
        for record in attempt.calls:
            _connections.hang_up(record)

    def abandon(self, attempt: Attempt) -> None:
        """The attempt has ended: calls of it that cannot be stopped hold up nobody from now on."""
        for record in list(attempt.calls):
            self._leave(attempt, record)

    def _leave(self, attempt: Attempt, record: CallRecord) -> None:
        if record in attempt.calls:  # else it was abandoned, or never admitted
            attempt.calls.discard(record)
            self._released(record)

    def _released(self, record: CallRecord) -> None:
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

    def _judge(self, attempt: Attempt, record: CallRecord, error: Exception, again: _Again) -> _retry.Verdict:
        """What to do about a failed call: a verdict to go on with, or the error that ends the run is raised."""
        if attempt.stop_reason or _crewai.is_abort(error) or _crewai.is_hook_abort(error):
            raise error
        error = _retry.in_words(error)
        verdict = _retry.classify(error)
        self._soon(self._note, verdict)
        if again.refused and not verdict.retryable:
            self.streams.clear(record.asked)  # it was not the stream
            again.refused = ""
        elif attempt.stream and self.streams.is_refusal(record, error, verdict):
            empty = isinstance(error, _streams.EmptyStreamError)
            again.refused = "gives no answer in streams" if empty else "refuses streams"
            return verdict
        if _crewai.recovers_from(error):
            raise error
        if verdict.kind == "other":
            raise error  # no trouble of a provider's (an answer that does not fit): the agent's own tries are for it
        if not verdict.retryable or again.tries > self.max_retries:
            raise _crewai.abort(_failure.said(error)) from error
        return verdict

    def _note(self, verdict: _retry.Verdict) -> None:
        if self._adaptive is not None and verdict.kind == "rate limit" and verdict.retryable:
            self._adaptive.note_rate_limited(verdict.retry_after)
        elif self._adaptive is not None and verdict.kind == "server error":
            self._adaptive.note_server_error()

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
                attempt.post(ev.WaitFinished(run=attempt.index, at=_clock.now(), key=key))

    async def _while(self, attempt: Attempt, reason: ev.WaitReason, words: str, waiting: Awaitable[Any]) -> None:
        key = f"wait-{next(self._keys)}"
        self._post_wait(attempt, key, reason, words, None)
        try:
            await waiting
        finally:
            attempt.post(ev.WaitFinished(run=attempt.index, at=_clock.now(), key=key))

    async def _wait(self, attempt: Attempt, again: _Again) -> None:
        """The time between two tries, shown in the row."""
        if again.at_once():
            return
        assert again.verdict is not None
        seconds = _retry.backoff(again.tries, again.verdict, self._random)
        words = _words(again.verdict, again.tries, self.max_retries)
        again.tries += 1
        if again.tries > self.max_retries and attempt.stream:
            again.without_stream = True  # something on the way may break off streams only
        await self._sit_out(attempt, "retry", words, seconds)

    def sit_out(self, attempt: Attempt, words: str, seconds: float) -> None:
        """Wait for a limit of CrewAI's own, in a thread; shown in the row, and ended by a stop."""
        if threading.get_ident() == self._thread:
            time.sleep(seconds)  # as CrewAI does; its executors ask in threads
        else:
            self._join(attempt, self._sit_out(attempt, "rate limit", words, seconds))

    async def _sit_out(self, attempt: Attempt, reason: ev.WaitReason, words: str, seconds: float) -> None:
        key = f"wait-{next(self._keys)}"
        self._post_wait(attempt, key, reason, words, _clock.now() + seconds)
        try:
            await asyncio.sleep(seconds)
        finally:
            attempt.post(ev.WaitFinished(run=attempt.index, at=_clock.now(), key=key))

    def _post_wait(self, attempt: Attempt, key: str, reason: ev.WaitReason, words: str, until: float | None) -> None:
        place = _listen.place_of(attempt)
        wait = ev.WaitStarted(
            run=attempt.index, at=_clock.now(), key=key, reason=reason, detail=words, until=until, task=place
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


class _Again:
    """How one call is to be asked again, over its tries."""

    def __init__(self) -> None:
        self.tries = 1
        self.verdict: _retry.Verdict | None = None
        self.error: Exception | None = None
        self.refused = ""
        """What is the matter with streams, if the next try shows that it was that."""
        self.without_stream = False
        self.first: CallRecord | None = None
        """Of the first try."""
        self.is_known = False
        """Witnesses have been asked."""

    def judged(self, error: Exception, verdict: _retry.Verdict) -> None:
        """The last try has failed, and there is to be another."""
        self.error, self.verdict = error, verdict

    def at_once(self) -> bool:
        """Whether the same is now to be asked without a stream."""
        if not self.refused or self.without_stream:
            return False
        self.without_stream = True
        return True


def _words(verdict: _retry.Verdict, tries: int, max_retries: int) -> str:
    what = str(verdict.status) if verdict.status else verdict.kind
    return f"{what}, try {tries + 1} of {max_retries + 1}"


def applies() -> bool:
    """Whether this code runs for one of our runs."""
    return _attempt.current.get() is not None


def in_call() -> bool:
    """Whether this code runs inside an LLM call that passed the gate."""
    return _attempt.call.get() is not None


def call(asked: Asked, operation: Callable[[], Any]) -> Any:
    """The gate of the current run, for sync calls; calls within a call have passed already."""
    attempt = _attempt.current.get()
    if attempt is None:
        return operation()
    if in_call():
        with attempt.gate.within(attempt, asked):
            return operation()
    return attempt.gate.call(attempt, asked, operation)


async def acall(asked: Asked, operation: Callable[[], Awaitable[Any]]) -> Any:
    """The gate of the current run, for async calls; calls within a call have passed already."""
    attempt = _attempt.current.get()
    if attempt is None:
        return await operation()
    if in_call():
        with attempt.gate.within(attempt, asked):
            return await operation()
    return await attempt.gate.acall(attempt, asked, operation)


def sit_out(words: str, seconds: float) -> None:
    """Wait for a limit of CrewAI's own, as the current run's gate lets it."""
    attempt = _attempt.current.get()
    if attempt is None:
        time.sleep(seconds)
    else:
        attempt.gate.sit_out(attempt, words, seconds)


def install() -> str:
    """Put the gate before every LLM call of our runs; returns what could not be, in words."""
    patches.install_sdk_retry_switch(in_call)
    _tokens.install()
    _rpm.install(applies, sit_out)
    return patches.install_gate(applies, call, acall)
