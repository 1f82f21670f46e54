"""Which crews take the direct path, what an isolated crew is given for it, and how plain functions wait in threads."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_executor import AgentExecutor
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMCallFailedEvent, LLMStreamChunkEvent
from crewai.events.types.logging_events import AgentLogsStartedEvent
from crewai.execution import set_execution_uuid
from crewai.memory.storage.kickoff_task_outputs_storage import KickoffTaskOutputsSQLiteStorage
from crewai.utilities import file_store
from crewai.utilities.exceptions.context_window_exceeding_exception import LLMContextLengthExceededError

import crew_nb
from crew_nb._crewai import direct as _direct
from crew_nb._crewai import fast as _fast
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._crewai import sources
from crew_nb._state import attempt as _attempt
from crew_nb._state.attempt import Attempt
from tests.conformance.paths import OpenGate, Path, Stage, watch
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make(crew: dict[str, Any] | None = None, **agent: Any) -> Crew:
    who = Agent(role="R", goal="g", backstory="b", **{"llm": ScriptedLLM(["done"]), **agent})
    task = Task(description="d", expected_output="e", agent=who)
    return Crew(agents=[who], tasks=[task], **(crew or {}))


# --- which crews ---


def checkpointed(what: str) -> Crew:
    """Set afterwards: given at once, CrewAI would listen to every event for the rest of the process."""
    crew = make()
    (crew if what == "crew" else crew.agents[0]).checkpoint = True
    return crew


class OwnExecutor(AgentExecutor):
    """Somebody's executor."""

    @classmethod
    def flow_definition(cls) -> Any:
        return AgentExecutor.flow_definition()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (make, ""),
        (lambda: make({"planning": True, "planning_llm": ScriptedLLM()}), "the crew plans"),
        (lambda: make(reasoning=True), "agent 'R' plans"),
        (lambda: make(executor_class=OwnExecutor), "agent 'R' has its own executor class"),
        (lambda: checkpointed("crew"), "checkpoints are on"),
        (lambda: checkpointed("agent"), "checkpoints are on"),
    ],
)
def test_only_crews_that_are_known_take_the_direct_path(build: Callable[[], Crew], reason: str) -> None:
    """Everything else says why in words."""
    assert _fast.why_not(build()).startswith(reason)
    assert bool(_fast.why_not(build())) is bool(reason)


def test_a_crew_in_training_takes_the_stock_path() -> None:
    """Training feeds on the stock executor's feedback loop."""
    crew = make()
    crew._train = True
    assert _fast.why_not(crew) == "the crew is in training"


def test_another_source_of_the_executor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patched or newer function is not taken for the one that was checked, and is named; others are not."""
    assert sources.executor_moved() == []
    stock = AgentExecutor.__dict__["finalize"]

    def finalize(self: Any) -> str:
        return "completed"

    monkeypatch.setattr(AgentExecutor, "finalize", finalize)
    (moved,) = sources.executor_moved()
    assert moved == f"AgentExecutor.finalize ({sources._digest(finalize)})"
    monkeypatch.delattr(AgentExecutor, "finalize")
    assert sources.executor_moved() == ["AgentExecutor.finalize (not there)"]
    monkeypatch.setattr(AgentExecutor, "finalize", stock, raising=False)
    assert sources.executor_moved() == []


def test_words_about_a_function_do_not_make_another_one_of_it() -> None:
    """Comments and docstrings may change; a line of code may not."""

    def said(limit: int) -> int:
        """One thing."""
        return limit + 1

    bare = sources._digest(said)

    def said(limit: int) -> int:
        """Another thing.

        In more lines.
        """
        # with a reason

        return limit + 1

    assert sources._digest(said) == bare

    def said(limit: int) -> int:
        return limit + 2

    assert sources._digest(said) != bare


# --- what a crew is given ---


def test_every_agent_is_accelerated() -> None:
    """Those in the crew, those that only a task knows, and the manager, also one that is made at kickoff."""
    hidden = Agent(role="H", goal="g", backstory="b", llm=ScriptedLLM())
    crew = make({"process": Process.hierarchical, "manager_llm": ScriptedLLM()})
    crew.tasks.append(Task(description="2", expected_output="e", agent=hidden))
    _fast.accelerate(crew)
    crew._create_manager_agent()
    assert crew.manager_agent is not None
    found = [agent.executor_class for agent in (*crew.agents, hidden, crew.manager_agent)]
    assert found == [_direct.DirectExecutor] * 3


def test_an_agent_that_was_at_work_gets_a_new_executor() -> None:
    """One that a factory has run before is not left with its stock executor."""
    crew = make()
    crew.agents[0].create_agent_executor()
    _fast.accelerate(crew)
    assert crew.agents[0].agent_executor is None
    assert _fast.why_not(crew) == ""


@pytest.mark.parametrize("keep", [False, True])
def test_replay_is_kept_where_it_is_asked_for(keep: bool) -> None:
    """CrewAI's store of the last outputs is written with `keep_replay`, and untouched without."""
    path = KickoffTaskOutputsSQLiteStorage().db_path

    def stored() -> list[Any]:
        with sqlite3.connect(path) as database:
            return database.execute("select task_id from latest_kickoff_task_outputs").fetchall()

    asyncio.run(make().akickoff())
    (before,) = stored()
    crew = make()
    _fast.accelerate(crew, keep_replay=keep)
    asyncio.run(crew.akickoff())
    assert stored() == [(str(crew.tasks[0].id),) if keep else before]


