"""What is written of a run or a task that has ended: JSON without secrets, and the row that holds it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from crew_nb._record import codec as _codec
from crew_nb._record import once as _once
from crew_nb._record.store import RunRow
from crew_nb._state.plain import Encode, dumps, plain, same
from crew_nb._state.secret_looks import HIDDEN
from crew_nb._state.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from crew_nb._state.attempt import DoneTask
    from crew_nb._state.events import Event
    from crew_nb._state.state import RunState


class Encoded(NamedTuple):
    """What a run was given and what it returned, as they are kept: JSON without secrets."""

    inputs: str
    output: str | None


class Unbegun(NamedTuple):
    """A run that has ended before it began, as it is put into the record."""

    place: int
    run_key: str
    state: RunState
    inputs: Mapping[str, Any] | None
    events: Iterable[Event]
    secrets: Secrets


def encoded(
    inputs: Mapping[str, Any] | None, output: object, encode: Encode = plain, secrets: Secrets | None = None
) -> Encoded:
    """Both as they are kept; methods of the user's own objects are called for that.

    Args:
        inputs: A run's inputs.
        output: What it returned, or None.
        encode: What makes JSON of an output.
        secrets: What is hidden in both.
    """
    hidden = secrets if secrets is not None else Secrets()
    shown = None if inputs is None else hidden.scrub_inputs(inputs)
    return Encoded(dumps(plain(shown, hidden.scrub)), None if output is None else dumps(encode(output, hidden.scrub)))


def encoded_task(done: DoneTask, encode: Encode, secrets: Secrets) -> str:
    """A task that is done, as `encoded` makes it of a run; where what it said had to be hidden, it says so."""
    output = None if done.output is None else encode(done.output, secrets.scrub)
    unfit = done.unfit
    if output is not None and HIDDEN in dumps(output):
        said = encode(done.output, same)
        if any(said.get(part) != output.get(part) for part in ("raw", "pydantic", "json_dict", "step", "changed")):
            unfit = "what it said has a secret in it, which is not kept"
    if output is not None:
        unfit = str(output.pop("unfit", "")) or unfit
    return dumps({"output": output, "usage": done.usage.to_dict(), "cost": done.cost, "unfit": unfit})


def of_run(
    batch_key: str,
    index: int,
    run_key: str,
    state: RunState,
    both: Encoded,
    events: Collection[Event],
    hidden: Secrets,
) -> RunRow:
    """The row of a run that has ended."""
    scrub = functools.cache(hidden.scrub)  # events and state say the same
    state_tree, event_tree = _codec.encode(state, scrub), _codec.encode_events(events, scrub)
    state_text, events_text, output_text = _once.folded(state_tree, event_tree, both.output)
    return RunRow(
        batch=utf8(batch_key),
        place=index,
        run_key=utf8(run_key),
        status=state.status,
        finished=state.finished or state.last_event,
        inputs=both.inputs,
        state=state_text,
        output=output_text,
        events=events_text,
        tokens=state.usage.total_tokens,
        cost=state.cost,
    )


def of_unbegun(batch_key: str, run: Unbegun) -> RunRow:
    """The row of a run that has ended before it began."""
    both = encoded(run.inputs, None, secrets=run.secrets)
    return of_run(batch_key, run.place, run.run_key, run.state, both, tuple(run.events), run.secrets)


def text(name: str) -> str:
    """A name as it is stored: without secrets, and as SQLite can hold it."""
    return utf8(Secrets().scrub(name))


def utf8(text: str) -> str:
    """The text as SQLite can hold it: without lone surrogates."""
    return text.encode("utf-8", "replace").decode()
