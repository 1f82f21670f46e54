"""`Run`: the handle of one kickoff."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._crewai import outputs as _outputs
from crew_nb._crewai.inputs import Copies
from crew_nb._handles.result import check_done

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from crew_nb._crewai.names import UsageMetrics
    from crew_nb._handles.batch import Batch
    from crew_nb._state.state import RunState, Status, TaskState


class Run:
    """One kickoff of one crew with one set of inputs; its work has already begun.

    `await run` gives CrewAI's own `CrewOutput`, from any loop; `run.wait()` does the same in plain code.
    """

    def __init__(self, batch: Batch, index: int, inputs: Mapping[str, Any] | None) -> None:
        self._batch = batch
        self.index = index
        """Its row in the batch."""
        self._inputs = inputs

    @property
    def batch(self) -> Batch:
        """The batch that it belongs to, which has its board: of `kickoff`, a batch of one."""
        return self._batch

    @property
    def state(self) -> RunState:
        """The whole record, as it is now; never changes once read."""
        return self._batch._driver.states[self.index]

    @cached_property
    def inputs(self) -> Mapping[str, Any] | None:
        """The inputs as they were given; a copy, so that what is done to it changes no run."""
        return None if self._inputs is None else {name: Copies().of(value) for name, value in self._inputs.items()}

    @property
    def status(self) -> Status:
        """`queued`, `running`, `waiting`, `done`, `failed`, `cancelling` or `cancelled`."""
        return self.state.status

    @property
    def tasks(self) -> tuple[TaskState, ...]:
        """The state of each of its crew's tasks, in the crew's order; empty until the crew is built."""
        return self.state.tasks

    @property
    def usage(self) -> UsageMetrics:
        """Tokens and requests that this run alone has spent, in all its tries; `saved` are those it has not."""
        return _crewai.usage_metrics(self.state.usage)  # type: ignore[no-any-return]

    @property
    def saved(self) -> UsageMetrics:
        """Tokens and requests that were not spent: what was taken over had taken them when it was run."""
        return _crewai.usage_metrics(self.state.saved)  # type: ignore[no-any-return]

    @property
    def started(self) -> float | None:
        """When it left the queue, in Unix seconds."""
        return self.state.started

    @property
    def finished(self) -> float | None:
        """When it ended, in Unix seconds."""
        return self.state.finished

    @property
    def error(self) -> BaseException | None:
        """The crew's own error with its traceback, or why it was stopped; None while it runs and when it is done."""
        return self._batch._driver.errors[self.index] if self.state.final else None

    @property
    def output(self) -> Any:
        """What CrewAI itself would have returned: a `CrewOutput`, a `LiteAgentOutput`, or a flow's value.

        Raises:
            RunFailedError: When the run failed or was cancelled; the crew's error is its cause.
            NotFinishedError: When it has not ended yet.
        """
        check_done(self.state, self.error, "run", self._batch._driver.hiding.of(self.index))
        output = self._batch._driver.outputs[self.index]
        return _outputs.given(output)

    def cancel(self) -> None:
        """Stop it: no LLM or tool call starts from now on. Returns at once; the run ends within 2 seconds."""
        self._batch.cancel(self.index)

    def retry(self, *, restart: bool = False) -> Run:
        """Run it again in its row, if it failed or was cancelled; `await` it for the new outcome.

        It goes on where it ended: tasks of a crew that were done keep their outputs, and ask nothing again.

        Args:
            restart: Whether all of it is run again.
        """
        self._batch._driver.retry([self.index], restart)
        return self

    def wait(self, timeout: float | None = None) -> Any:
        """The output, in plain code: blocks this thread until the run has ended.

        Args:
            timeout: Seconds to wait; the run goes on if they pass.

        Raises:
            RunFailedError: When the run failed or was cancelled.
            TimeoutError: When `timeout` passed first.
        """
        self._batch._block(timeout, self.index)
        return self.output

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._batch._join(self.index).__await__()
        return self.output

    def _display_(self) -> Any:
        return self._batch._display_()

    def __repr__(self) -> str:
        return f"<Run {self.index} ({self.state.label}): {self.status}>"
