"""Limiters and budgets that every LLM call and every run passes; a permit is never lost, doubled or given out of turn.

All of it lives on the engine's loop and is called from there only, so there is no lock. A waiter is a future in a
first-in-first-out queue; what waits for time has one timer for the whole queue. Nothing polls and no thread sleeps.
A waiter that is cancelled leaves the queue, and gives back what it was handed in the same moment.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

from crew_nb._state import clock as _clock
from crew_nb._state.errors import OptionError

OnWait = Callable[[float], object]
"""Told when a wait is expected to end, in Unix seconds; told again if a limit is changed meanwhile."""


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{name}={value!r} cannot be meant: write a whole number from 1 up, or None for no limit.")
    return value


class Slots:
    """At most `limit` holders at a time; the limit can be changed while it runs.

    A raise wakes waiters at once. A cut takes effect as permits come back: no holder is interrupted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = _whole("max_concurrency", limit)
        self._in_use = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may hold a permit at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = _whole("max_concurrency", limit)
        self._admit()

    @property
    def in_use(self) -> int:
        """Permits held now."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Waiters in the queue now."""
        return len(self._queue)

    def retune(self, limit: int) -> None:
        """Sets `limit`."""
        self.limit = limit

    async def acquire(self) -> None:
        """Returns when a permit is held; whoever asked first gets it first."""
        if not self._queue and self._in_use < self._limit:
            self._take()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # the permit and the cancellation came in the same turn of the loop
                self.release()
            elif place in self._queue:
                self._queue.remove(place)
            raise

    def release(self) -> None:
        """Gives a permit back; the next waiter has it when this returns."""
        if not self._in_use:
            raise RuntimeError("a permit was given back that nobody holds")
        self._in_use -= 1
        self._admit()

    def _take(self) -> None:
        self._in_use += 1

    def _admit(self) -> None:
        while self._queue and (self._queue[0].done() or self._in_use < self._limit):
            place = self._queue.popleft()
            if not place.done():
                self._take()
                place.set_result(None)


class LimitChange(NamedTuple):
    """One change of an adaptive limit."""

    at: float
    """Unix seconds."""
    limit: int
    reason: str


