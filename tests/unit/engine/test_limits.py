"""The limiters on a loop whose time is ours: nothing sleeps, and every interleaving is checked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_nb._engine import limits as _limits
from crew_nb._engine.limits import AdaptiveSlots, Budget, Charge, ErrorLimit, RateLimit, Slots, TokenLimit, shared
from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Coroutine


class VirtualLoop(asyncio.SelectorEventLoop):
    """A real loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jumps = 0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("the loop would wait for ever: a permit was lost")
        if timeout > 0:
            self._loop.jumps += 1
            self._loop.now += timeout + 1e-9
        return super().select(0)


def play(main: Coroutine[Any, Any, Any]) -> Any:
    """Runs `main` on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def begun(limit: Any, *args: Any, **options: Any) -> Charge:
    """A call that starts as soon as it may."""
    charge: Charge = await limit.acquire(*args, **options)
    limit.begin(charge)
    return charge


# --- Slots


async def test_slots_let_in_up_to_the_limit_and_then_in_order() -> None:
    """Nobody beyond the limit gets in, and waiters get in as they came."""
    slots, order = Slots(2), []

    async def hold(name: int) -> None:
        await slots.acquire()
        order.append(name)

    holders = [asyncio.create_task(hold(i)) for i in range(6)]
    await turns()
    assert (order, slots.in_use, slots.waiting) == ([0, 1], 2, 4)
    for expected in range(2, 6):
        slots.release()
        await turns()
        assert order[-1] == expected
        assert slots.in_use == 2
    await asyncio.gather(*holders)


async def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    """A permit that comes back belongs to the first waiter, also against a caller in the same turn of the loop."""
    slots, order = Slots(1), []

    async def hold(name: str) -> None:
        await slots.acquire()
        order.append(name)

    await slots.acquire()
    first = asyncio.create_task(hold("first"))
    await turns()
    slots.release()
    late = asyncio.create_task(hold("late"))
    await turns()
    assert order == ["first"]
    slots.release()
    await asyncio.gather(first, late)


async def test_raising_the_limit_wakes_waiters_at_once_and_lowering_waits_for_permits() -> None:
    """The limit can be moved while permits are held."""
    slots = Slots(1)
    tasks = [asyncio.create_task(slots.acquire()) for _ in range(6)]
    await turns()
    slots.limit = 4
    await turns()
    assert (slots.in_use, slots.waiting) == (4, 2)
    slots.limit = 2
    assert slots.in_use == 4
    slots.release()
    slots.release()
    await turns()
    assert (slots.in_use, slots.waiting) == (2, 2)
    slots.release()
    await turns()
    assert (slots.in_use, slots.waiting) == (2, 1)
    slots.release()
    await asyncio.gather(*tasks)


async def test_a_permit_handed_to_a_waiter_that_is_cancelled_in_the_same_turn_goes_on() -> None:
    """Grant and cancellation together: the permit reaches the next waiter."""
    slots = Slots(1)
    await slots.acquire()
    doomed, next_one = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await turns()
    slots.release()
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    await next_one
    assert (slots.in_use, slots.waiting) == (1, 0)


async def test_a_cancelled_waiter_is_passed_over_in_the_same_turn() -> None:
    """Cancellation and then release together: the permit does not go to the cancelled one."""
    slots = Slots(1)
    await slots.acquire()
    doomed, next_one = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await turns()
    doomed.cancel()
    slots.release()
    await next_one
    with pytest.raises(asyncio.CancelledError):
        await doomed
    assert (slots.in_use, slots.waiting) == (1, 0)


def test_a_release_without_a_permit_is_refused() -> None:
    """A permit cannot be made out of nothing."""
    with pytest.raises(RuntimeError, match="nobody holds"):
        Slots(1).release()


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "4"])
def test_a_limit_that_cannot_be_meant_is_refused(limit: Any) -> None:
    """The message says what to write."""
    with pytest.raises(OptionError, match="whole number from 1 up"):
        Slots(limit)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 5), workers=st.integers(1, 25))
def test_permits_are_never_lost_or_doubled_under_random_cancellation(seed: int, limit: int, workers: int) -> None:
    """Whatever is cancelled, released and retuned when: never too many inside, in order, and all permits back."""
    rng = random.Random(seed)
    slots = Slots(limit)
    inside = 0
    waiting: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def worker(name: int) -> None:
        nonlocal inside
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        waiting.append(name)
        try:
            await slots.acquire()
            earlier = [n for n in waiting[: waiting.index(name)] if not tasks[n].cancelling()]
        finally:
            waiting.remove(name)
        inside += 1
        assert inside <= highest
        assert len(earlier) <= slots.in_use - inside  # they hold a permit too, and resume in this turn
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            inside -= 1
            slots.release()

    async def main() -> None:
        nonlocal highest
        tasks.extend(asyncio.create_task(worker(i)) for i in range(workers))
        for _ in range(workers):
            for task in rng.sample(tasks, k=min(2, workers)):
                if rng.random() < 0.3:
                    task.cancel()
            if rng.random() < 0.2:
                slots.limit = rng.randint(1, 5)
                highest = max(highest, slots.limit)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(t.cancelled() or t.exception() is None for t in tasks)

    highest = limit
    play(main())
    assert (slots.in_use, slots.waiting, inside) == (0, 0, 0)


# --- AdaptiveSlots


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def clean_round(slots: AdaptiveSlots, share: float = 1.0) -> None:
    """One round of answers with `share` of the limit in flight."""
    limit = slots.limit
    held = round(share * limit)
    for _ in range(held):
        await slots.acquire()
    for _ in range(limit):
        slots.note_success()
    for _ in range(held):
        slots.release()


async def test_auto_doubles_until_the_first_429_and_then_creeps() -> None:
    """20, 40, 80; a 429 cuts to 64; after the cooldown 5 % a round, never above the ceiling."""
    clock = Clock()
    slots = AdaptiveSlots(clock=clock)
    seen = [slots.limit]
    for _ in range(2):
        await clean_round(slots)
        seen.append(slots.limit)
    slots.note_rate_limited()
    seen.append(slots.limit)
    assert slots.reason == "429: cut to 64"
    clock.now += 15
    for _ in range(12):
        await clean_round(slots)
        seen.append(slots.limit)
    assert seen == [20, 40, 80, 64, 68, 72, 76, 80, 84, 89, 94, 99, 100, 100, 100, 100]
    assert slots.reason == "clean round: 100"
    assert [c.limit for c in slots.history] == [20, 40, 80, 64, 68, 72, 76, 80, 84, 89, 94, 99, 100]


async def test_auto_cuts_once_per_cooldown_and_ignores_answers_within_it() -> None:
    """A burst of 429s is one piece of news; answers on their way meanwhile are none."""
    clock = Clock()
    slots = AdaptiveSlots(clock=clock)
    for _ in range(30):
        slots.note_rate_limited()
    assert slots.limit == 16
    clock.now += 14.9
    await clean_round(slots)
    assert slots.limit == 16
    clock.now += 0.1
    slots.note_rate_limited()
    assert slots.limit == 12


async def test_auto_cools_down_for_as_long_as_the_server_asks() -> None:
    """Retry-After beyond 15 s lengthens the cooldown, also when it comes with a later 429 of the same burst."""
    clock = Clock()
    slots = AdaptiveSlots(clock=clock)
    slots.note_rate_limited(retry_after=20)
    clock.now += 10
    slots.note_rate_limited(retry_after=50)
    clock.now += 49
    await clean_round(slots)
    slots.note_rate_limited()
    assert slots.limit == 16
    clock.now += 2
    await clean_round(slots)
    assert slots.limit == 17


async def test_auto_grows_only_when_the_limit_was_used() -> None:
    """Answers at 75 % of the limit say nothing about more; at 80 % they do."""
    slots = AdaptiveSlots()
    for _ in range(5):
        await clean_round(slots, share=0.75)
    assert slots.limit == 20
    await clean_round(slots, share=0.8)
    await clean_round(slots, share=0.8)
    assert slots.limit > 20


async def test_auto_does_not_cut_for_a_5xx_but_starts_the_round_over() -> None:
    """A server in trouble is not a limit, and not a reason to grow."""
    slots = AdaptiveSlots()
    for _ in range(20):
        await slots.acquire()
    for _ in range(19):
        slots.note_success()
    slots.note_server_error()
    for _ in range(19):
        slots.note_success()
    assert slots.limit == 20
    slots.note_success()
    assert slots.limit == 40


async def test_auto_has_a_floor_a_ceiling_and_a_bounded_history() -> None:
    """It never falls below 1 and the ceiling can be moved while it runs."""
    clock = Clock()
    slots = AdaptiveSlots(ceiling=30, clock=clock)
    await clean_round(slots)
    assert slots.limit == 30
    slots.ceiling = 5
    assert (slots.limit, slots.reason) == (5, "ceiling: 5")
    for _ in range(10):
        slots.note_rate_limited()
        clock.now += 15
    assert slots.limit == 1
    slots.ceiling = 100
    for _ in range(300):
        await clean_round(slots)
        slots.note_rate_limited()
        clock.now += 15
    assert len(slots.history) == 200
    assert all(1 <= c.limit <= 100 for c in slots.history)


def test_auto_starts_no_higher_than_its_ceiling() -> None:
    """A class that shares one key can start low."""
    assert AdaptiveSlots(ceiling=4).limit == 4


async def test_auto_growth_wakes_waiters() -> None:
    """A clean round lets those in who wait, without a permit coming back."""
    slots = AdaptiveSlots()
    tasks = [asyncio.create_task(slots.acquire()) for _ in range(50)]
    await turns()
    for _ in range(20):
        slots.note_success()
    await turns()
    assert (slots.in_use, slots.waiting) == (40, 10)
    for _ in range(50):
        slots.release()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


# --- RateLimit


def most_in_a_window(starts: list[float], window: float) -> int:
    return max((sum(1 for t in starts if s <= t < s + window) for s in starts), default=0)


def test_no_window_holds_more_than_the_limit_and_the_rate_is_used() -> None:
    """50 calls at 10 a minute: 10 in any minute, in order, as fast as that allows, on one timer."""
    starts: list[tuple[float, int]] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        limit = RateLimit(10, guard=0.0)

        async def call(name: int) -> None:
            await begun(limit)
            starts.append((loop.time(), name))

        await asyncio.gather(*(call(i) for i in range(50)))
        assert limit.waiting == 0
        return loop.jumps

    jumps = play(main())
    assert [name for _, name in starts] == list(range(50))
    assert most_in_a_window([at for at, _ in starts], 60) == 10
    assert starts[-1][0] == pytest.approx(240)
    assert jumps == 4


def test_the_guard_keeps_the_servers_count_when_requests_are_slow_on_their_way() -> None:
    """Requests that need up to 2 s to arrive still come at most 10 a minute; without the guard they would not."""

    def arrivals(guard: float) -> list[float]:
        seen: list[float] = []
        rng = random.Random(4)

        async def main() -> None:
            limit = RateLimit(10, guard=guard)

            async def call() -> None:
                await begun(limit)
                await asyncio.sleep(rng.uniform(0, 2))
                seen.append(asyncio.get_running_loop().time())

            await asyncio.gather(*(call() for _ in range(80)))

        play(main())
        return seen

    assert most_in_a_window(arrivals(2.0), 60) == 10
    assert most_in_a_window(arrivals(0.0), 60) > 10


def test_a_waiter_is_told_when_its_wait_ends() -> None:
    """The first to wait, one of the next window, and all again when the limit is changed."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        limit = RateLimit(2, window=60, guard=0)
        told: dict[int, list[float]] = {}
        offset = _limits.time.time() - loop.time()

        async def call(name: int) -> float:
            await begun(limit, on_wait=lambda until: told.setdefault(name, []).append(until - offset))
            return loop.time()

        await call(-1)
        await asyncio.sleep(10)
        await call(-2)
        await asyncio.sleep(10)
        offset = _limits.time.time() - loop.time()
        calls = [asyncio.create_task(call(i)) for i in range(4)]
        await turns()
        assert [round(told[i][0]) for i in range(4)] == [60, 70, 120, 130]
        assert -1 not in told
        limit.retune(1)
        assert [round(told[i][1]) for i in range(4)] == [70, 130, 190, 250]
        assert [round(at) for at in await asyncio.gather(*calls)] == [70, 130, 190, 250]

    play(main())


