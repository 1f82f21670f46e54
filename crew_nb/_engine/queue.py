"""A batch's runs that wait for a place: nothing is made for any of them until it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from crew_nb._engine.limits import Slots


class Queue:
    """Ten thousand of them cost one task, and none that is cancelled here costs any."""

    def __init__(
        self,
        begin: Callable[[int], object],
        beside: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """`begin` starts a run that has a place, `beside` a coroutine that belongs to no run."""
        self._begin = begin
        self._beside = beside
        self._waiting: dict[int, None] = {}
        self._starter: asyncio.Task[None] | None = None

    def __contains__(self, index: int) -> bool:
        return index in self._waiting

    def __iter__(self) -> Iterator[int]:
        return iter(self._waiting)

    def put(self, index: int) -> None:
        """It waits, after those that do."""
        self._waiting[index] = None

    def give_places(self, slots: Slots) -> None:
        """Begin them in their turn, as there are places."""
        if self._waiting and self._starter is None:
            self._starter = self._beside(self._start_in_turn(slots))

    def take_out(self, places: Iterable[int]) -> None:
        """Those wait no longer, and do not begin."""
        for place in places:
            del self._waiting[place]
        if not self._waiting and self._starter is not None:
            self._starter.cancel()
            self._starter = None

    async def _start_in_turn(self, slots: Slots) -> None:
        while self._waiting:
            await slots.acquire()
            index = next(iter(self._waiting))
            del self._waiting[index]
            self._begin(index)
        self._starter = None