class AdaptiveSlots(Slots):
    """Finds by itself how many calls at once the provider takes (`max_concurrency="auto"`).

    A round is as many answers as the limit is high. It is clean if no error of the server fell into it, and counts
    only if at least 80 % of the limit was in use at some moment of it. The limit starts at 20; a clean round doubles
    it until the first 429 and adds 5 % (at least 1) after that, up to the ceiling. A 429 cuts it to 0.8; for 15 s, or
    for as long as the server asked, there is no other cut and no growth. A 5xx starts the round over without a cut.

    The lowest limit is 1, not inspect_ai's 10: an account that takes two calls at once must be found too.

    Args:
        ceiling: The highest limit it may reach.
        clock: Monotonic seconds.
    """

    START = 20
    CEILING = 100
    COOLDOWN = 15.0
    HISTORY = 200

    def __init__(self, ceiling: int = CEILING, clock: Callable[[], float] = time.monotonic) -> None:
        self._ceiling = _whole("max_concurrency", ceiling)
        super().__init__(min(self.START, ceiling))
        self._clock = clock
        self._limited = False
        self._cool_until = -math.inf
        self._answers = 0
        self._peak = 0
        self.history: deque[LimitChange] = deque(maxlen=self.HISTORY)
        """The last changes, oldest first."""
        self.history.append(LimitChange(_clock.now(), self._limit, f"start: {self._limit}"))

    @property
    def ceiling(self) -> int:
        """The highest limit it may reach; lowering it lowers the limit at once."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, ceiling: int) -> None:
        self._ceiling = _whole("max_concurrency", ceiling)
        if self._limit > ceiling:
            self._change(ceiling, f"ceiling: {ceiling}")

    @property
    def reason(self) -> str:
        """Why the limit is what it is: `429: cut to 16`, `clean round: 40`."""
        return self.history[-1].reason

    def retune(self, limit: int) -> None:
        """Sets `ceiling`."""
        self.ceiling = limit

    def note_success(self) -> None:
        """An LLM call was answered."""
        if self._clock() < self._cool_until:
            return
        self._answers += 1
        if self._answers < self._limit:
            return
        full = self._peak >= 0.8 * self._limit
        self._new_round()
        grown = self._limit + max(1, math.ceil(self._limit * 0.05)) if self._limited else self._limit * 2
        grown = min(grown, self._ceiling)
        if full and grown > self._limit:
            self._change(grown, f"clean round: {grown}")

    def note_rate_limited(self, retry_after: float | None = None) -> None:
        """The server answered 429.

        Args:
            retry_after: Seconds the server asked to wait.
        """
        now = self._clock()
        if now < self._cool_until:
            self._cool_until = max(self._cool_until, now + (retry_after or 0.0))
            return
        self._limited = True
        self._cool_until = now + max(self.COOLDOWN, retry_after or 0.0)
        self._new_round()
        cut = max(1, int(self._limit * 0.8))
        if cut < self._limit:
            self._change(cut, f"429: cut to {cut}")

    def note_server_error(self) -> None:
        """The server answered 5xx: the round starts over, the limit stays."""
        self._new_round()

    def _take(self) -> None:
        super()._take()
        self._peak = max(self._peak, self._in_use)

    def _new_round(self) -> None:
        self._answers = 0
        self._peak = self._in_use

    def _change(self, limit: int, reason: str) -> None:
        self.history.append(LimitChange(_clock.now(), limit, reason))
        self.limit = limit


@dataclass(slots=True, eq=False)
class Charge:
    """What one call takes out of a window, from `acquire` until its window has passed or it is given back."""

    amount: int
    at: float = math.inf
    """Loop time at which the call began."""
    counted: bool = True
    """Still in the window."""


@dataclass(slots=True, eq=False)
class _Waiter:
    amount: int
    place: asyncio.Future[Charge]
    on_wait: OnWait | None


class _Window:
    """A sliding log: what was taken in any `window` seconds never exceeds the budget, as the server counts it.

    The server counts a request when it arrives, we when it starts. Two starts one window apart arrive closer together
    if the first one was slower on its way (a new connection, a busy loop). So a charge is kept for `window + guard`
    seconds: the server's count holds as long as no request takes more than `guard` seconds longer to arrive than
    one started later. With the default of 2 s in 60 this costs 3 % of the rate.
    """

    OPTION = ""

    def __init__(self, per_minute: int, window: float = 60.0, guard: float = 2.0) -> None:
        self._budget = _whole(self.OPTION, per_minute)
        self._span = window + guard
        self._log: deque[Charge] = deque()
        self._used = 0
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def per_minute(self) -> int:
        """The budget of one window."""
        return self._budget

    @property
    def waiting(self) -> int:
        """Waiters in the queue now."""
        return len(self._queue)

    def retune(self, per_minute: int) -> None:
        """Changes the budget: more lets waiters in at once, less holds until enough has left the window."""
        self._budget = _whole(self.OPTION, per_minute)
        self._admit()
        ahead = 0
        for waiter in self._queue:
            if waiter.on_wait is not None and not waiter.place.done():
                waiter.on_wait(self._expected(ahead, waiter.amount))
            ahead += waiter.amount

    def begin(self, charge: Charge) -> None:
        """Starts the window's clock for a charge, right before the call is sent.

        Until then it stays in the window however long that takes: whoever waits for a slot in between does not start
        together with those whose turn comes a minute later.
        """
        charge.at = asyncio.get_running_loop().time()
        self._log.append(charge)
        self._admit()

    def give_back(self, charge: Charge) -> None:
        """Takes the charge of a call that was not sent out of the window."""
        self._settle(charge, 0)

    async def _acquire(self, amount: int, on_wait: OnWait | None) -> Charge:
        loop = asyncio.get_running_loop()
        ahead = sum(w.amount for w in self._queue)
        waiter = _Waiter(amount, loop.create_future(), on_wait)
        self._queue.append(waiter)
        self._admit()
        try:
            if waiter.place.done():
                return waiter.place.result()
            if on_wait is not None:
                on_wait(self._expected(ahead, amount))
            return await waiter.place
        except BaseException:
            if waiter in self._queue:
                self._queue.remove(waiter)
                self._admit()  # it may have been the first, larger than what the next one needs
            elif not waiter.place.cancelled():  # the charge and the cancellation came in the same turn of the loop
                self.give_back(waiter.place.result())
            raise

    def _settle(self, charge: Charge, amount: int) -> None:
        if charge.counted:
            self._used += amount - charge.amount
            charge.amount = amount
            self._admit()

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._log and self._log[0].at + self._span <= now:
            gone = self._log.popleft()
            gone.counted = False
            self._used -= gone.amount
        while self._queue and (self._queue[0].place.done() or self._short(self._queue[0].amount) <= 0):
            waiter = self._queue.popleft()
            if not waiter.place.done():
                charge = Charge(waiter.amount)
                self._used += charge.amount
                waiter.place.set_result(charge)
        due = self._due(self._short(self._queue[0].amount)) if self._queue else math.inf
        if due < math.inf:
            self._timer = loop.call_at(due, self._admit)

    def _short(self, amount: int) -> int:
        """How much must leave the window before `amount` fits."""
        # What is larger than the whole budget goes alone, into an empty window: it would wait for ever otherwise.
        return self._used + min(amount, self._budget) - self._budget

    def _due(self, leaving: int) -> float:
        """Loop time at which `leaving` will have left the window; infinity while that much has not begun."""
        at = asyncio.get_running_loop().time()
        for charge in self._log:
            if leaving <= 0:
                break
            leaving -= charge.amount
            at = charge.at + self._span
        return at if leaving <= 0 else math.inf

    def _expected(self, ahead: int, amount: int) -> float:
        """Unix time at which a waiter behind `ahead` others' amounts should get its own."""
        over = max(0, self._used - self._budget)
        windows, rest = divmod(max(0, self._short(amount) - over + ahead - 1), self._budget)
        wait = min(self._span, self._due(over + rest + 1) - asyncio.get_running_loop().time())
        return _clock.now() + wait + windows * self._span