def test_a_raised_limit_lets_waiters_in_at_once() -> None:
    """`retune` upwards does not wait for the window."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(1)
        calls = [asyncio.create_task(begun(limit)) for _ in range(5)]
        await turns()
        assert limit.waiting == 4
        limit.retune(5)
        await asyncio.gather(*calls)
        assert loop.time() == 0.0

    play(main())


def test_a_call_that_was_not_sent_gives_its_place_back() -> None:
    """`give_back` and a cancellation in the turn of the grant both free the window."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(1)
        held = await begun(limit)
        doomed, third = asyncio.create_task(begun(limit)), asyncio.create_task(begun(limit))
        await turns()
        limit.give_back(held)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        await third
        assert loop.time() == 0.0

    play(main())


def test_the_window_counts_from_the_moment_the_call_is_sent() -> None:
    """Calls that wait for a slot after their turn had come do not start together with the next window's."""
    starts: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit, slots = RateLimit(4, guard=0), Slots(1)

        async def call(seconds: float) -> None:
            charge = await limit.acquire()
            await slots.acquire()
            limit.begin(charge)
            starts.append(loop.time())
            await asyncio.sleep(seconds)
            slots.release()

        await asyncio.gather(*(call(59 if i == 0 else 0.1) for i in range(12)))
        assert (limit.waiting, slots.in_use) == (0, 0)

    play(main())
    assert len(starts) == 12
    assert most_in_a_window(starts, 60) == 4


