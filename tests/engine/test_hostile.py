"""Code of the user's that misbehaves: its run ends with an error that says why, and its siblings never notice."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._engine.engine import _line
from crew_nb._state.events import Logged
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crewai import Crew


class UnprintableError(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Slotted:
    """Has no `__dict__`."""

    __slots__ = ("word",)

    def __init__(self) -> None:
        self.word = "slot"


class Evil:
    """Raises wherever it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"nobody reads {name}")


slotted, evil = Slotted(), Evil()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StopIteration(), "StopIteration"),
        (UnprintableError(), "ValueError in UnprintableError.__str__"),
        (asyncio.CancelledError(), "nobody stopped the run"),
        (SystemExit(3), "3"),
        (KeyboardInterrupt("keys"), "keys"),
        (GeneratorExit("gone"), "gone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("where", ["factory", "callback", "tool"])
def test_whatever_is_raised_fails_its_own_run(server: Server, where: str, error: BaseException, words: str) -> None:
    """Errors that Python itself treats in a special way, and one without a text: each ends its run, and only it."""
    shared = llm(server)
    if where == "tool":
        server.configure(topics={"topic=bad": {"tool_calls": [{"name": "search", "arguments": {"query": "x"}}]}})

    def raising(*args: Any, **kwargs: Any) -> Any:
        raise error

    def build(topic: str) -> Crew:
        if topic == "good" or where == "callback":
            return crews.one(shared, **({"callback": raising} if topic == "bad" else {}))
        if where == "factory":
            raising()
        from crewai.tools import tool

        @tool("search")
        def search(query: str) -> str:
            """Search."""
            raise error

        return crews.one(shared, tools=[search])

    batch = cnb.kickoff_for_each(build, [{"topic": "bad"}, {"topic": "good"}], show=False)
    results = batch.wait(60)
    assert results[1].status == "done"
    if where == "tool" and isinstance(error, Exception):
        return  # CrewAI tells the LLM about it, and the run goes on
    assert results[0].status == "failed"
    message = results[0].state.error.message
    assert words in message or (isinstance(error, UnprintableError) and "no words" in message)
    with pytest.raises(cnb.RunFailedError):
        _ = results[0].raw


def _with(name: str, get: Any) -> BaseException:
    """An error of a class with that one hostile attribute."""
    return type("ApiError", (Exception,), {name: get})("no")


def _raise(error: BaseException) -> Any:
    raise error


_let_go = threading.Event()
"""Set once those that hang are to come back."""


@pytest.fixture
def hanging() -> Iterator[None]:
    """What hangs in this test comes back at its end."""
    _let_go.clear()
    yield
    _let_go.set()


class Vain(type):
    """A class that does not tell its name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("nobody asks")


class DeepError(Exception):
    """Asks itself for ever."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class FrozenError(Exception):
    """Takes no attribute."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class ByBodyError(Exception):
    """Raises KeyError where AttributeError is meant."""

    def __getattr__(self, name: str) -> Any:
        return self.args[0][name]


class Chatty(str):
    """A text with a mind of its own."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __len__ = __hash__ = __getitem__ = __iter__ = __eq__ = lambda self, *args: _raise(RuntimeError("no"))  # type: ignore[assignment]


def _unset(self: object) -> Any:
    raise RuntimeError("it is not set")


ERRORS: dict[str, Any] = {
    **{
        name: lambda name=name: _with(name, property(_unset))
        for name in (
            *("response", "status_code", "code", "body", "headers", "request", "details", "status", "type"),
            *("__notes__", "__dict__", "__class__", "__cause__", "__context__", "__traceback__", "args"),
        )
    },
    "text that is no text": lambda: _with("__str__", lambda self: Chatty("words")),
    "text that ends the process": lambda: _with("__str__", lambda self: _raise(SystemExit(1))),
    "text that interrupts": lambda: _with("__str__", lambda self: _raise(KeyboardInterrupt())),
    "text that cancels": lambda: _with("__str__", lambda self: _raise(asyncio.CancelledError())),
    "text that hangs": lambda: _with("__str__", lambda self: _let_go.wait(60) and "late"),
    "attribute that ends the process": lambda: _with("__getattr__", lambda self, name: _raise(SystemExit(1))),
    "a class without a name": lambda: Vain("Nameless", (Exception,), {})("no"),
    "no module": lambda: type("NoModule", (Exception,), {"__module__": None})("no"),
    "asks itself": lambda: DeepError("no"),
    "takes no attribute": lambda: FrozenError("no"),
    "its body has no such key": lambda: ByBodyError({}),
    "a group of them": lambda: ExceptionGroup("all", [ByBodyError({}), DeepError("no")]),
}


def test_whatever_an_error_does_when_it_is_looked_at_its_run_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch, hanging: None
) -> None:
    """Each of a table of hostile errors ends its own run, in its place, and as the cause of another error, too."""
    monkeypatch.setattr("crew_nb._engine.looks.LOOK_SECONDS", 0.5)
    shared = llm(server)
    crews.one(shared)  # CrewAI is loaded before the seconds count

    def build(which: str, caused: bool) -> Crew:
        if which == "good":
            return crews.one(shared)
        if not caused:
            raise ERRORS[which]()
        try:
            raise ERRORS[which]()
        except BaseException as error:
            raise ValueError("outer") from error

    rows = [{"which": name, "caused": caused} for name in ERRORS for caused in (False, True)]
    batch = cnb.kickoff_for_each(build, [*rows, {"which": "good", "caused": False, "topic": "x"}], show=False)
    results = batch.wait(60)
    assert {row["which"] for row, result in zip(rows, results, strict=False) if result.status != "failed"} == set()
    assert results[-1].status == "done"
    assert all(result.state.error and result.state.error.type for result in results[:-1])
    for result in results[:-1]:
        with pytest.raises(cnb.RunFailedError):
            _ = result.raw
    assert "outer" in results[1].state.error.message
    assert len(results.errors) == len(rows)
    assert len(cnb.load(batch.key)) == len(rows) + 1