class RateLimit(_Window):
    """At most `per_minute` starts in any `window` seconds (`max_rpm`), first in, first out.

    Args:
        per_minute: Starts in one window.
        window: Seconds.
        guard: Seconds for which a start is kept beyond the window, so that the server's count holds too.
    """

    OPTION = "max_rpm"

    async def acquire(self, on_wait: OnWait | None = None) -> Charge:
        """Returns when the call may start; `begin` what it returns, or `give_back` if the call is not sent."""
        return await self._acquire(1, on_wait)


class TokenLimit(_Window):
    """At most `per_minute` tokens in any `window` seconds (`max_tpm`), first in, first out.

    An estimate is reserved before the call and replaced by the real count after it. A call larger than the whole
    budget is let through alone, when the window is empty.

    Args:
        per_minute: Tokens in one window.
        window: Seconds.
        guard: Seconds for which tokens are kept beyond the window, so that the server's count holds too.
    """

    OPTION = "max_tpm"

    async def acquire(self, tokens: int, on_wait: OnWait | None = None) -> Charge:
        """Returns when `tokens` are reserved; `begin` and `settle` what it returns, or `give_back`."""
        return await self._acquire(max(0, tokens), on_wait)

    def settle(self, charge: Charge, tokens: int) -> None:
        """Replaces the estimate by the real count, as of the beginning of the call.

        A charge that has left the window meanwhile is not charged again.
        """
        self._settle(charge, tokens)


L = TypeVar("L", bound=_Window | Slots)


class Share(Generic[L]):
    """A batch's part in a limiter of the whole kernel, held for as long as the batch is active."""

    def __init__(
        self, limiter: L, wanted: dict[Share[Any], int], value: int, choose: Callable[[Iterable[int]], int]
    ) -> None:
        self.limiter = limiter
        self._wanted = wanted
        self._choose = choose
        self._wanted[self] = value
        self._agree()

    def retune(self, value: int) -> None:
        """Changes the batch's number; that of a batch that has left holds for nobody."""
        if self in self._wanted:
            self._wanted[self] = value
            self._agree()

    def leave(self) -> None:
        """The batch is over: its number holds no more. A second call does nothing."""
        if self._wanted.pop(self, None) is not None and self._wanted:
            self._agree()

    def _agree(self) -> None:
        self.limiter.retune(self._choose(self._wanted.values()))


_kernel: dict[str, tuple[Any, dict[Share[Any], int]]] = {}