def test_an_error_in_on_wait_leaves_no_waiter_behind() -> None:
    """The queue goes on behind a caller whose callback raised."""

    async def main() -> None:
        limit = RateLimit(1)
        await begun(limit)

        def broken(until: float) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await begun(limit, on_wait=broken)
        assert limit.waiting == 0
        await begun(limit)

    play(main())


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    per_minute=st.integers(1, 6),
    pauses=st.lists(st.floats(0, 90), min_size=1, max_size=40),
)
def test_never_more_than_the_limit_in_any_window_under_random_cancellation(
    seed: int, per_minute: int, pauses: list[float]
) -> None:
    """Whoever comes, goes or is cancelled when: the window holds, the order holds, and nobody waits for ever."""
    rng = random.Random(seed)
    starts: list[float] = []
    entered: dict[int, float] = {}
    gave_back: set[int] = set()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(per_minute, guard=0.0)

        async def call(name: int) -> None:
            charge = await begun(limit)
            if rng.random() < 0.1:
                gave_back.add(name)
                limit.give_back(charge)
                return
            entered[name] = charge.at
            starts.append(loop.time())

        tasks = []
        for name, pause in enumerate(pauses):
            tasks.append(asyncio.create_task(call(name)))
            if rng.random() < 0.3:
                rng.choice(tasks).cancel()
            if rng.random() < 0.6:
                await asyncio.sleep(pause)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == 0
        assert len(entered) == sum(not t.cancelled() for t in tasks) - len(gave_back)

    play(main())
    assert most_in_a_window(starts, 60) <= per_minute
    assert [at for _, at in sorted(entered.items())] == sorted(entered.values())


