"""`Results`: the joined outcomes, a sequence in input order."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from crew_nb._board import static as _static
from crew_nb._board import text as _text
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import outputs as _outputs
from crew_nb._engine import failure as _failure
from crew_nb._engine.aside import Aside
from crew_nb._handles import report as _report
from crew_nb._handles import rows as _rows
from crew_nb._record import file as _file
from crew_nb._scores import scoring as _scoring
from crew_nb._scores.sheet import Sheet
from crew_nb._state import errors as _errors
from crew_nb._state import loop as _loop
from crew_nb._state.errors import CrewNbError, NotFinishedError, OptionError, RunCancelledError, RunFailedError
from crew_nb._state.html import el
from crew_nb._state.plain import plain
from crew_nb._state.secrets import Secrets, learn_environment, together
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pandas as pd

    from crew_nb._crewai.inputs import Key
    from crew_nb._crewai.names import CrewOutput, UsageMetrics
    from crew_nb._record.loaded import LoadedBatch
    from crew_nb._scores.judge import Scale
    from crew_nb._scores.rating import Rating
    from crew_nb._scores.sheet import Cell, Score
    from crew_nb._scores.tables import Plot, Table
    from crew_nb._state.events import Event
    from crew_nb._state.state import BatchState, RunState, Status

EXAMPLES = 3
"""Best, worst and failed runs that a report shows, of each."""
SHEET = "sheet"
"""What the record calls the cells and scores of a batch."""

Level = Literal["runs", "tasks", "calls", "events"]


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
        return _static.results([self._card()])

    def to_score(self) -> _scoring.Output:
        """It as scores get it."""
        return _scoring.Output(self.state, functools.partial(getattr, self, "output"), self._secrets)

    def _said_in_all(self, results: Results) -> str:
        """Its output or its error, and its scores, as one text."""
        state, (values, _) = self.state, results._sheet.of(self.state)
        told = state.output if state.error is None else f"{state.status}: {state.error.type}: {state.error.message}"
        return "\n".join([told, *(f"{name}: {value}" for name, value in values.items())])

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


def _as_it_was(state: RunState) -> BaseException | None:
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


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Two outputs, word by word; draws itself in a cell."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Results(Sequence[Result]):
    """The outcomes of a batch, in input order.

    `results[i].raw` is the text of run i. A run that failed keeps its place; reading its output raises its error.
    """

    def __init__(
        self,
        state: BatchState,
        items: Iterable[Result],
        events: Sequence[Event] = (),
        sheet: Sheet | None = None,
        aside: Aside | None = None,
        keep: Callable[[], object] = lambda: None,
    ) -> None:
        self.state = state
        """The snapshot that they were taken from."""
        self._items = tuple(items)
        self._sheet = Sheet.of_rows([item.inputs for item in self._items]) if sheet is None else sheet
        self._events = events
        self._aside = aside or Aside()
        self._keep = keep

    @classmethod
    def loaded(cls, batch: LoadedBatch) -> Results:
        """A batch that was read back from the record or a file."""
        items = []
        for state, stored in zip(batch.state.runs, batch.runs, strict=True):
            output, unreadable = None, ""
            try:
                if stored is not None and stored.tree is not None:
                    output = _outputs.decode(stored.tree)
            except Exception as error:  # one that is damaged, or of another version, must not cost the others
                unreadable = f"{type(error).__name__}: {_failure.said(error)}"
            inputs = stored.inputs if stored is not None else None
            items.append(Result(state, inputs, _as_it_was(state), output, unreadable))
        rows = {item.index: item.inputs for item in items}
        said = {run.state.index: run.scores for run in batch.runs if run is not None}
        sheet = Sheet.of_kept(batch.meta.get(SHEET, {}), rows, said) or Sheet.of_kept({}, rows, said)
        if sheet is not None and batch.put_score is not None:
            sheet.keep = batch.put_score
        if sheet is not None and sheet.factors:
            items = [dataclasses.replace(item, cell=sheet.cells[item.index]) for item in items]
            items = [dataclasses.replace(item, _key=item.cell.key) for item in items if item.cell is not None]
        return cls(batch.state, items, tuple(batch.events), sheet)

    def __dir__(self) -> list[str]:
        """What users are to use."""
        hidden = ("loaded", "state")
        return [name for name in super().__dir__() if name not in hidden and (name[0] != "_" or name[1] == "_")]

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Everything that happened in these runs, in order."""
        runs = {item.index for item in self._items}
        return tuple(event for event in self._events if event.run in runs)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: int | slice) -> Result | Results:
        if isinstance(place, slice):
            items = self._items[place]
            state = dataclasses.replace(self.state, runs=tuple(item.state for item in items))
            return Results(state, items, self._events, self._sheet, self._aside, self._keep)
        return self._items[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._items)

    @property
    def outputs(self) -> list[CrewOutput]:
        """CrewAI's outputs of the runs that are done, in input order."""
        return [item.output for item in self._items if item.status == "done"]

    @property
    def errors(self) -> list[RunFailedError]:
        """The errors of the runs that failed or were cancelled; each has its `index`, and the crew's error as cause."""
        return [
            failure(item.state, item.error, item._secrets)
            for item in self._items
            if item.status in ("failed", "cancelled")
        ]

    @property
    def usage(self) -> UsageMetrics:
        """Tokens and requests that all runs together have spent, failed ones too."""
        total = sum((item.state.usage for item in self._items), Usage())
        return _crewai.usage_metrics(total)  # type: ignore[no-any-return]

    @property
    def saved(self) -> UsageMetrics:
        """Those that were not spent, as what was taken over had taken them when it was run."""
        total = sum((item.state.saved for item in self._items), Usage())
        return _crewai.usage_metrics(total)  # type: ignore[no-any-return]

    @property
    def cost(self) -> float | None:
        """US dollars of all runs together; None where no call had a known price."""
        costs = [item.cost for item in self._items if item.cost is not None]
        return sum(costs) if costs else None

    def raise_for_errors(self) -> Results:
        """These results, if every run is done.

        Raises:
            ExceptionGroup: Of the errors of the runs that failed or were cancelled.
        """
        errors = self.errors
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} runs have no output", errors)
        return self

    def table(self) -> list[dict[str, Any]]:
        """The rows of `to_frame()` as dicts, without pandas; the board's downloads hold them, too."""
        found = ((item.state, item.inputs, item._output, item._secrets) for item in self._items)
        return _rows.runs(found, self._sheet)

    def to_frame(self, level: Level = "runs") -> pd.DataFrame:
        """A pandas DataFrame: a row per run, task, call or event.

        Of runs: a column `inputs.<name>` for each input, whole; the text of each task but the last as `<task>.raw`;
        the fields of each task's structured output as `<task>.<field>`, the last task's by their names alone as well;
        None where a run failed before; and the index of the DataFrame or Series that was given.

        Args:
            level: What a row is. Times are in UTC, durations seconds, costs US dollars.

        Raises:
            CrewNbError: When pandas is not installed, or the level is none of these.
        """
        rows: list[dict[str, Any]]
        if level == "runs":
            rows = self.table()
        elif level == "tasks":
            rows = [row for item in self._items for row in _rows.tasks(item.state)]
        elif level == "calls":
            rows = [row for item in self._items for row in _rows.calls(item.state)]
        elif level == "events":
            rows = [{"event": type(e).__name__, **dataclasses.asdict(e)} for e in self.events]
        else:
            raise CrewNbError(f'level is {level!r}. Write "runs", "tasks", "calls" or "events".')
        try:
            import pandas as pd
        except ImportError as error:
            raise CrewNbError("to_frame() needs pandas. Write: pip install 'crew-nb[frames]'") from error
        frame = pd.DataFrame([{_utf8(name): _utf8(value) for name, value in row.items()} for row in rows])
        for name in {"at", "started", "finished"}.intersection(frame):
            frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        keys = [item._key for item in self._items if item._key is not None]
        if level == "runs" and keys and len(keys) == len(frame):
            labels = [tuple(label for _, label in key) for key in keys]
            index = pd.MultiIndex.from_tuples(labels, names=[name for name, _ in keys[0]])
            frame.index = index if index.nlevels > 1 else index.get_level_values(0)
        return frame

    # --- scores --------------------------------------------------------------------------------------------------

    async def score(
        self,
        *functions: Score,
        timeout: float | None = _scoring.SECONDS,  # noqa: ASYNC109 - of each run
    ) -> Results:
        """These results, scored by functions of (output, inputs), judges or evaluators; no crew is run for it.

        A function may be async, and gives a number, a bool, a word or a dict of these. One that raises or hangs is an
        error in its place. Plain functions are called in a thread, one call at a time. A judge is not asked again about
        what it has scored, unless it is another by now.

        Args:
            *functions: What `cnb.sweep` takes as `scores=`.
            timeout: Seconds that a function may take for one run; None for no limit.

        Raises:
            OptionError: When one cannot be called, or two have one name.
        """
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise OptionError(f"timeout is {timeout!r}. Write seconds, such as timeout=60, or None for no limit.")
        scorer = _scoring.Scorer(self._sheet, self._aside, timeout)
        try:
            await scorer.score(_scoring.named(functions), [item.to_score() for item in self._items], again=True)
        finally:
            scorer.close()
            self._keep()
        return self

    @property
    def scoring_cost(self) -> float | None:
        """US dollars that judges took, apart from the runs' own; None where a price is unknown."""
        return self._sheet.cost

    @property
    def scoring_usage(self) -> UsageMetrics:
        """Tokens and requests of judges, apart from the runs' own."""
        return _crewai.usage_metrics(self._sheet.usage)  # type: ignore[no-any-return]

    @property
    def reasons(self) -> list[dict[str, str]]:
        """Why each run was scored as it was, by the score's name, where judges and evaluators tell."""
        return [self._sheet.reasons(item.state) for item in self._items]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """What each run was scored with, by name; an error as its words, under the function's name."""
        known = (self._sheet.of(item.state) for item in self._items)
        return [{**values, **errors} for values, errors in known]

    def summary(self) -> Table:
        """A row for each variant: runs, failed ones, each score's mean with its 95 % interval, cost, tokens, seconds.

        Each input counts once, however often it was run. Needs `pip install 'crew-nb[research]'`, as do the next two.
        """
        from crew_nb._scores import tables  # loads NumPy

        return tables.summary(self._sheet, self._states)

    def versus(self, factor: str, score: str | None = None, baseline: Any = None) -> Table:
        """Each level of a factor against one of them, paired by input: difference, 95 % interval, verdict.

        A verdict is "better" (higher), "worse", "no difference shown" or "too few", with Holm's correction over the
        rows. Only inputs that both sides have a score of are compared; how many were left out is told.

        Args:
            factor: One of those that the sweep was over.
            score: The name of one score; all, where it is None.
            baseline: The level to compare with; the first, where it is None.

        Raises:
            OptionError: When there is no such factor, score or level.
        """
        from crew_nb._scores import tables  # loads NumPy

        return tables.versus(self._sheet, self._states, factor, score, baseline)

    def plot(self) -> Plot:
        """The picture of `summary`: points with their intervals, for each variant and score; `.figure` is matplotlib's.

        Raises:
            OptionError: When nothing was scored.
        """
        from crew_nb._scores import tables  # loads NumPy

        return tables.plot(self._sheet, self._states)

    def rate(self, name: str = "rating", scale: Scale = (1, 5), pairs: str | None = None) -> Rating:
        """Outputs for a person to rate in the cell, by keyboard: shuffled, and without seeing which variant each is.

        Ratings are scores by that name. Each is on disk before the next output is shown; called again, also in a later
        kernel (`cnb.load(...).rate()`), it goes on with what is not rated.

        Args:
            name: What the score is called: the person's name, say, where several rate.
            scale: `bool` for yes or no; the lowest and the highest number; or up to nine words.
            pairs: A factor, of whose levels two outputs stand side by side. The score is then the share that won.

        Raises:
            OptionError: When the name is taken by another score, or there is no such factor.
        """
        from crew_nb._scores.rating import Rating

        if not isinstance(name, str) or not name.strip():
            raise OptionError(f'name is {name!r:.60}. Write a word, such as name="ann".')
        return Rating(self._sheet, [item.to_score() for item in self._items], name, scale, pairs, self.state.key)

    def agreement(self, one: str, other: str) -> Table:
        """How far two scores agree, of two people or of a person and a judge: the share, and Cohen's kappa.

        Needs `pip install 'crew-nb[research]'`.

        Args:
            one: The name of a score.
            other: The name of another.

        Raises:
            OptionError: When there is no such score, or their values are not of one kind.
        """
        from crew_nb._scores.agreement import agreement  # loads NumPy

        return agreement(self._sheet, self._states, one, other)

    @property
    def _states(self) -> list[RunState]:
        return [item.state for item in self._items]

    # --- seen and kept -------------------------------------------------------------------------------------------

    def compare(self, i: Any, j: int | None = None) -> Comparison:
        """Outputs `i` and `j` word by word, side by side in a cell; or those that differ from other results'.

        Args:
            i: A run of these; or another batch over the same inputs, or its results.
            j: The other run.

        Raises:
            RunFailedError: When one of the two runs has no output.
            OptionError: When the other results have no input in common with these.
        """
        if not hasattr(i, "__index__"):
            other = getattr(i, "results", i)
            if not isinstance(other, Results):
                raise OptionError(f"{i!r:.60} is no run of these results, and no batch.")
            return self._against(other)
        if j is None:
            raise OptionError("one run is nothing to compare. Write results.compare(0, 1), or results.compare(other).")
        a, b = self[i], self[j]
        shown = a.state.label, a._secrets.scrub(a.raw), b.state.label, b._secrets.scrub(b.raw)
        return Comparison(_static.compare(*shown), _text.compare(*shown))

    def _against(self, other: Results) -> Comparison:
        mine, theirs = self._by_inputs(), other._by_inputs()
        pairs = [(item, theirs[key]) for key, item in mine.items() if key in theirs]
        if not pairs:
            raise OptionError("no run of these results has the inputs of one of the others.")
        told = [(a, b, a._said_in_all(self), b._said_in_all(other)) for a, b in pairs]
        changed = [(a.state.label, said, b.state.label, now) for a, b, said, now in told if said != now]
        lost = len(mine) + len(theirs) - 2 * len(pairs)
        head = f"{len(changed):,} of {len(pairs):,} runs over the same inputs differ" + (
            f"; {lost:,} runs have no counterpart" if lost else ""
        )
        html = el("div", el("p", el("strong", head)), (_static.compare(*each) for each in changed))
        return Comparison(html, "\n\n".join([head, *(_text.compare(*each) for each in changed)]))

    def _by_inputs(self) -> dict[tuple[str, int], Result]:
        """The runs by what they were given; those that were given the same, in their order."""
        found: dict[tuple[str, int], Result] = {}
        seen: dict[str, int] = {}
        for item in self._items:
            cell = self._sheet.cells[item.index]
            given = json.dumps(plain({**item._secrets.scrub_inputs(cell.inputs), **cell.variant}), sort_keys=True)
            found[given, seen.setdefault(given, 0)] = item
            seen[given] += 1
        return found

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One HTML file with the board and every output, whole; without script, and with nothing to load.

        Args:
            path: Where to write it, if anywhere.
        """
        cards = [item._card() for item in self._items]
        title = self.state.name or "crew_nb results"
        text = _static.page(title, _static.board(self.state, whole=True), _static.results(cards, whole=True))
        if path is not None:
            Path(path).write_text(text, encoding="utf-8", errors="replace")
        return text

    def report(self, path: str | os.PathLike[str]) -> Path:
        """One HTML file for others: what was run, on what, tables, plot, examples of best, worst and failed runs.

        It has no script and loads nothing; secrets are left out. Tables and plot need `crew-nb[research]`.

        Args:
            path: Where to write it.
        """
        target = Path(path).expanduser()
        target.write_text(self._scrub(self._told(plots=True).html()), encoding="utf-8", errors="replace")
        return target

    def brief(self) -> str:
        """The same as `report` in a page of Markdown, without the plot: for a coding agent, say."""
        return self._scrub(self._told(plots=False).markdown())

    def _scrub(self, text: str) -> str:
        """Names of levels and of the batch may be secrets, too."""
        learn_environment()
        return together([item._secrets for item in self._items]).scrub(text)

    def _told(self, *, plots: bool) -> _report.Report:
        scored = self._sheet.columns(self._states) if self._items else {}
        tables = {"Summary": self.summary()} if self._items else {}
        if any(scored.values()):
            tables |= {f"Versus: {factor}": self.versus(factor) for factor in self._sheet.factors}
        first = next((values for values in scored.values() if values), {})
        ranked = sorted((item for item in self._items if item.index in first), key=lambda item: first[item.index])
        worst = ranked[: min(EXAMPLES, len(ranked) // 2)]
        failed = [item for item in self._items if item.status in ("failed", "cancelled")][:EXAMPLES]
        groups = (("best", ranked[::-1][:EXAMPLES]), ("worst", worst), ("failed", failed))
        counts = {
            status: sum(item.status == status for item in self._items) for status in ("done", "failed", "cancelled")
        }
        known = {"runs": f"{len(self)}: " + ", ".join(f"{n} {status}" for status, n in counts.items())}
        known["began"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.state.created))
        here = _loop.environment()
        known["versions"] = f"Python {here.python}, crew-nb {here.crew_nb}, crewai {here.crewai}"
        known["tokens"] = f"{self.usage.total_tokens:,}"
        known["cost"] = "unknown" if self.cost is None else f"US dollars {self.cost:,.4f}"
        cells = {self._sheet.cells[item.index].input: item for item in self._items}
        return _report.Report(
            title=self.state.name or "crew_nb results",
            facts=known,
            inputs=[item._secrets.scrub_inputs(self._sheet.cells[item.index].inputs) for item in cells.values()],
            tables=tables,
            png=self.plot()._repr_png_() if plots and any(scored.values()) else None,
            examples=[self._example(why, item) for why, items in groups for item in items],
        )

    def _example(self, why: str, item: Result) -> _report.Example:
        state, (values, errors) = item.state, self._sheet.of(item.state)
        told = state.error
        return _report.Example(
            why=why,
            label=f"run {state.index}, {state.label}",
            words="; ".join(f"{name}: {value}" for name, value in {**values, **errors}.items())
            + "".join(f" ({words})" for words in self._sheet.reasons(state).values()),
            text=state.output if told is None else f"{told.type}: {told.message}",
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Everything in one file, for `cnb.load(path)`; secrets are left out.

        Raises:
            RecordError: When the file cannot be written.
        """
        kept = self._sheet.kept(item.index for item in self._items)
        return _file.write(
            path,
            self.state,
            [item._output for item in self._items],
            encode=_outputs.encode,
            inputs=[item.inputs for item in self._items],
            events=self.events,
            secrets=[item._secrets for item in self._items],
            meta={SHEET: kept} if kept else None,
        )

    def __repr__(self) -> str:
        return _text.summary(self.state)

    def _repr_html_(self) -> str:
        return _static.results([item._card() for item in self._items])


def _utf8(value: Any) -> Any:
    """A text as pandas' own texts can hold it: half a character (a lone surrogate) is none."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


def _short(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
