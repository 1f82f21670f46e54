"""`Aside`: LLM calls that belong to no run, a judge's say, through a gate with the limits and the budget of a batch."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import asking as _asking
from crew_nb._crewai import listen as _listen
from crew_nb._crewai import names as _crewai
from crew_nb._engine import failure as _failure
from crew_nb._engine import prices as _prices
from crew_nb._engine.calls import Gate
from crew_nb._engine.engine import engine
from crew_nb._state import attempt as _attempt
from crew_nb._state import events as ev
from crew_nb._state.attempt import Attempt
from crew_nb._state.options import Options
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from crew_nb._engine.traces import BatchTraces
    from crew_nb._state.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question."""

    answer: Any
    error: BaseException | None
    usage: Usage
    cost: float | None
    """US dollars; None where the price is unknown."""


class Aside:
    """The way to LLMs for what is no run.

    Args:
        options: Their limits, and the budget, where no batch has spent of it.
        before: Gives the gate of the batch that is meant, whose budget is theirs too; None where there is none.
        traces: The spans of that batch.
    """

    def __init__(
        self,
        options: Options | None = None,
        before: Callable[[], Gate | None] = lambda: None,
        traces: BatchTraces | None = None,
    ) -> None:
        self.options = options or Options()
        self.traces = traces
        self._before = before
        self._gate: Gate | None = None

    async def ask(self, llm: Any, messages: list[dict[str, str]], form: Any, secrets: Secrets) -> Answered:
        """The answer, or the error; from any loop. Giving up the wait lets no further call start."""
        return await asyncio.wrap_future(engine.submit(self._ask(llm, messages, form, secrets)))

    def close(self) -> None:
        """No question comes any more; its limits hold no longer."""
        gate, self._gate = self._gate, None
        if gate is not None:
            engine.call(gate.close)

    async def _ask(self, llm: Any, messages: list[dict[str, str]], form: Any, secrets: Secrets) -> Answered:
        await engine.prepare()
        if self._gate is None:
            self._gate = Gate(self.options, before=self._before())
        gate = self._gate
        posted: list[ev.Event] = []
        attempt = Attempt(0, posted.append, gate, secrets=secrets)
        context = contextvars.Context()

        def work() -> Any:
            _attempt.current.set(attempt)
            _crewai.silence()
            _crewai.listen(_listen.Listener(attempt, _prices.price))
            return _asking.ask(_asking.llm_of(llm), messages, form)

        answer: Any = None
        error: BaseException | None = None
        try:
            answer = await asyncio.get_running_loop().run_in_executor(None, context.run, work)
        except asyncio.CancelledError:
            attempt.stop_reason = "stopped"
            gate.hang_up(attempt)
            raise
        except Exception as raised:
            error = _failure.cause(raised)
        finally:
            gate.abandon(attempt)
            ends = [each for each in posted if isinstance(each, ev.CallFinished | ev.CallFailed)]
            for end in ends:
                gate.budget.spend(end.usage.total_tokens, end.cost)
            if self.traces is not None:
                self.traces.aside(posted)
        costs = [end.cost for end in ends]
        cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        return Answered(answer, error, sum((end.usage for end in ends), Usage()), cost)