# --- TokenLimit


def test_tokens_are_reserved_and_settled() -> None:
    """What a call did not use is free at once; what it used beyond the estimate is charged."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = TokenLimit(100, guard=0)
        first = await begun(limit, 80)
        second = asyncio.create_task(begun(limit, 50))
        await turns()
        assert limit.waiting == 1
        limit.settle(first, 40)
        charge = await second
        assert loop.time() == 0.0
        limit.settle(charge, 60)
        third = asyncio.create_task(begun(limit, 1))
        await turns()
        assert limit.waiting == 1
        await third
        assert loop.time() == pytest.approx(60)

    play(main())


def test_a_call_larger_than_the_budget_goes_alone() -> None:
    """It waits for an empty window, not for ever, and those behind it wait until it has left the window."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = TokenLimit(100, guard=0)
        await begun(limit, 10)
        await asyncio.sleep(5)
        huge, small = asyncio.create_task(begun(limit, 250)), asyncio.create_task(begun(limit, 1))
        await huge
        assert loop.time() == pytest.approx(60)
        assert not small.done()
        await small
        assert loop.time() == pytest.approx(120)

    play(main())


def test_cancelling_a_large_waiter_lets_the_small_ones_behind_it_in() -> None:
    """The first of the queue may have been the only one that did not fit."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = TokenLimit(100)
        await begun(limit, 60)
        large, small = asyncio.create_task(begun(limit, 90)), asyncio.create_task(begun(limit, 20))
        await turns()
        assert limit.waiting == 2
        large.cancel()
        await small
        assert loop.time() == 0.0

    play(main())


def test_settling_after_the_window_changes_nothing() -> None:
    """A call that took longer than a minute is not charged twice."""

    async def main() -> None:
        limit = TokenLimit(100, guard=0)
        long_call = await begun(limit, 100)
        await asyncio.sleep(61)
        fresh = await begun(limit, 100)
        limit.settle(long_call, 0)
        waiting = asyncio.create_task(begun(limit, 1))
        await turns()
        assert limit.waiting == 1
        limit.give_back(fresh)
        await waiting

    play(main())


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    calls=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=30),
)
def test_never_more_tokens_than_the_budget_in_any_window(seed: int, calls: list[tuple[int, int]]) -> None:
    """With estimates at or above the real counts the budget holds in every window, whatever is cancelled."""
    rng = random.Random(seed)
    charged: list[tuple[float, Charge]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = TokenLimit(100, guard=0)

        async def call(real: int, more: int) -> None:
            charge = await begun(limit, min(100, real + more))
            charged.append((loop.time(), charge))
            real_now = charge.amount
            try:
                await asyncio.sleep(rng.uniform(0, 30))
                real_now = min(real, charge.amount)
            finally:
                limit.settle(charge, real_now)

        tasks = []
        for real, more in calls:
            tasks.append(asyncio.create_task(call(real, more)))
            await asyncio.sleep(rng.choice([0, 0, 10, 40]))
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == 0

    play(main())
    for start, _ in charged:
        assert sum(c.amount for at, c in charged if start <= at < start + 60) <= 100


# --- shared


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_limits, "_kernel", {})


@pytest.mark.usefixtures("kernel")
def test_two_batches_share_one_limiter() -> None:
    """The same number twice is one limit of that number, and what a finished batch sent still counts."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = shared("rpm", 2), shared("rpm", 2)
        assert a.limiter is b.limiter
        await begun(a.limiter)
        await begun(b.limiter)
        a.leave()
        b.leave()
        c = shared("rpm", 2)
        await begun(c.limiter)
        assert loop.time() == pytest.approx(62)

    play(main())


