"""A batch in one file for sharing: JSON Lines, the batch first and then one line per run."""

from __future__ import annotations

import uuid
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._record import codec as _codec
from crew_nb._record.loaded import LoadedBatch, StoredRun, batch_of, parsed
from crew_nb._state.errors import RecordError
from crew_nb._state.plain import Encode, Json, dumps, plain, unplain
from crew_nb._state.secrets import Secrets, learn_environment, together
from crew_nb._state.state import BatchState, RunState

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from crew_nb._state.events import Event

KIND = "crew_nb batch"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line: the batch."""

    kind: str
    version: int
    key: str
    name: str
    created: float
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()


def write(
    path: str | os.PathLike[str],
    state: BatchState,
    outputs: Sequence[object],
    *,
    encode: Encode = plain,
    inputs: Sequence[Mapping[str, Any] | None] = (),
    events: Iterable[Event] = (),
    secrets: Sequence[Secrets] = (),
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a batch to one file that `read` reads.

    An earlier file of that name is replaced only when the new one is whole.

    Args:
        path: The file; its folder is there.
        state: The batch, or some of its runs, each of which keeps its index.
        outputs: What each run returned, or None.
        encode: What makes JSON of an output.
        inputs: Each run's inputs, or nothing.
        events: Events of all runs, in order.
        meta: Whatever else is worth keeping.
        secrets: What is hidden in each run, or nothing; what stands in the environment is hidden in all of them.

    Raises:
        RecordError: The file cannot be written.
    """
    target = Path(path).expanduser()
    # A name that nobody can foretell, and a file that is new: in a shared folder a link may stand where it is written.
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    learn_environment()
    whole = together(secrets)
    by_run: dict[int, list[Event]] = {}
    for event in events:
        by_run.setdefault(event.run, []).append(event)

    def lines() -> Iterator[Json]:
        yield {
            "kind": KIND,
            "version": VERSION,
            "key": state.key,
            "name": whole.scrub(state.name),
            "created": state.created,
            "indices": [run.index for run in state.runs],
            "labels": [whole.scrub(run.label) for run in state.runs],
            "notes": [whole.scrub(note) for note in state.notes],
        }
        if meta:
            yield {"meta": plain(meta, whole.scrub)}
        for place, (run, output) in enumerate(zip(state.runs, outputs, strict=True)):
            given = inputs[place] if place < len(inputs) else None
            hidden = secrets[place] if place < len(secrets) else whole
            yield {
                "place": place,
                "inputs": plain(None if given is None else hidden.scrub_inputs(given), hidden.scrub),
                "state": _codec.encode(run, hidden.scrub),
                "output": None if output is None else encode(output, hidden.scrub),
                "events": _codec.encode_events(by_run.get(run.index, ()), hidden.scrub),
            }

    try:
        with partial.open("x", encoding="utf-8", newline="\n") as file:
            for line in lines():
                file.write(dumps(line) + "\n")
        partial.replace(target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise RecordError(f"the batch could not be saved to {target} ({error.strerror or error}).") from error
    return target


def read(path: str | os.PathLike[str]) -> LoadedBatch:
    """The batch in a file that `write` made; one that was cut short is read up to its last whole run, with a warning.

    Raises:
        RecordError: There is no such file, or it is something else.
    """
    source = Path(path).expanduser()
    try:
        first, *rest = source.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"{source} cannot be read ({error.strerror or error}).") from error
    tree = parsed(first)
    if not isinstance(tree, dict) or tree.get("kind") != KIND:
        raise RecordError(f"{source} is not a file that results.save(path) wrote, or not even its first line is whole.")
    if isinstance(tree.get("version"), int) and tree["version"] > VERSION:
        raise RecordError(f"{source} was saved by a newer crew_nb; upgrade crew_nb to load it.")
    try:
        head = _codec.decode(Head, tree)
    except (TypeError, ValueError, KeyError) as error:
        raise RecordError(f"{source} cannot be read: its first line is damaged ({error}).") from error
    whole = len(head.labels)
    found: dict[int, StoredRun] = {}
    meta: Any = {}
    for tree in map(parsed, rest):
        if isinstance(tree, dict) and isinstance(tree.get("meta"), dict):
            meta = unplain(tree["meta"])
            continue
        with suppress(TypeError, ValueError, KeyError):
            place = tree["place"]
            if type(place) is not int or not 0 <= place < whole:
                continue
            found[place] = StoredRun(
                state=_codec.decode(RunState, tree["state"]),
                batch_key=head.key,
                batch_name=head.name,
                inputs_json=dumps(tree["inputs"]),
                output_json=None if tree["output"] is None else dumps(tree["output"]),
                events_json=dumps(tree["events"]),
            )
    if len(found) < whole:
        warnings.warn(f"{source} was cut short or damaged: {len(found)} of {whole} runs were read.", stacklevel=2)
    indices = head.indices if len(head.indices) == whole else ()
    return batch_of(
        head.key, head.name, head.created, list(head.labels), found, indices=indices, notes=head.notes, meta=meta
    )
