"""The verbs that a cell calls: they join a blueprint, a batch, a board and the display, and return at once."""

from __future__ import annotations

import functools
import inspect
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from crew_nb._cluster import runner_for
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import names as _crewai
from crew_nb._engine import prices as _prices
from crew_nb._handles.batch import Batch
from crew_nb._state import attempt as _attempt
from crew_nb._state import loop as _loop
from crew_nb._state.errors import BlueprintError
from crew_nb._state.options import Options, RunOptions, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.startable import CrewLike
    from crew_nb._handles.run import Run
    from crew_nb._scores.sheet import Sheet
    from crew_nb._state.loop import Place

P = ParamSpec("P")
T = TypeVar("T")


class BatchOptions(RunOptions, total=False):
    """The keyword options of the three verbs; `Options` says what they mean."""

    show: bool
    keep_replay: bool


def spelled_out(verb: Callable[P, T]) -> Callable[P, T]:
    """Show the options by name where a notebook shows a signature, and their meaning in the docstring."""
    signature = inspect.signature(verb)
    plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    named = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in fields(Options)
    ]
    verb.__signature__ = signature.replace(parameters=[*plain, *named])  # type: ignore[attr-defined]
    verb.__doc__ = f"{(verb.__doc__ or '').rstrip()}\n\n{_OPTIONS}"
    return verb


_OPTIONS = """    Options, the same for `kickoff`, `gather` and `kickoff_for_each`:
        max_concurrency: Runs and LLM calls at once; None is 32, "auto" adapts to the provider's 429s.
        timeout: Seconds a run may take in all. idle_timeout: Seconds without any event.
        max_retries: How often an LLM call is tried again after a 429, a 5xx, a time-out or a lost connection.
        max_rpm, max_tpm: LLM requests and tokens a minute, shared by all batches in the kernel that set one.
        fail_fast: Stop everything at the first failed run. max_errors: Begin no new run after so many failed
            ones: a count, or a fraction of the runs.
        max_total_tokens, max_cost: Begin no new LLM call once so many tokens or US dollars are spent.
        stream: Stream tokens; None streams whenever a board is shown.
        show: Show the board under the cell. name: What the board and the record call the batch.
        resume: Take what is finished from the record (True, or the name of the batches to look in); run the rest.
        on: `"cores"` or a number, for so many processes of this machine; a `dask.distributed.Client`; else the kernel.
        input_files: Files for every run, by name, as CrewAI's kickoffs take them.
        response_format: The pydantic model that an Agent's answer is to fill.
        answers: The file that keeps what LLMs answer the first time, and answers in their place every other time.
        answers_missing: "ask" asks the LLM what the file does not have, "error" fails the run; None asks where the
            file is a new one. answers_speed: How many times faster than recorded; 0 is at once. answers_tools: Whether
            what tools say is kept too, and taken from there; they are not run then.
        keep_replay: Write CrewAI's own store of task outputs too, for `crewai replay`.

    Raises:
        BlueprintError: When a crew or its inputs cannot be run; nothing was started.
        OptionError: When an option has a value that cannot be meant; nothing was started.
        RecordError: When `answers` is no file of recorded answers; nothing was started.
    """


@spelled_out
def kickoff(crew: CrewLike, inputs: Mapping[str, Any] | None = None, **given: Unpack[BatchOptions]) -> Run:
    """Start one crew and return its `Run` at once; `await run` gives CrewAI's `CrewOutput`.

    Args:
        crew: A `Crew`, `Flow` or `Agent`, which is copied and never run itself; a function that returns one; or the
            path or content of a definition.
        inputs: Names and values for the crew's placeholders and the function's parameters.
    """
    return launch_in_cell(_blueprint.plans_for([(crew, inputs)], "kickoff"), options(**given)).runs[0]


@spelled_out
def gather(*crews: CrewLike | tuple[CrewLike, Mapping[str, Any] | None], **given: Unpack[BatchOptions]) -> Batch:
    """Start different crews together and return their `Batch` at once; `await batch` gives `Results` in this order.

    Args:
        *crews: What `kickoff` takes, or a pair (crew, inputs), each.
    """
    if "inputs" in given:
        raise BlueprintError("gather() takes no inputs=. Give pairs: cnb.gather((crew_a, {...}), (crew_b, {...})).")
    return launch_in_cell(_blueprint.plans_for(crews), options(**given))


@spelled_out
def kickoff_for_each(
    crew: CrewLike, inputs: Iterable[Mapping[str, Any]] | Mapping[str, Any], **given: Unpack[BatchOptions]
) -> Batch:
    """Start one crew over many inputs and return the `Batch` at once; `await batch` gives `Results` in input order.

    Args:
        crew: What `kickoff` takes; each run has one of its own.
        inputs: One dict per run: a list, a DataFrame, or any iterable. A dict of lists is a grid: a run for each
            combination.
    """
    return launch_in_cell(_blueprint.plans_for_each(crew, inputs), options(**given))


def launch_in_cell(plans: list[Plan], chosen: Options, sheet: Sheet | None = None) -> Batch:
    """Start what was planned, with its board under this cell."""
    place = _loop.where()

    def show(batch: Batch) -> None:
        from crew_nb._cells import display as _display

        _display.show(batch, place)

    is_marimo = place.kind == "marimo"  # whose apps have a thread each for their cells
    # Another thread (a server's, say) is no cell, and may have a loop of its own that must not be held up.
    in_cell = is_marimo or threading.current_thread() is threading.main_thread()
    if in_cell and _crewai.loaded():
        # Here, and in no thread: OpenAI's client looks for an HTTP library of its in `sys.modules`, half-loaded or not.
        _prices.load()
    batch = launch(plans, chosen, show, wait=place.headless and in_cell, sheet=sheet)
    if not chosen.show:
        batch.make_board = functools.partial(_make_board, place)
    elif is_marimo and place.headless:
        from crew_nb._cells import display as _display

        _display.append_in_marimo(batch)  # now: it cannot be updated later
    return batch


def _make_board(place: Place, batch: Batch) -> None:
    """The board of a batch that was to have none, now that somebody asks for it."""
    from crew_nb._cells import display as _display

    make = _display.view_in(place)
    if make is not None:
        make(batch, shown=False)


def launch(
    plans: list[Plan],
    chosen: Options,
    show: Callable[[Batch], object],
    *,
    wait: bool = False,
    sheet: Sheet | None = None,
) -> Batch:
    """Start what was planned; what all verbs and the launcher do in the end."""
    plans = _blueprint.with_arguments(plans, chosen.how)
    batch = Batch(plans, chosen, runner=runner_for(plans, chosen), sheet=sheet)
    if chosen.show and _attempt.current.get() is None:  # what a run launches is in the row of that run
        show(batch)
    batch.start()
    if wait:
        batch.wait()  # output that comes after the cell would be dropped, and the saved notebook be half
    return batch