@pytest.mark.usefixtures("kernel")
def test_the_strictest_active_number_holds() -> None:
    """A stricter batch slows the others while it is active, and no longer."""
    loose = shared("rpm", 120)
    strict = shared("rpm", 30)
    assert loose.limiter.per_minute == 30
    strict.leave()
    strict.leave()
    assert loose.limiter.per_minute == 120
    assert shared("tpm", 7).limiter.per_minute == 7
    assert loose.limiter.per_minute == 120


@pytest.mark.usefixtures("kernel")
def test_a_batch_that_leaves_lets_the_others_waiters_in() -> None:
    """The looser number holds at once."""

    async def main() -> None:
        strict, loose = shared("rpm", 1), shared("rpm", 3)
        tasks = [asyncio.create_task(begun(loose.limiter)) for _ in range(3)]
        await turns()
        assert loose.limiter.waiting == 2
        strict.leave()
        await asyncio.gather(*tasks)
        assert asyncio.get_running_loop().time() == 0.0

    play(main())


@pytest.mark.usefixtures("kernel")
async def test_of_calls_in_flight_the_largest_number_holds() -> None:
    """A small batch does not hold back a large one, as each keeps to its own number; who has left says nothing."""
    small, large = shared("calls", 1), shared("calls", 3)
    assert small.limiter is large.limiter
    assert small.limiter.limit == 3
    large.retune(5)
    assert small.limiter.limit == 5
    large.leave()
    large.retune(9)
    assert small.limiter.limit == 1


