"""`human_input=True`: a task that waits for a person says so in its row; it never approves itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.errors import NobodyToAskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crew_nb._crewai.kind import Kind
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.state import RunState

_keys = itertools.count()


@contextlib.contextmanager
def asking(attempt: Attempt, kind: Kind, subject: Any) -> Iterator[None]:
    """Ask people through the row of this attempt, where what it runs asks at all.

    Raises:
        NobodyToAskError: When it surely asks and nobody can answer here.
    """
    asks = kind.asks(subject)
    if asks == "never":
        yield
        return
    if asks == "surely" and not attempt.asks_by:
        raise NobodyToAskError(_NOBODY)
    provider = Provider(attempt)
    kind.let_ask(subject, provider.ask_from_thread)
    with _crewai.human_provider(provider):
        yield


_NOBODY = (
    "a task or step asks a person (human_input=True, @human_feedback, ask()), but nobody can answer here (no board, no "
    "terminal). Run it in a notebook with show=True, or build it without (human_input=False)."
)


class Provider:
    """CrewAI's `HumanInputProvider`, with the row's form as the person's pen."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()

    def setup_messages(self, context: Any) -> bool:
        """Leave the messages to CrewAI."""
        return False

    def post_setup_messages(self, context: Any) -> None:
        """Nothing to add to the messages."""

    def handle_feedback(self, formatted_answer: Any, context: Any) -> Any:
        """The sync flow, from a worker thread: ask on the engine's loop."""
        answer = formatted_answer
        while feedback := asyncio.run_coroutine_threadsafe(self._ask(answer, context), self._loop).result():
            context.messages.append(context._format_feedback_message(feedback))
            answer = context._invoke_loop()
        context.ask_for_human_input = False
        return answer

    async def handle_feedback_async(self, formatted_answer: Any, context: Any) -> Any:
        """Show the draft and wait for the person: approval ends it, feedback sends the agent back to work."""
        answer = formatted_answer
        while feedback := await self._ask(answer, context):
            context.messages.append(context._format_feedback_message(feedback))
            answer = await context._ainvoke_loop()
        context.ask_for_human_input = False
        return answer

    def ask_from_thread(self, about: str, words: str, key: str) -> str:
        """A step of a flow asks, from a worker thread; empty where the person has nothing to say.

        Args:
            about: What asks, in words.
            words: What the person is to look at.
            key: The step, as `places` knows it.
        """
        place = self._attempt.places.get(key)
        return asyncio.run_coroutine_threadsafe(self._question(about, words, place), self._loop).result()

    async def _ask(self, answer: Any, context: Any) -> str:
        """The person's feedback; empty where they approve."""
        place = self._attempt.places.get(str(getattr(context.task, "id", "")))
        about = str(getattr(context.task, "name", None) or context.task.description)
        return await self._question(about, str(answer.output), place)

    async def _question(self, about: str, draft: str, place: int | None) -> str:
        attempt = self._attempt
        if not attempt.asks_by:
            raise NobodyToAskError(_NOBODY)
        key = f"person-{next(_keys)}"
        attempt.questions[key] = self._loop.create_future()
        attempt.leave()  # others go on meanwhile; its calls are still limited with all others
        common: dict[str, Any] = {"run": attempt.index, "key": key}
        attempt.post(ev.WaitStarted(at=_clock.now(), reason="person", task=place, detail=draft, **common))
        typing = None
        if attempt.asks_by == "input":
            words = f"run {attempt.index}, {about}"
            typing = self._loop.create_task(_typed(words, draft, attempt.questions[key]))
        try:
            return await attempt.questions[key]
        finally:
            attempt.questions.pop(key, None)
            if typing is not None:
                typing.cancel()
            attempt.post(ev.WaitFinished(at=_clock.now(), **common))


class CellPrompt:
    """Asks at the prompt of a cell that joins, where the kernel cannot hear the board's form until the cell ends."""

    def __init__(self, answer: Callable[[int, str, str], object]) -> None:
        """Hand each answer to `answer`: the run, the key of its question, and the feedback (empty: approved)."""
        self._answer = answer
        self._asked: set[str] = set()

    def ask(self, states: Iterable[RunState]) -> None:
        """Ask what these runs wait to be told, one after another; blocks until each has its answer."""
        for state in states:
            for wait in state.waits:
                if wait.reason == "person" and wait.key not in self._asked:
                    self._asked.add(wait.key)
                    spec = state.tasks[wait.task].spec.name if wait.task is not None else "a task"
                    words = f"run {state.index} ({state.label}), {spec}"
                    with _interruptible():
                        text = input(_question(words, wait.detail))
                    self._answer(state.index, wait.key, text.strip())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Interrupt end a prompt: while a cell awaits, ipykernel's own handler only cancels the cell, later."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _question(task: str, draft: str) -> str:
    return f"\n{task} asks for a person.\n\n{draft}\n\nFeedback (empty: approve): "


_terminal = threading.Lock()  # one question at a time on one keyboard

LOOK_SECONDS = 0.1
"""How long a terminal is listened to before somebody looks whether its question is still open."""


async def _typed(task: str, draft: str, answer: asyncio.Future[str]) -> None:
    """Ask in the terminal, in turn, until there is an answer or the question has gone."""
    asked = threading.Event()

    def ask() -> str | None:
        with _terminal:
            if answer.done():
                return None
            asked.set()
            return _read(_question(task, draft), answer.done)

    try:
        text = await asyncio.to_thread(ask)
    except asyncio.CancelledError:
        if asked.is_set():
            print(f"\n{task} asks no longer." + ("" if _can_look() else " Press Enter to leave its question."))
        raise
    if text is not None and not answer.done():
        answer.set_result(text.strip())


def _read(question: str, gone: Callable[[], bool]) -> str | None:
    """A line from the terminal; None where the question has gone, which `input` would not notice."""
    if not _can_look():
        return input(question)
    print(question, end="", flush=True)
    keyboard = sys.stdin.fileno()
    line = b""
    while not line.endswith((b"\n", b"\r")):
        typed = select.select([keyboard], [], [], LOOK_SECONDS)[0]
        if gone():  # and what was typed is for the next question
            return None
        if typed:
            # Not `readline`, which may take more than a line from the terminal, where no `select` finds it again.
            said = os.read(keyboard, 4_096)
            if not said:
                raise EOFError("the terminal's input has ended")
            line += said
    return line.decode(sys.stdin.encoding or "utf-8", "replace")


def _can_look() -> bool:
    """Whether it can be seen that somebody has typed a line, before it is read."""
    return os.name == "posix" and sys.stdin is not None and sys.stdin.isatty()
