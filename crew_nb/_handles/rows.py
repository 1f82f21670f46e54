"""Results as rows of a table: of runs, tasks and calls; what `to_frame()` and the board's downloads hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crew_nb._crewai import outputs as _outputs
from crew_nb._state.errors import CrewNbError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from crew_nb._crewai.inputs import Key
    from crew_nb._scores.sheet import Sheet
    from crew_nb._state.secrets import Secrets
    from crew_nb._state.state import RunState, TaskState

Row = dict[str, Any]


def runs(outcomes: Iterable[tuple[RunState, Mapping[str, Any] | None, Any, Secrets]], sheet: Sheet) -> list[Row]:
    """A row for each run, all with the same columns.

    Args:
        outcomes: Of each run: its state, its inputs, what it returned, and what is secret in it.
        sheet: The scores.
    """
    rows, found = [], []
    for state, inputs, output, secrets in outcomes:
        rows.append(_run(state, secrets.scrub_inputs(inputs or {}), sheet))
        found.append(_of_tasks(state, output, secrets))
    columns = dict.fromkeys(name for row in [*rows, *found] for name in row)
    return [dict.fromkeys(columns) | of_tasks | row for row, of_tasks in zip(rows, found, strict=True)]


def _run(state: RunState, inputs: Mapping[str, Any], sheet: Sheet) -> Row:
    values, errors = sheet.of(state)
    return {
        "run": state.index,
        **{f"inputs.{name}": value for name, value in inputs.items()},
        "status": state.status,
        "raw": state.output if state.status == "done" else None,
        "error": f"{state.error.type}: {state.error.message}" if state.error is not None else None,
        "seconds": _seconds(state),
        "attempt": state.attempt,
        **state.usage.to_dict(),
        "cost": state.cost,
        "saved_tokens": state.saved.total_tokens,
        "saved_cost": state.saved_cost,
        "started": state.started,
        "finished": state.finished,
        **{f"score.{name}": value for name, value in values.items()},
        **{f"score.{name}.error": words for name, words in errors.items()},
        **{f"score.{name}.reason": words for name, words in sheet.reasons(state).items()},
    }


def _seconds(of: RunState | TaskState) -> float | None:
    return None if of.started is None or of.finished is None else of.finished - of.started


def _of_tasks(state: RunState, output: Any, secrets: Secrets) -> Row:
    """What each task said, by its name or place: its text and its structured fields; the last one's by their names."""
    own = state.own_tasks
    names = _unique([task.spec.name if task.spec.is_named else "" for task in own])
    is_flow = any(task.spec.is_step for task in own)
    said = own if is_flow else own[:-1]  # the last task's text is the run's
    row: Row = {f"{name}.raw": task.output or None for name, task in zip(names, said, strict=False)}
    fields: Row = {}
    outputs = getattr(output, "tasks_output", None) or []
    if is_flow or len(names) != len(outputs):  # those of a crew in a flow, or of a run whose tasks are not known
        # CrewAI calls a task without a name by its description.
        names = _unique([task.name if task.name != task.description else "" for task in outputs])
    for name, task in zip(names, outputs, strict=True):
        fields |= {f"{name}.{field}": value for field, value in _outputs.structured(task).items()}
    fields |= _outputs.structured(output)
    scrubbed: Row = secrets.scrub_values(fields)
    return row | scrubbed


def _unique(names: Sequence[str | None]) -> list[str]:
    """The names, and the place of a task that has none of its own."""
    return [name if name and names.count(name) == 1 else f"task{place}" for place, name in enumerate(names)]


def tasks(state: RunState) -> Iterator[Row]:
    """A row for each task of a run."""
    for place, task in enumerate(state.tasks):
        used = sum((c.usage for c in task.calls), Usage())
        yield {
            "run": state.index,
            "task": place,
            "name": task.spec.name,
            "agent": task.agent,
            "status": task.status,
            "output": task.output or None,
            "error": task.error or None,
            "seconds": _seconds(task),
            "llm_calls": sum(c.kind == "llm" for c in task.calls),
            "tool_calls": sum(c.kind == "tool" for c in task.calls),
            **used.to_dict(),
            "started": task.started,
            "finished": task.finished,
        }


def calls(state: RunState) -> Iterator[Row]:
    """A row for each call of a run."""
    tasks = {call.key: place for place, task in enumerate(state.tasks) for call in task.calls}
    for call in state.all_calls:
        yield {
            "run": state.index,
            "task": tasks.get(call.key),
            "kind": call.kind,
            "name": call.name,
            "agent": call.agent,
            "status": call.status,
            "attempt": call.attempt,
            "detail": call.detail,
            "output": call.output,
            "seconds": None if call.finished is None else call.finished - call.started,
            **call.usage.to_dict(),
            "cost": call.cost,
            "started": call.started,
            "finished": call.finished,
        }


def frame(rows: Sequence[Row], keys: Sequence[Key | None]) -> pd.DataFrame:
    """The rows as a pandas DataFrame; what the index that came in calls each, where it calls them all, is its index.

    Raises:
        CrewNbError: When pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise CrewNbError("to_frame() needs pandas. Write: pip install 'crew-nb[frames]'") from error
    made = pd.DataFrame([{_utf8(name): _utf8(value) for name, value in row.items()} for row in rows])
    for name in {"at", "started", "finished"}.intersection(made):
        made[name] = pd.to_datetime(made[name], unit="s", utc=True)
    known = [key for key in keys if key is not None]
    if known and len(known) == len(made):
        labels = [tuple(label for _, label in key) for key in known]
        index = pd.MultiIndex.from_tuples(labels, names=[name for name, _ in known[0]])
        made.index = index if index.nlevels > 1 else index.get_level_values(0)
    return made


def _utf8(value: Any) -> Any:
    """A text as pandas' own texts can hold it: half a character (a lone surrogate) is none."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value