@pytest.mark.usefixtures("kernel")
def test_auto_is_shared_and_remembers() -> None:
    """What one batch has learnt about the provider, the next one knows."""
    first = shared("auto", 8)
    assert (first.limiter.ceiling, first.limiter.limit) == (8, 8)
    second = shared("auto")
    assert (first.limiter.ceiling, first.limiter.limit) == (100, 8)
    first.limiter.note_rate_limited()
    first.leave()
    second.leave()
    assert shared("auto").limiter.limit == 6


# --- budgets


def test_a_budget_says_what_was_reached() -> None:
    """It stops at the limit, not one call later, and says both numbers."""
    budget = Budget(max_total_tokens=10_000, max_cost=0.5)
    budget.spend(9_999, 0.25)
    assert budget.check() == ""
    budget.spend(1, None)
    assert budget.check() == "max_total_tokens=10,000 reached: 10,000 tokens used"
    assert budget.unpriced_calls == 1
    money = Budget(max_cost=0.5)
    money.spend(10**9, None)
    assert money.check() == ""
    money.spend(0, 0.52)
    assert money.check() == "max_cost=$0.50 reached: $0.52 spent"
    endless = Budget()
    endless.spend(10**9, 10**6)
    assert endless.check() == ""


@pytest.mark.parametrize("wrong", [{"max_cost": 0}, {"max_cost": -1.0}, {"max_total_tokens": 0}, {"max_cost": True}])
def test_a_budget_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """Zero is no budget."""
    with pytest.raises(OptionError, match="cannot be meant"):
        Budget(**wrong)


@pytest.mark.parametrize(
    ("max_errors", "total", "stops_at"), [(1, 10, 1), (3, 10, 3), (0.1, 30, 3), (0.1, 31, 4), (0.5, 1, 1), (0.01, 5, 1)]
)
def test_the_error_limit_stops_at_a_count_or_a_fraction(max_errors: float, total: int, stops_at: int) -> None:
    """That many failed runs stop new work."""
    limit = ErrorLimit(max_errors, total)
    assert [limit.note_failure() for _ in range(stops_at)] == [False] * (stops_at - 1) + [True]
    assert limit.check() == f"max_errors={max_errors} reached: {stops_at} of {total} runs failed"


def test_no_error_limit_never_stops() -> None:
    """None is no limit."""
    limit = ErrorLimit(None, 3)
    assert not any(limit.note_failure() for _ in range(100))
    assert limit.check() == ""


@pytest.mark.parametrize("wrong", [0, -1, 1.0, 1.5, 0.0, True, float("nan"), "3"])
def test_an_error_limit_that_cannot_be_meant_is_refused(wrong: Any) -> None:
    """The message says what to write."""
    with pytest.raises(OptionError, match="a count from 1 up"):
        ErrorLimit(wrong, 10)


def test_the_engines_loop_is_real() -> None:
    """On a loop with real time the limiter waits and goes on."""

    async def main() -> None:
        limit = RateLimit(1, window=0.01, guard=0.0)
        async with asyncio.timeout(5):
            for _ in range(3):
                await begun(limit)

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(main())