def _hung(*args: Any, **kwargs: Any) -> Any:
    _let_go.wait(60)
    raise RuntimeError("late")


def _output(what: str) -> Any:
    """A `CrewOutput`, as an `after_kickoff` callback may return one, that is hostile in one way."""
    from crewai import CrewOutput
    from pydantic import BaseModel

    class Report(BaseModel):
        title: str = "T"

    class Locked(CrewOutput):
        def __setattr__(self, name: str, value: Any) -> None:
            raise RuntimeError("it is locked")

    class Hanging(Report):
        @property
        def model_extra(self) -> Any:
            return _hung()

    class Raising(Report):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("nobody reads me")

    def made(kind: type[CrewOutput] = CrewOutput, **fields: Any) -> CrewOutput:
        whole = {"raw": "fine", "pydantic": None, "json_dict": None, "tasks_output": [], "token_usage": None}
        return kind.model_construct(**{**whole, **fields})

    return {
        "text without a text": lambda: made(raw=evil),
        "text that hangs": lambda: made(raw=type("Slow", (), {"__str__": _hung})()),
        "locked": lambda: made(Locked),
        "a model that raises": lambda: made(pydantic=Raising()),
        "a model that hangs": lambda: made(pydantic=Hanging()),
        "tasks that are none": lambda: made(tasks_output=evil),
        "nothing": lambda: CrewOutput.model_construct(),
        "cyclic": lambda: made(json_dict=(lambda d: d.update(me=d) or d)({})),
    }[what]()


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("text without a text", "done"),
        ("text that hangs", "failed"),
        ("locked", "done"),
        ("a model that raises", "failed"),
        ("a model that hangs", "done"),
        ("tasks that are none", "done"),
        ("nothing", "done"),
        ("cyclic", "done"),
    ],
)
def test_whatever_an_output_does_when_it_is_looked_at_its_run_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch, hanging: None, what: str, status: str
) -> None:
    """It fails where it has no text; it is done where only the record cannot read it, or it takes no usage."""
    monkeypatch.setattr("crew_nb._engine.looks.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("crew_nb._engine.kept.ENCODE_SECONDS", 0.5)
    shared = llm(server)

    def build(topic: str) -> Crew:
        crew = crews.one(shared)
        if topic == "bad":
            crew.after_kickoff_callbacks.append(lambda output: _output(what))
        return crew

    batch = cnb.kickoff_for_each(build, [{"topic": "bad"}, {"topic": "good"}], show=False)
    assert [result.status for result in batch.wait(30)] == [status, "done"]
    assert cnb.load(batch.key)[1].raw


def test_an_input_that_hangs_when_it_is_kept_costs_its_own_run_only(
    server: Server, monkeypatch: pytest.MonkeyPatch, hanging: None
) -> None:
    """A factory takes an object whose repr never comes: the record has the run without it."""
    monkeypatch.setattr("crew_nb._engine.kept.ENCODE_SECONDS", 0.5)
    monkeypatch.setattr("crew_nb._engine.kept.KEY_SECONDS", 0.5)
    shared = llm(server)

    class Slow:
        def __repr__(self) -> str:
            return "thing" if threading.current_thread() is threading.main_thread() else _hung()

    def build(topic: str, thing: object = None) -> Crew:
        return crews.one(shared)

    rows = [{"topic": "bad", "thing": Slow()}, {"topic": "good"}]
    batch = cnb.kickoff_for_each(build, rows, show=False)
    assert [result.status for result in batch.wait(30)] == ["done", "done"]
    assert cnb.load(batch.key)[1].inputs == {"topic": "good"}


def test_code_that_cancels_the_task_that_runs_it_ends_its_own_run(server: Server) -> None:
    """A callback gets hold of the running task and cancels it, more than once; the run fails, and the others do not."""
    shared = llm(server)

    async def cancelling(*args: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(3):
            task.cancel()
        return args[0]

    def build(topic: str) -> Crew:
        crew = crews.one(shared)
        if topic == "bad":
            crew.tasks[0].guardrail = None
            crew.tasks[0].callback = cancelling
        return crew

    batch = cnb.kickoff_for_each(build, [{"topic": "bad"}, {"topic": "good"}], show=False)
    results = batch.wait(30)
    assert results[0].state.final
    assert results[1].status == "done"


def test_objects_that_cannot_be_looked_at_do_not_keep_a_run_from_its_end(server: Server) -> None:
    """A factory reaches an object without a `__dict__` and one that raises at every look."""
    shared = llm(server)

    def build(topic: str) -> Crew:
        assert slotted is not None
        assert evil is not None
        return crews.one(shared)

    assert cnb.kickoff_for_each(build, [{"topic": "x"}], show=False).wait(60)[0].status == "done"


def test_a_view_that_cannot_draw_stops_no_run(server: Server) -> None:
    """A board whose update raises is left alone, and the batch says so."""
    batch = cnb.kickoff_for_each(crews.chain(llm(server), 2), [{"topic": "x"}], show=False)

    def broken() -> None:
        raise OSError("no front end")

    batch._driver.observers.append(broken)
    batch.state()
    assert batch.wait(60)[0].status == "done"
    assert any("no front end" in note for note in batch.state().notes)


def test_what_crewai_prints_goes_to_the_row(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """Knowledge that cannot be stored while the crew is built, memory, verbose agents: nothing reaches the cell."""
    from crewai import Crew
    from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource

    shared = llm(server)

    def build(topic: str) -> Crew:
        one = crews.one(shared)
        source = StringKnowledgeSource(content="Robots are cheap.")  # has no key for its embeddings
        return Crew(agents=one.agents, tasks=one.tasks, knowledge_sources=[source], memory=True, verbose=True)

    batch = cnb.kickoff_for_each(build, [{"topic": "x"}], show=False)
    assert batch.wait(60)[0].status == "done"
    assert any("OPENAI_API_KEY" in event.text for event in batch.events if isinstance(event, Logged))
    assert capfd.readouterr().out == ""


def test_a_log_line_whose_arguments_do_not_fit_raises_nowhere() -> None:
    """The row shows what there is; a handler that raised would end the run."""
    record = logging.LogRecord("crewai.task", logging.WARNING, __file__, 1, "%d of %s", ("one",), None)
    assert _line(record) == "warning: '%d of %s' with ('one',)"


class _Shy:
    """Raises where an attribute that it does not have is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class _Closed:
    """Raises whatever is asked for, its class too."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: [it], lambda it: {"token": it}], ids=["it", "list", "token"]
)
def test_an_input_whose_attributes_raise_is_run_or_refused(wrap: Any) -> None:
    """A function may take it; what cannot be looked at at all is refused in our words, with its error as the cause."""

    def build(topic: str, thing: Any) -> Any:
        return crews.one(cnb.OfflineLLM(latency=0, tokens_per_second=None))

    (result,) = cnb.kickoff_for_each(build, [{"topic": "A", "thing": wrap(_Shy())}], show=False).wait(60)
    assert result.status == "done", result.error
    with pytest.raises(cnb.BlueprintError, match=r"inputs(\[0\])?: a value cannot be looked at") as refused:
        cnb.kickoff_for_each(build, [{"topic": "A", "thing": wrap(_Closed())}], show=False)
    assert isinstance(refused.value.__cause__, RuntimeError)
