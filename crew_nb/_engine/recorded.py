"""`Recorded`: one batch's way to a file of recorded answers, as a witness of its calls, its tools and its embedders.

Which answer is whose does not depend on what ran at once: a question is known by its content, the run that asks it by
its inputs, and the same question again by how often its task has asked it.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import listen as _listen
from crew_nb._crewai import lookups as _lookups
from crew_nb._crewai import names as _crewai
from crew_nb._engine.engine import engine
from crew_nb._record import answers as _answers
from crew_nb._record.answers import Kept
from crew_nb._state import attempt as _attempt
from crew_nb._state import question as _question
from crew_nb._state.call import SETTINGS, Answer, Lookup
from crew_nb._state.errors import NotRecordedError, RecordError
from crew_nb._state.plain import dumps, plain, unplain_as
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._record.answers import Answers, Copy, Place
    from crew_nb._state.attempt import Attempt, Witness
    from crew_nb._state.call import CallRecord, Found
    from crew_nb._state.options import Options
    from crew_nb._state.secrets import Secrets

TICK = 0.05
"""Seconds within which pieces of an answer are kept as one."""
NAMED = 60
"""Characters of a run's inputs by which it is known; of longer ones the rest counts by its digest."""
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Question:
    """One question in its place."""

    tree: dict[str, Any]
    call: str
    place: Place
    order: int

    def kept(self, **answer: Any) -> Kept:
        """It with its answer."""
        run, repeat, task, turn = self.place
        return Kept(
            call=self.call, run=run, repeat=repeat, task=task, turn=turn, order=self.order, asked=self.tree, **answer
        )


@dataclass(frozen=True, slots=True)
class Lent:
    """The recorded answers of a batch, as a worker of a cluster has them."""

    copy: Copy
    origin: str
    asks: bool
    speed: float
    tools: bool