class Overridden(ScriptedLLM):
    def call(self, *args: Any, **kwargs: Any) -> Any:
        return super().call(*args, **kwargs)


class OverriddenBoth(Overridden):
    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return await super().acall(*args, **kwargs)


def _patched() -> ScriptedLLM:
    llm = ScriptedLLM()
    llm.call = lambda *args, **kwargs: "mine"  # type: ignore[method-assign]
    return llm


@pytest.mark.parametrize(
    ("llm", "expected"),
    [(ScriptedLLM, True), (Overridden, False), (OverriddenBoth, True), (_patched, False)],
)
def test_acall_is_used_where_it_does_what_call_does(llm: Callable[[], Any], expected: bool) -> None:
    """A class that overrides only `call` wants its own `call` to be run."""
    assert _direct.calls_async(llm()) is expected


def test_an_overridden_call_is_run() -> None:
    """In a thread, and with the same outcome."""

    def shape(stage: Stage) -> Crew:
        stage.llms.append(Overridden(["mine"]))
        return make(llm=stage.llms[0])

    seen = watch(shape, "direct")
    assert (seen.output[-3], seen.ways) == ("mine", {"call"})


def test_an_accelerated_crew_runs_in_plain_code_too() -> None:
    """Where no loop of a run is at hand (a thread of CrewAI's), the direct executor makes do with one for itself."""
    llm = ScriptedLLM(["done"])
    crew = make(llm=llm)
    _fast.accelerate(crew)
    assert crew.kickoff().raw == "done"
    assert [question["way"] for question in llm.asked] == ["call"]


# --- what runs of ours need not do again ---


@pytest.fixture
def in_a_run() -> contextvars.Context:
    _fast.install()
    context = contextvars.copy_context()
    context.run(_attempt.current.set, Attempt(0, lambda event: None, OpenGate()))  # type: ignore[arg-type]
    return context


@pytest.mark.parametrize("path", ["crewai", "stock", "direct"])
def test_the_users_handlers_hear_our_runs(path: Path) -> None:
    """Handlers on CrewAI's event bus hear a crew on every path, with its tokens."""
    heard: list[Any] = []

    def handler(source: Any, event: LLMCallCompletedEvent) -> None:
        heard.append(event.usage)

    crewai_event_bus.on(LLMCallCompletedEvent)(handler)
    try:
        watch(lambda stage: make(llm=stage.llm("done")), path)
    finally:
        crewai_event_bus.off(LLMCallCompletedEvent, handler)
    assert [usage["total_tokens"] for usage in heard] == [15]


def test_an_event_that_nobody_hears_goes_to_no_thread(in_a_run: contextvars.Context) -> None:
    """In our runs CrewAI's own silenced listeners are passed over; elsewhere they are called as ever."""

    def emit() -> Any:
        set_execution_uuid("a kickoff")
        return crewai_event_bus.emit(None, AgentLogsStartedEvent(agent_role="R"))

    assert in_a_run.run(emit) is None
    contextvars.copy_context().run(emit).result(60)


def test_events_are_heard_and_kept_where_they_can_be_read(in_a_run: contextvars.Context) -> None:
    """In our runs CrewAI's record holds the call for a handler of the user's, and no piece of it; elsewhere, all."""

    def kept() -> list[str]:
        scope = crewai_event_bus._enter_runtime_scope()
        try:
            heard: list[Any] = []
            _crewai.listen(lambda source, event: heard.append(event))
            ScriptedLLM(["one two"], chunks=3).call("hi")
            assert any(isinstance(event, LLMStreamChunkEvent) for event in heard)
            assert crewai_event_bus.runtime_state is not None
            return [node.event.type for node in crewai_event_bus.runtime_state.event_record.nodes.values()]
        finally:
            crewai_event_bus._exit_runtime_scope(scope)

    def listens(source: Any, event: Any) -> None: ...

    assert in_a_run.run(kept) == []
    crewai_event_bus.on(LLMCallFailedEvent)(listens)
    try:
        assert in_a_run.run(kept) == ["llm_call_started", "llm_call_completed"]
    finally:
        crewai_event_bus.off(LLMCallFailedEvent, listens)
    assert in_a_run.run(kept) == []
    assert "llm_stream_chunk" in contextvars.copy_context().run(kept)