@overload
def shared(kind: Literal["rpm"], value: int) -> Share[RateLimit]: ...
@overload
def shared(kind: Literal["tpm"], value: int) -> Share[TokenLimit]: ...
@overload
def shared(kind: Literal["calls"], value: int) -> Share[Slots]: ...
@overload
def shared(kind: Literal["auto"], value: int = AdaptiveSlots.CEILING) -> Share[AdaptiveSlots]: ...
def shared(kind: str, value: int = AdaptiveSlots.CEILING) -> Share[Any]:
    """Joins the kernel's one limiter of a kind: a provider counts an account's calls, not a batch's.

    There is one limiter per kind in the kernel, made by the first batch that asks and kept from then on, since what a
    finished batch has sent still counts at the server. Every active batch that gave a number passes through it. Of
    their rates the strictest holds for all of them; when that batch leaves, the next strictest does. Of their numbers
    of calls in flight the largest holds for all together, as each batch keeps to its own by itself. A batch that gave
    no number is not limited and not counted: it may well talk to another server.

    Args:
        kind: `rpm` (`max_rpm`), `tpm` (`max_tpm`), `calls` (LLM calls in flight) or `auto` (the same, adaptive).
        value: The batch's number; for `auto` the ceiling.
    """
    made: dict[str, Callable[[int], Any]] = {"rpm": RateLimit, "tpm": TokenLimit, "calls": Slots, "auto": AdaptiveSlots}
    if kind not in _kernel:
        _kernel[kind] = (made[kind](value), {})
    limiter: Any
    limiter, wanted = _kernel[kind]
    return Share(limiter, wanted, value, min if kind in ("rpm", "tpm") else max)


FILES_BESIDE = 100
"""Files that a kernel has open besides connections: sockets, modules, databases."""


def few_files(calls: int) -> str:
    """What keeps so many LLM calls from being in flight over HTTP, in words; empty where nothing does."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or calls + FILES_BESIDE <= limit:
        return ""
    return (
        f"{calls:,} calls may be in flight, and over HTTP each holds a connection, but this process may open only "
        f"{limit:,} files. Write max_concurrency={max(1, limit - FILES_BESIDE)}, or raise the limit (`ulimit -n`)."
    )


def forget_all() -> None:
    """In a forked child: the calls that the limiters count are its parent's."""
    _kernel.clear()


class Budget:
    """What a batch may use up in all (`max_total_tokens`, `max_cost`); reaching it stops new work.

    Calls whose price is unknown count as tokens but not as money: `unpriced_calls` says how many those were.
    """

    def __init__(self, max_total_tokens: int | None = None, max_cost: float | None = None) -> None:
        if max_total_tokens is not None:
            _whole("max_total_tokens", max_total_tokens)
        if max_cost is not None and (isinstance(max_cost, bool) or not max_cost > 0):
            raise OptionError(f"max_cost={max_cost!r} cannot be meant: write US dollars above 0, or None for no limit.")
        self.max_total_tokens = max_total_tokens
        self.max_cost = max_cost
        self.tokens = 0
        self.cost = 0.0
        self.unpriced_calls = 0

    @property
    def is_set(self) -> bool:
        """Whether anything is limited."""
        return self.max_total_tokens is not None or self.max_cost is not None

    def spend(self, tokens: int, cost: float | None) -> None:
        """Counts one answered call; `cost` is None where the price is unknown."""
        self.tokens += tokens
        if cost is None:
            self.unpriced_calls += 1
        else:
            self.cost += cost

    def check(self) -> str:
        """Why no new work may start, in words for people; empty while it may."""
        if self.max_total_tokens is not None and self.tokens >= self.max_total_tokens:
            return f"max_total_tokens={self.max_total_tokens:,} reached: {self.tokens:,} tokens used"
        if self.max_cost is not None and self.cost >= self.max_cost:
            return f"max_cost=${self.max_cost:,.2f} reached: ${self.cost:,.2f} spent"
        return ""


class ErrorLimit:
    """Stops new work at a number of failed runs (`max_errors`); that many is too many, as in pytest's `--maxfail`.

    Args:
        max_errors: A count from 1 up, a fraction of `total` between 0 and 1, or None for no limit.
        total: Runs in the batch.
    """

    def __init__(self, max_errors: float | None, total: int) -> None:
        if isinstance(max_errors, float) and 0 < max_errors < 1:
            self.stops_at: int | None = max(1, math.ceil(max_errors * total - 1e-9))  # 0.1 * 30 is 3.0000000000000004
        elif max_errors is None or (
            isinstance(max_errors, int) and not isinstance(max_errors, bool) and max_errors > 0
        ):
            self.stops_at = max_errors
        else:
            raise OptionError(
                f"max_errors={max_errors!r} cannot be meant: write a count from 1 up, "
                "a fraction such as 0.1, or None for no limit."
            )
        self._option = max_errors
        self._total = total
        self.failed = 0

    def note_failure(self) -> bool:
        """Counts one failed run; True when new work must stop."""
        self.failed += 1
        return self.stops_at is not None and self.failed >= self.stops_at

    def check(self) -> str:
        """Why no new work may start, in words for people; empty while it may."""
        if self.stops_at is None or self.failed < self.stops_at:
            return ""
        return f"max_errors={self._option} reached: {self.failed} of {self._total} runs failed"
