"""`Result`: one run's outcome, and the error that a run without an output raises."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from crew_nb._board import static as _static
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import outputs as _outputs
from crew_nb._engine import failure as _failure
from crew_nb._scores import scoring as _scoring
from crew_nb._state import errors as _errors
from crew_nb._state.errors import CrewNbError, NotFinishedError, RunCancelledError, RunFailedError
from crew_nb._state.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crew_nb._crewai.inputs import Key
    from crew_nb._crewai.names import UsageMetrics
    from crew_nb._scores.sheet import Cell
    from crew_nb._state.state import RunState, Status


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class Result:
    """One run's outcome. It reads like CrewAI's `CrewOutput`; reading the output of a failed run raises its error."""

    state: RunState
    """The whole record of the run."""
    inputs: Mapping[str, Any] | None
    error: BaseException | None
    """The crew's own error, or why it was stopped; None where it is done or goes on."""
    _output: Any
    _unreadable: str = ""
    """Why the output that was kept cannot be read, where it cannot."""
    _secrets: Secrets = dataclasses.field(default_factory=Secrets)
    _key: Key | None = None
    """What the index that came in calls its row."""
    cell: Cell | None = None
    """Where it stands in a sweep: `input`, `variant` and `repeat`."""

    @property
    def index(self) -> int:
        """Its place in the batch, also where it stands in a part of the results."""
        return self.state.index

    @property
    def status(self) -> Status:
        """The run's status word."""
        return self.state.status

    @property
    def output(self) -> Any:
        """What CrewAI itself would have returned: a `CrewOutput`, a `LiteAgentOutput`, or a flow's value.

        Raises:
            RunFailedError: When the run failed or was cancelled; the crew's error is its cause.
            NotFinishedError: When it has not ended yet.
        """
        return _outputs.given(self._whole())

    def _whole(self) -> Any:
        state = self.state
        check_done(state, self.error, "batch", self._secrets)
        if self._output is None:
            why = f"cannot be read ({self._unreadable})" if self._unreadable else "was not kept"
            raise CrewNbError(
                f"the output of run {state.index} ({state.label}) {why}; its text is in `result.state.output`."
            )
        return self._output

    @property
    def flow_state(self) -> Any:
        """The state in which a flow ended: its model, or a dict."""
        return self._whole().state

    @property
    def raw(self) -> str:
        """The text of the output."""
        return _outputs.text(self._whole())

    @property
    def pydantic(self) -> Any:
        """The structured output of the last task, or None."""
        return getattr(self._whole(), "pydantic", None)

    @property
    def json_dict(self) -> dict[str, Any] | None:
        """The structured output of the last task as a dict, or None."""
        return getattr(self._whole(), "json_dict", None)

    @property
    def tasks_output(self) -> list[Any]:
        """CrewAI's output of each task, in the crew's order."""
        return getattr(self._whole(), "tasks_output", [])

    @property
    def token_usage(self) -> UsageMetrics:
        """Tokens and requests that this run alone has spent; known for failed runs too."""
        return _crewai.usage_metrics(self.state.usage)  # type: ignore[no-any-return]

    usage = token_usage

    @property
    def saved(self) -> UsageMetrics:
        """Tokens and requests that it has not spent: what was taken over had taken them when it was run."""
        return _crewai.usage_metrics(self.state.saved)  # type: ignore[no-any-return]

    @property
    def cost(self) -> float | None:
        """US dollars; None where no call had a known price."""
        return self.state.cost

    @property
    def seconds(self) -> float | None:
        """From leaving the queue to the end."""
        state = self.state
        return None if state.started is None or state.finished is None else state.finished - state.started

    @property
    def json(self) -> str | None:
        """The structured output of the last task as JSON, as `CrewOutput.json` gives it."""
        output = self.output
        return output.json if hasattr(output, "tasks_output") else None

    @property
    def usage_metrics(self) -> dict[str, Any]:
        """`token_usage` as a dict."""
        return self.token_usage.model_dump()

    @property
    def tool_failures(self) -> list[Any]:
        """What tools failed at, in all tasks."""
        return getattr(self.output, "tool_failures", [])

    @property
    def has_tool_failures(self) -> bool:
        """Whether a tool failed, though the run may be done."""
        return bool(self.tool_failures)

    def to_dict(self) -> dict[str, Any]:
        """The structured output as a dict, as `CrewOutput.to_dict` gives it."""
        return dict(self._whole().to_dict())

    def __getattr__(self, name: str) -> Any:
        """What else `CrewOutput` has: `model_dump`, say."""
        if name.startswith("_") or not hasattr(_crewai.load().CrewOutput, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(self.output, name)

    def __getitem__(self, key: str) -> Any:
        return self._whole()[key]

    def __str__(self) -> str:
        return _outputs.text(self._whole())

    def __repr__(self) -> str:
        state = self.state
        words = state.error.message if state.error is not None else state.output
        return f"<Result {state.index} ({state.label}): {state.status}{', ' + _short(words) if words else ''}>"

    def _repr_html_(self) -> str:
        return str(_static.results([self._card()]))

    def to_score(self) -> _scoring.Output:
        """It as scores get it."""
        return _scoring.Output(self.state, functools.partial(getattr, self, "output"), self._secrets)

    def _card(self) -> _static.ResultCard:
        state, output = self.state, self._output
        structured = None
        if output is not None:
            structured = self._secrets.scrub_values(_outputs.structured(output)) or None
        return _static.ResultCard(
            index=state.index,
            label=state.label,
            status=state.status,
            raw=state.output,
            structured=structured,
            error=state.error,
            usage=state.usage,
            cost=state.cost,
            seconds=self.seconds,
            offline=state.offline,
        )


def check_done(state: RunState, error: BaseException | None, join: str, secrets: Secrets) -> None:
    """Raise what reading the output of a run that is not done raises; `join` is what to await first."""
    if not state.final:
        raise NotFinishedError(f"run {state.index} ({state.label}) is {state.status}. Write `await {join}` first.")
    if state.status != "done":
        raise failure(state, error, secrets)


def failure(state: RunState, error: BaseException | None, secrets: Secrets) -> RunFailedError:
    """The error that reading the output of such a run raises, with the crew's error, if that is known, as its cause."""
    if _failure.is_a(error, RunFailedError) and _is_of(error, state, secrets):  # type: ignore[arg-type]
        assert isinstance(error, RunFailedError)
        # New each time: a traceback grows wherever its error is raised.
        found = type(error)(state.index, state.label, secrets.scrub(error.reason))
        found.__cause__ = error.__cause__ if error.__traceback__ is None else error
        return found
    told, what = state.error, "for a reason that was not kept"
    if told is not None:  # the error itself is the user's, and may raise when it is looked at
        what = f"{told.type}: {told.message}"
    elif error is not None:
        what = f"{_failure.type_name(error)}: {_failure.said(error)}"
    hint = f" ({told.hint})" if told is not None and told.hint else ""
    kind = RunCancelledError if state.status == "cancelled" else RunFailedError
    found = kind(state.index, state.label, secrets.scrub(f"{state.status}: {what}{hint}"))
    found.__cause__ = error
    return found


def _is_of(error: RunFailedError, state: RunState, secrets: Secrets) -> bool:
    """Whether the error tells of this very run; one of a batch that was started inside it names another."""
    # What has become known as a secret meanwhile is gone from the state only.
    return error.index == state.index and state.label in (error.label, secrets.scrub(error.label))


def as_it_was(state: RunState) -> BaseException | None:
    """The error of a run that was read back: one of ours as it was, of any other what was kept of its words."""
    if state.status not in ("failed", "cancelled"):
        return None
    told = state.error
    kind = getattr(_errors, told.type, None) if told is not None else None
    if told is None or not (isinstance(kind, type) and issubclass(kind, CrewNbError)):
        return failure(state, None, Secrets())
    if not issubclass(kind, RunFailedError):
        return kind(told.message)
    reason = told.message.removeprefix(f"run {state.index} ({state.label}) ")
    # One that names another run came from a batch that was started inside this one.
    return failure(state, None, Secrets()) if reason == told.message else kind(state.index, state.label, reason)


def _short(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
