"""What a client and its workers tell each other and how it travels: commands, messages, outputs and errors."""

from __future__ import annotations

import contextlib
import functools
import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]

from crew_nb._crewai import outputs as _outputs
from crew_nb._engine import failure as _failure
from crew_nb._state import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crew_nb._crewai.names import CrewOutput
    from crew_nb._engine.recorded import Lent
    from crew_nb._engine.retry import Verdict
    from crew_nb._record.answers import Kept, Place


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker tells of itself."""

    name: str
    versions: dict[str, str]
    clock: float
    """Its Unix time."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A factory, sent once to each worker."""

    key: int
    pickled: bytes


@dataclass(frozen=True, slots=True)
class Lesson:
    """Recorded answers, sent to each worker before its first run, and with a run that was on another one."""

    lent: Lent


@dataclass(frozen=True, slots=True)
class Start:
    """Run one plan."""

    number: int
    """Names the run between client and worker."""
    blueprint: int
    index: int
    label: str
    inputs: bytes
    """They, and further arguments of the kickoff."""
    stream: bool | None
    keep_replay: bool
    known_as: tuple[str, int] = ("", 0)
    """The run in recorded answers."""
    secrets: frozenset[str] = frozenset()
    """What is hidden in them: a worker that hides something else asks something else."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a run."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """An LLM call may start; or it may not, for the reason given."""

    number: int
    ticket: int
    refused: str = ""
    over_budget: bool = False


@dataclass(frozen=True, slots=True)
class LetGo:
    """End the Dask task of that number that stands for runs."""

    number: int


Command = Blueprint | Lesson | Start | Cancel | Grant | LetGo


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a run."""

    number: int
    event: ev.Event


@dataclass(frozen=True, slots=True)
class Ask:
    """An LLM call wants to start."""

    number: int
    ticket: int
    task: int | None


@dataclass(frozen=True, slots=True)
class Release:
    """An LLM call is over, or nobody wants it any more."""

    number: int
    ticket: int
    tokens: int = 0
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A provider's complaint, for a limit that adapts."""

    number: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Answered:
    """A recorded answer was used, or there is a new one."""

    number: int
    call: str
    place: Place
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run is over: with an output, an error, or neither where it was cancelled."""

    number: int
    output: bytes = b""
    error: bytes = b""
    info: ev.ErrorInfo | None = None
    dropped_calls: int = 0
    secrets: frozenset[str] = frozenset()
    """What stands in the output and only this worker knows to be secret."""


Message = Happened | Ask | Release | Judged | Answered | Ended


def pickled(value: object) -> bytes:
    """Anything of the user's; functions and classes of a notebook go by value."""
    return bytes(cloudpickle.dumps(value))


def pickled_messages(messages: Sequence[Command | Message]) -> bytes:
    """Our own plain data."""
    return pickle.dumps(messages, protocol=5)


def unpickled(data: bytes) -> Any:
    """The value again. Dask's client and workers run each other's code by design; this trusts no more than they do."""
    return pickle.loads(data)  # noqa: S301


def joined(messages: Iterable[Message]) -> list[Message]:
    """The messages, with pieces of one answer made one where nothing else was said of their run between them."""
    said: list[Message] = []
    places: dict[int, int] = {}
    for message in messages:
        place = places.get(message.number)
        last = said[place] if place is not None else None
        if (
            place is not None
            and isinstance(message, Happened)
            and isinstance(message.event, ev.CallChunk)
            and isinstance(last, Happened)
            and isinstance(last.event, ev.CallChunk)
            and last.event.call == message.event.call
        ):
            said[place] = Happened(last.number, replace(message.event, text=last.event.text + message.event.text))
        else:
            places[message.number] = len(said)
            said.append(message)
    return said


@dataclass
class RemoteTraceback(Exception):  # noqa: N818 - shown above an error, as multiprocessing does
    """Where on the worker it happened."""

    text: str = field(default="")

    def __str__(self) -> str:
        return f"\n{self.text}"


def packed_output(output: CrewOutput) -> bytes:
    try:
        packed = pickled(output)
        unpickled(packed)
    except Exception:  # a value of the user's that cannot travel: the record's form can
        packed = pickled(functools.partial(_outputs.decode, _outputs.encode(output)))
    return packed


def unpacked_output(packed: bytes) -> CrewOutput:
    """What `packed_output` was given, or the nearest thing to it."""
    output: Any = unpickled(packed)
    return output() if isinstance(output, functools.partial) else output  # type: ignore[no-any-return]


def packed_error(error: BaseException) -> bytes:
    """The error, of its own class where that can travel, without what cannot."""
    kept = {name: value for name, value in vars(error).items() if _travels(value)}
    args = tuple(arg if _travels(arg) else str(arg) for arg in error.args)
    packed = pickled((type(error).__name__, _failure.said(error), None, args, kept))
    with contextlib.suppress(Exception):
        whole = pickled((type(error).__name__, _failure.said(error), type(error), args, kept))
        if str(unpacked_error(whole, "")) == _failure.said(error):
            packed = whole
    return packed


def unpacked_error(packed: bytes, traceback: str) -> BaseException:
    """The error again; a stand-in of the same name where its class could not travel."""
    name, text, kind, args, kept = unpickled(packed)
    if kind is None:
        kind, args = type(name, (Exception,), {}), (text,)
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    for key, value in kept.items():
        setattr(error, key, value)
    error.__cause__ = RemoteTraceback(traceback)
    return error


def _travels(value: object) -> bool:
    try:
        unpickled(pickled(value))
    except Exception:
        return False
    return True