def test_the_table_of_outputs_is_made_once_a_process(in_a_run: contextvars.Context, tmp_path: Any) -> None:
    """In our runs a store that exists is not set up again; one that was deleted is."""
    path = tmp_path / "outputs.db"

    def tables() -> list[Any]:
        with sqlite3.connect(path) as database:
            return database.execute("select name from sqlite_master where type = 'table'").fetchall()

    in_a_run.run(KickoffTaskOutputsSQLiteStorage, str(path))
    with sqlite3.connect(path) as database:
        database.execute("drop table latest_kickoff_task_outputs")
    in_a_run.run(KickoffTaskOutputsSQLiteStorage, str(path))
    assert tables() == []
    KickoffTaskOutputsSQLiteStorage(str(path))
    assert tables() != []
    path.unlink()
    in_a_run.run(KickoffTaskOutputsSQLiteStorage, str(path))
    assert tables() != []


# --- plain functions that wait in threads ---


async def test_a_function_that_waits_runs_elsewhere_and_answers_here() -> None:
    """Below `drive` it runs in a thread, with the context, and what it sets in the context stays."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    @_offload.waiting
    def work(text: str) -> tuple[str, str, int]:
        seen = variable.get()
        variable.set("after")
        return text, seen, threading.get_ident()

    async def crew() -> Any:
        variable.set("before")
        first = work("a")
        await asyncio.sleep(0)
        return first, variable.get(), await asyncio.to_thread(work, "b")

    (text, seen, thread), after, (_, _, other) = await _offload.drive(crew())
    assert (text, seen, after) == ("a", "before", "after")
    assert threading.get_ident() not in (thread, other)
    assert work("c")[2] == threading.get_ident()


async def test_its_errors_and_a_cancel_arrive_in_it() -> None:
    """An error is raised where the function was called; so is a cancel, which the coroutine may clean up after."""
    held, entered, notes = threading.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    @_offload.waiting
    def fail() -> None:
        raise ValueError("no")

    @_offload.waiting
    def hold() -> None:
        loop.call_soon_threadsafe(entered.set)
        held.wait(60)

    async def crew() -> None:
        try:
            fail()
        except ValueError as error:
            notes.append(str(error))
        try:
            hold()
        finally:
            await asyncio.sleep(0)
            notes.append("cleaned up")

    task = asyncio.ensure_future(_offload.drive(crew()))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.set()
    assert notes == ["no", "cleaned up"]


async def test_driven_coroutines_nest_and_run_side_by_side() -> None:
    """Each waits for its own thread; one within another comes back to the right one."""
    barrier = threading.Barrier(3)

    @_offload.waiting
    def meet(name: str) -> str:
        barrier.wait(60)
        return name

    async def inner(name: str) -> str:
        await asyncio.sleep(0)
        return meet(name)

    async def outer(name: str) -> str:
        return await _offload.drive(inner(name)) + "!"

    async with asyncio.timeout(10):
        assert await asyncio.gather(*(_offload.drive(outer(n)) for n in "abc")) == ["a!", "b!", "c!"]


async def test_files_are_looked_for_on_the_running_loop(in_a_run: contextvars.Context) -> None:
    """CrewAI's look-up of input files starts no loop of its own below `drive`, and works as before elsewhere."""
    loops: list[Any] = []

    async def look() -> str:
        loops.append(asyncio.get_running_loop())
        return "found"

    async def crew() -> Any:
        return file_store._run_sync(look())

    async def run() -> Any:
        return await _offload.drive(crew())

    assert await asyncio.create_task(run(), context=in_a_run) == "found"
    assert await asyncio.to_thread(file_store._run_sync, look()) == "found"
    assert [loop is asyncio.get_running_loop() for loop in loops] == [True, False]


# --- the engine they run on ---


@pytest.mark.parametrize("where", ["stock", "direct", "callback"])
def test_a_crew_that_exits_fails_alone(where: str) -> None:
    """SystemExit (CrewAI's word for a context that is too long, or a tool's own) ends its run, not the others' loop."""
    too_long = LLMContextLengthExceededError("maximum context length is 10 tokens")

    def leave(output: Any) -> None:
        sys.exit(3)

    def bad() -> Crew:
        if where == "callback":
            crew = make()
            crew.tasks[0].callback = leave
            return crew
        own = {"executor_class": OwnExecutor} if where == "stock" else {}
        return make(llm=ScriptedLLM([too_long]), respect_context_window=False, **own)

    def good() -> Crew:
        return make(llm=ScriptedLLM(["fine"], latency=0.05))

    results = crew_nb.gather(bad, good, show=False).wait()
    assert [type(error).__name__ for error in results.errors] == ["RunFailedError"]
    assert results[1].raw == "fine"
