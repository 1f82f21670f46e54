"""`Results`: the joined outcomes, a sequence in input order."""

from __future__ import annotations

import dataclasses
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
from crew_nb._handles import comparison as _comparison
from crew_nb._handles import report as _report
from crew_nb._handles import rows as _rows
from crew_nb._handles.result import Result, as_it_was, failure
from crew_nb._record import file as _file
from crew_nb._scores import scoring as _scoring
from crew_nb._scores.sheet import Sheet
from crew_nb._state.errors import CrewNbError, OptionError, RunFailedError
from crew_nb._state.secrets import learn_environment, together
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

    from crew_nb._crewai.inputs import Key
    from crew_nb._crewai.names import CrewOutput, UsageMetrics
    from crew_nb._handles.comparison import Comparison
    from crew_nb._record.loaded import LoadedBatch
    from crew_nb._scores.judge import Scale
    from crew_nb._scores.rating import Rating
    from crew_nb._scores.sheet import Score
    from crew_nb._scores.tables import Plot, Table
    from crew_nb._state.events import Event
    from crew_nb._state.state import BatchState, RunState

SHEET = "sheet"
"""What the record calls the cells and scores of a batch."""

Level = Literal["runs", "tasks", "calls", "events"]


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
            items.append(Result(state, inputs, as_it_was(state), output, unreadable))
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
        keys: list[Key | None] = []
        if level == "runs":
            rows, keys = self.table(), [item._key for item in self._items]
        elif level == "tasks":
            rows = [row for item in self._items for row in _rows.tasks(item.state)]
        elif level == "calls":
            rows = [row for item in self._items for row in _rows.calls(item.state)]
        elif level == "events":
            rows = [{"event": type(e).__name__, **dataclasses.asdict(e)} for e in self.events]
        else:
            raise CrewNbError(f'level is {level!r}. Write "runs", "tasks", "calls" or "events".')
        return _rows.frame(rows, keys)

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
            return _comparison.of_batches(self._items, self._sheet, other._items, other._sheet)
        if j is None:
            raise OptionError("one run is nothing to compare. Write results.compare(0, 1), or results.compare(other).")
        return _comparison.of_runs(self[i], self[j])

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
        scored = any(self._sheet.columns(self._states).values()) if self._items else False
        tables = {"Summary": self.summary()} if self._items else {}
        if scored:
            tables |= {f"Versus: {factor}": self.versus(factor) for factor in self._sheet.factors}
        return _report.of(
            self.state,
            self._items,
            self._sheet,
            facts={
                "tokens": f"{self.usage.total_tokens:,}",
                "cost": "unknown" if self.cost is None else f"US dollars {self.cost:,.4f}",
            },
            tables=tables,
            png=self.plot()._repr_png_() if plots and scored else None,
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
        return str(_static.results([item._card() for item in self._items]))