class Recorded:
    """The recorded answers of one batch.

    Args:
        answers: The file.
        origin: The batch's key.
        asks: Whether the LLM is asked what the file does not have.
        speed: How many times faster than recorded answers come; 0 is at once.
        tools: Whether what tools say is kept and replayed, too.
        note: Puts a line for people into the head of the board.
    """

    def __init__(
        self, answers: Answers, origin: str, asks: bool, speed: float, tools: bool, note: Callable[[str], object]
    ) -> None:
        self._answers = answers
        self._origin = origin
        self._asks = asks
        self._speed = speed
        self._tools = tools
        self._note = note
        self._counting = threading.Lock()  # tools are in threads
        self._counts: weakref.WeakKeyDictionary[Attempt, Counter[Any]] = weakref.WeakKeyDictionary()
        self._flushing: asyncio.Task[None] | None = None
        if answers.damaged:
            note(f"{answers.path.name}: {answers.damaged} lines cannot be read, and are left out")

    # --- a witness ------------------------------------------------------------------------------------------------

    def before(self, attempt: Attempt, record: CallRecord) -> Answer | None:
        """The recorded answer; None where the LLM is to be asked.

        Raises:
            Exception: Where there is none and the LLM is not to be asked; its cause is a `NotRecordedError`.
        """
        if record.asked.llm is None:
            return None
        tree = _question.question(record.asked, attempt.secrets.scrub)
        question = self._place(attempt, record.task, tree, is_call=True)
        record.question = question
        kept = self._find(question.call, question.place)
        if kept is not None:
            return self._again(kept, record)
        if self._asks:
            return None
        missing = self._missing(question, record.asked.agent)
        raise _crewai.abort(str(missing)) from missing

    def after(self, attempt: Attempt, record: CallRecord) -> None:
        """Keep what was answered."""
        question: Question | None = record.question
        scrub = attempt.secrets.scrub
        # What comes after the run's end is nobody's, and what was secret in the run is forgotten.
        if question is None or record.error is not None or record.saved is not None or attempt.closed:
            return
        own = bool(record.ran) and str(record.ran[-1][2]) == str(record.answer)
        ran = [[name, arguments] for name, arguments, _ in record.ran]
        self._keep(
            question.kept(
                agent=scrub(record.asked.agent),
                answer=None if own else plain(record.answer, scrub),
                ran=plain(ran, scrub),
                usage={name: count for name, count in record.usage.to_dict().items() if count},
                seconds=round((record.ended or record.began) - record.began, 3),
                pieces=_paces(record) if record.answer == "".join(text for _, text in record.paces) else [],
                origin=self._origin,
                used=True,
            )
        )

    def look_up(self, attempt: Attempt, lookup: Lookup) -> Found:
        """The recorded result of a tool, or the vector of a text; else who keeps it.

        Raises:
            Exception: Where there is none and nobody is to be asked; its cause is a `NotRecordedError`.
        """
        if lookup.kind == "tool" and not self._tools:
            return None
        tree = _question.lookup(lookup, attempt.secrets.scrub)
        if lookup.kind == "tool":
            question = self._place(attempt, _listen.place_of(attempt), tree)
        else:  # the same vector, whoever asks
            question = Question(tree, _question.digest(tree), ("", 0, None, 0), 0)
        kept = self._find(question.call, question.place)
        if kept is not None:
            value = unplain_as(self._answers.whole(kept.answer), lookup.models)
            seconds = kept.seconds / self._speed if self._speed else 0.0
            return Answer(value=value, raised=kept.raised, seconds=seconds)
        if self._asks:
            return functools.partial(self._told, attempt, question)
        attempt.refused = self._missing(question, f"the {lookup.kind} {lookup.name}")  # CrewAI may go on without it
        raise _crewai.abort(str(attempt.refused)) from attempt.refused

    def _told(self, attempt: Attempt, question: Question, answer: Answer) -> None:
        scrub = attempt.secrets.scrub
        if attempt.closed:
            return
        self._keep(
            question.kept(
                answer=plain(answer.value, scrub),
                raised=answer.raised,
                seconds=round(answer.seconds, 3),
                origin=self._origin,
                used=True,
            )
        )

    # ---------------------------------------------------------------------------------------------------------------

    def _place(self, attempt: Attempt, task: int | None, tree: dict[str, Any], *, is_call: bool = False) -> Question:
        call = _question.digest(tree)
        with self._counting:
            counts = self._counts.setdefault(attempt, Counter())
            turn, order = counts[task, call], counts[task]
            counts[task, call] += 1
            counts[task] += is_call
        return Question(tree, call, (*attempt.known_as, task, turn), order)

    def _again(self, kept: Kept, record: CallRecord) -> Answer:
        models = [record.asked.response_model, getattr(record.asked.llm, "response_format", None)]
        ran = self._answers.whole(kept.ran) or []
        value = unplain_as(self._answers.whole(kept.answer), [m for m in models if isinstance(m, type)])
        pieces, said = [], 0
        for at, count in kept.pieces if self._speed and isinstance(value, str) else ():
            pieces.append((at / self._speed, value[said : said + int(count)]))
            said += int(count)
        return Answer(
            value=value,
            usage=Usage.from_dict(kept.usage),
            ran=tuple((name, unplain_as(arguments)) for name, arguments in ran),
            seconds=kept.seconds / self._speed if self._speed else 0.0,
            pieces=tuple(pieces),
        )

    def _missing(self, question: Question, who: str) -> NotRecordedError:
        run, repeat, task, _ = question.place
        nearest = self._answers.nearest(question.tree, question.place)
        differs = "it has none" if nearest is None else _question.difference(question.tree, nearest)
        asker = ", ".join(
            filter(None, [run, f"repeat {repeat}" * bool(repeat), f"task {task}" * (task is not None), who])
        )
        words = (
            f"{self._answers.path.name} has no answer to what {asker or 'this run'} asks; {differs}. "
            'answers_missing="ask" asks, and adds what is said.'
        )
        return NotRecordedError(words)

    def _find(self, call: str, place: Place) -> Kept | None:
        return self._answers.find(call, place, self._origin)

    def _keep(self, kept: Kept) -> None:
        self._answers.add(kept)
        engine.call(self._flush)

    def _flush(self) -> None:
        """Write what is new, beside the runs; on the loop."""
        if self._flushing is None or self._flushing.done():
            loop = asyncio.get_running_loop()
            self._flushing = loop.create_task(self._write(self._answers.flush), context=contextvars.Context())

    async def _write(self, write: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(write)
        except RecordError as error:
            self._note(str(error))

    # --- on a cluster, where a worker has a copy ------------------------------------------------------------------

    def lent(self) -> Lent:
        """What a worker needs to answer as here."""
        return Lent(self._answers.copied(), self._origin, self._asks, self._speed, self._tools)

    def hear(self, call: str, place: Place, kept: Kept | None) -> None:
        """A worker has found that answer in its copy, or this one is new."""
        if kept is None:
            self._find(call, place)
        else:
            self._keep(kept)

    async def settle(self) -> None:
        """Returns when all that was answered is in the file."""
        await self._write(self._answers.flush)

    async def tidy(self) -> None:
        """The batch is over: the file is put in order."""
        await self._write(self._answers.tidy)


def recorded_for(options: Options, origin: str, note: Callable[[str], object]) -> Recorded | None:
    """The recorded answers that a batch was given, if it was.

    Raises:
        RecordError: When that is no file of answers.
    """
    if options.answers is None:
        return None
    answers = _answers.opened(options.answers)
    asks = answers.is_new if options.answers_missing is None else options.answers_missing == "ask"
    return Recorded(answers, origin, asks, options.answers_speed, options.answers_tools, note)


@functools.cache
def see_lookups() -> None:
    """Let witnesses see tools and embedders; once CrewAI is loaded."""
    _lookups.install(_look_up, _sleep, lambda: bool(_witnesses()))


def _witnesses() -> Sequence[Witness]:
    attempt = _attempt.current.get()
    return () if attempt is None else attempt.gate.witnesses


def _look_up(lookup: Lookup) -> Found:
    attempt = _attempt.current.get()
    for witness in _witnesses():
        assert attempt is not None
        found = witness.look_up(attempt, lookup)
        if found is not None:
            return found
    return None


def _sleep(seconds: float) -> None:
    attempt = _attempt.current.get()
    if attempt is not None:
        attempt.gate.rest(attempt, seconds)


def known_as(plans: Sequence[Plan], secrets: Callable[[int], Secrets], above: str = "") -> list[tuple[str, int]]:
    """What each run is known by in recorded answers: its inputs, and how often the batch has it before.

    Args:
        plans: The runs.
        secrets: What is hidden in each.
        above: The run that launched them.
    """
    crews: dict[str, dict[int, int]] = {}
    repeats: Counter[Any] = Counter()
    names = []
    for plan in plans:
        words = ", ".join(f"{name}={_word(value)}" for name, value in sorted((plan.inputs or {}).items()))
        words = secrets(plan.index).scrub(words)
        if len(words) > NAMED:
            words = f"{words[:NAMED]}… {_question.digest(words)[:8]}"
        words = " > ".join(filter(None, [above, words]))
        # Different crews with the same inputs are told apart by their order.
        place = crews.setdefault(words, {}).setdefault(id(plan.source), len(crews[words]))
        names.append((f"{words} ({place + 1})".lstrip() if place else words, repeats[words, place]))
        repeats[words, place] += 1
    return names


def _word(value: Any) -> str:
    """An input as one line: an LLM by its name and settings, another object by its class."""
    if isinstance(value, str):
        return value
    if isinstance(value, (*_PLAIN, list, dict, tuple)):
        return dumps(plain(value))
    model = getattr(value, "model", None)
    if not isinstance(model, str):
        return getattr(value, "__name__", type(value).__name__)
    settings = {name: getattr(value, name, None) for name in SETTINGS if name != "base_url"}
    return f"{model} {_question.digest(plain(settings))[:4]}"


def _paces(record: CallRecord) -> list[list[float]]:
    """When how much of an answer came; pieces that came together are one."""
    paces: list[list[float]] = []
    for at, text in record.paces:
        since = round(max(0.0, at - record.began), 3)
        if paces and since - paces[-1][0] < TICK:
            paces[-1][1] += len(text)
        else:
            paces.append([since, len(text)])
    return paces
