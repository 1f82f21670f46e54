"""CrewAI's async methods and their sync twins: what the user wrote is run, and the loop stays free."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from chromadb.api.types import EmbeddingFunction
from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_executor import AgentExecutor
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.knowledge.storage.base_knowledge_storage import BaseKnowledgeStorage
from crewai.llms.base_llm import BaseLLM
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.rag.embeddings.providers.custom.embedding_callable import CustomEmbeddingFunction
from crewai.utilities.converter import Converter
from pydantic import PrivateAttr

import crew_nb as cnb
from crew_nb._crewai import offload as _offload
from crew_nb._crewai import twins as _twins
from crew_nb._engine.engine import engine
from tests.support import crews
from tests.support.scripted_llm import ScriptedLLM
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def run(build: Callable[[], Crew]) -> Any:
    return cnb.kickoff(build, show=False).wait(20)


def one(agent: type[Agent] = Agent, task: type[Task] = Task, crew: type[Crew] = Crew, **more: Any) -> Crew:
    llm = more.pop("llm", None) or ScriptedLLM(["done"])
    who = agent(role="R", goal="g", backstory="b", llm=llm, **more.pop("agent_more", {}))
    job = task(description="Which metal?", expected_output="a line", agent=who, **more.pop("task_more", {}))
    return crew(agents=[who], tasks=[job], **more)


# --- what the user wrote ---


class SyncAgent(Agent):
    def execute_task(self, *args: Any, **kwargs: Any) -> Any:
        return f"mine, {super().execute_task(*args, **kwargs)}"


class SyncInside(Agent):
    def _execute_without_timeout(self, *args: Any, **kwargs: Any) -> Any:
        return f"mine, {super()._execute_without_timeout(*args, **kwargs)}"


class SyncTask(Task):
    def execute_sync(self, *args: Any, **kwargs: Any) -> Any:
        output = super().execute_sync(*args, **kwargs)
        output.raw = f"mine, {output.raw}"
        return output


class SyncCrew(Crew):
    def kickoff(self, *args: Any, **kwargs: Any) -> Any:
        output = super().kickoff(*args, **kwargs)
        output.raw = f"mine, {output.raw}"
        return output


class AsyncAgent(Agent):
    async def aexecute_task(self, *args: Any, **kwargs: Any) -> Any:
        return f"mine, {await super().aexecute_task(*args, **kwargs)}"


class BothAgent(SyncAgent):
    async def aexecute_task(self, *args: Any, **kwargs: Any) -> Any:
        return f"mine, {await Agent.aexecute_task(self, *args, **kwargs)}"


class CallsBack(Agent):
    def execute_task(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        return f"mine, {asyncio.run(self.aexecute_task(*args, **kwargs))}"


class SyncExecutor(AgentExecutor):
    @classmethod
    def flow_definition(cls) -> Any:
        return AgentExecutor.flow_definition()

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return {"output": f"mine, {super().invoke(*args, **kwargs)['output']}"}


@pytest.mark.parametrize(
    "how",
    [
        {"agent": SyncAgent},
        {"agent": SyncAgent, "task_more": {"async_execution": True}},
        {"agent": SyncAgent, "agent_more": {"max_execution_time": 60}},
        {"agent": SyncInside},
        {"task": SyncTask},
        {"crew": SyncCrew},
        {"agent": AsyncAgent},
        {"agent": BothAgent},
        {"agent": CallsBack},
        {"agent_more": {"executor_class": SyncExecutor}},
    ],
    ids=lambda how: " ".join(str(getattr(v, "__name__", v)) for v in how.values()),
)
def test_an_override_is_heard_once(how: dict[str, Any]) -> None:
    """Of the sync method alone, as under `kickoff()`, of the async one alone, as under `akickoff()`, or of both."""
    assert run(lambda: one(**how)).raw == "mine, done"


def test_a_sync_override_stays_on_the_runs_loop() -> None:
    """Its LLM calls are async ones, on the loop that the client lives on; and so a stop reaches them."""
    llm = ScriptedLLM(["done"])
    run(lambda: one(SyncAgent, llm=llm))
    assert [question["way"] for question in llm.asked] == ["acall"]
    slow = ScriptedLLM(["done"], latency=3_600)
    going = cnb.kickoff(lambda: one(SyncAgent, llm=slow), show=False)
    while not slow.asked:
        time.sleep(0.01)
    going.cancel()
    assert going.batch.wait(10)[0].status == "cancelled"


@pytest.mark.parametrize("form", ["guardrail", "guardrails"])
def test_guardrails_under_a_manager_leave_the_loop_free(form: str) -> None:
    """CrewAI makes them anew where it hands the task to the manager: an LLM's would then wait for its own loop."""
    llm = cnb.OfflineLLM(responses=['{"valid": true, "feedback": null}'])
    loops: list[object] = []

    def guard(output):  # type: ignore[no-untyped-def]
        loops.append(asyncio._get_running_loop())
        return True, output.raw

    for guardrail in (guard, "Be kind"):

        def build(guardrail: Any = guardrail) -> Crew:
            worker, boss = crews.agent(llm, "Worker"), crews.agent(llm, "Boss")
            more: Any = {form: guardrail if form == "guardrail" else [guardrail]}
            job = Task(description="Work", expected_output="a line", agent=worker, **more)
            return Crew(agents=[worker], tasks=[job], process=Process.hierarchical, manager_agent=boss)

        assert run(build).raw == '{"valid": true, "feedback": null}'
    assert loops == [None]


JSON = '{"title": "Mars", "score": 1, "tags": []}'


class OnlyCall(BaseLLM):
    """As in CrewAI's guide to LLM classes of one's own."""

    _script: list[str] = PrivateAttr(
        default_factory=lambda: ["Mars is red", '{"title": "Mars", "score": 1, "tags": []}']
    )

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self._script.pop(0)

    def supports_function_calling(self) -> bool:
        return False


class OwnCall(OpenAICompletion):
    def call(self, *args: Any, **kwargs: Any) -> Any:
        return "mine"


def test_an_llm_with_a_sync_call_only_converts_too() -> None:
    """What has no `acall` is asked by `call`, wherever CrewAI's async code asks it; so is one that overrides it."""
    output = run(lambda: one(llm=OnlyCall(model="own"), task_more={"output_pydantic": crews.Report}))
    assert output.pydantic.title == "Mars"
    assert run(lambda: one(llm=OwnCall(model="gpt-4o-mini", api_key="not-a-key"))).raw == "mine"


class SyncConverter(Converter):
    def to_pydantic(self, *args: Any, **kwargs: Any) -> Any:
        return crews.Report(title="mine", score=1, tags=[])


def test_a_converter_of_the_users_is_heard() -> None:
    """One that overrides `to_pydantic` alone."""
    more = {"output_pydantic": crews.Report, "converter_cls": SyncConverter}
    assert run(lambda: one(llm=OnlyCall(model="own"), task_more=more)).pydantic.title == "mine"


def test_every_pair_in_crewai_is_seen() -> None:
    """The methods that a kickoff reaches in two ways: found by their names, so that a new one is found too."""
    found = {
        cls.__name__: {sync for _, sync in _twins._pairs(cls)} for cls in (Agent, Crew, Task, Converter, Knowledge)
    }
    assert found["Agent"] >= {"execute_task", "_execute_with_timeout", "_execute_without_timeout"}
    assert found["Agent"] >= {"_handle_execution_error"}
    assert found["Crew"] >= {"kickoff", "query_knowledge", "_execute_tasks", "_run_sequential_process"}
    assert found["Task"] >= {"execute_sync", "_execute_core", "_export_output", "_invoke_guardrail_function"}
    assert found["Converter"] == {"to_pydantic", "to_json"}
    assert found["Knowledge"] == {"query", "add_sources", "reset"}


# --- knowledge ---


class Embedding(CustomEmbeddingFunction, EmbeddingFunction[Any]):
    """Equal vectors, so that everything is found; it may be held."""

    entered = threading.Event()
    free = threading.Event()

    @staticmethod
    def name() -> str:
        return "test"

    def __call__(self, input: Any) -> Any:  # noqa: A002 - Chroma's name
        import numpy

        self.entered.set()
        assert self.free.wait(20)
        return [numpy.array([1.0, 0.5, 0.25], dtype=numpy.float32) for _ in input]


EMBEDDER: Any = {"provider": "custom", "config": {"embedding_callable": Embedding}}


@pytest.fixture
def embedding() -> Iterator[type[Embedding]]:
    Embedding.free.set()
    Embedding.entered.clear()
    yield Embedding
    Embedding.free.set()


def knowing(where: str, llm: ScriptedLLM, **more: Any) -> Crew:
    knowledge = {"knowledge_sources": [StringKnowledgeSource(content="The metal is cobalt.")], "embedder": EMBEDDER}
    return one(llm=llm, **(knowledge if where == "crew" else {"agent_more": knowledge}), **more)


@pytest.mark.parametrize("where", ["crew", "agent"])
def test_knowledge_reaches_the_prompt(embedding: type[Embedding], where: str) -> None:
    """The crew's and an agent's, as under `kickoff()`."""
    llm = ScriptedLLM(["done"])
    run(lambda: knowing(where, llm))
    assert "cobalt" in str(llm.asked[-1]["messages"])


@pytest.mark.parametrize("where", ["crew", "agent"])
def test_a_search_holds_up_no_other_run(embedding: type[Embedding], where: str) -> None:
    """While one crew's embedding waits, another crew is run to its end."""
    llm = ScriptedLLM([lambda messages: embedding.free.clear() or embedding.entered.clear() or "metal", "done"])
    slow = cnb.kickoff(lambda: knowing(where, llm), show=False)  # the LLM is asked for the words to search for first
    while not llm.asked:
        time.sleep(0.01)
    assert embedding.entered.wait(15)
    assert run(one).raw == "done"
    assert not slow.finished
    embedding.free.set()
    slow.wait(15)
    assert "cobalt" in str(llm.asked[-1]["messages"])


class Own(BaseKnowledgeStorage):
    """A storage of the user's, which must have both; the async one blocks."""

    threads: list[int] = []  # noqa: RUF012 - a field

    def search(self, *args: Any, **kwargs: Any) -> Any:
        self.threads.append(threading.get_ident())
        return [{"content": "The metal is cobalt.", "score": 1.0, "metadata": {}, "id": "1"}]

    async def asearch(self, *args: Any, **kwargs: Any) -> Any:
        return self.search()

    def save(self, documents: list[str]) -> None: ...
    async def asave(self, documents: list[str]) -> None: ...
    def reset(self) -> None: ...
    async def areset(self) -> None: ...


class OwnKnowledge(Knowledge):
    def query(self, *args: Any, **kwargs: Any) -> Any:
        return [{"content": "It is cobalt, says an override.", "score": 1.0, "metadata": {}, "id": "1"}]


class OwnQuery(Crew):
    def query_knowledge(self, *args: Any, **kwargs: Any) -> Any:
        return [{"content": "It is cobalt, says the crew.", "score": 1.0, "metadata": {}, "id": "1"}]


@pytest.mark.parametrize("whose", ["storage", "knowledge", "crew"])
def test_knowledge_of_ones_own_is_asked(embedding: type[Embedding], whose: str) -> None:
    """A storage, a Knowledge or a Crew with a search of its own; it is asked in a thread."""
    llm = ScriptedLLM(["done"])
    storage = Own()

    def build() -> Crew:
        if whose == "crew":
            return knowing("crew", llm, crew=OwnQuery)
        cls = OwnKnowledge if whose == "knowledge" else Knowledge
        crew = one(llm=llm)
        crew.knowledge = cls("mine", sources=[], storage=storage)
        return crew

    run(build)
    assert "cobalt" in str(llm.asked[-1]["messages"])
    assert engine._thread is not None
    assert engine._thread.ident not in storage.threads


PROGRAM = """
import crew_nb as cnb
from tests.engine.test_twins import Embedding, knowing
from tests.support.scripted_llm import ScriptedLLM

Embedding.free.set()
batch = cnb.gather(*[lambda: knowing("crew", ScriptedLLM(["done"]))] * 4, show=False)
print([result.raw for result in batch.wait(100)])
"""


@pytest.mark.timeout(400)
def test_a_process_with_knowledge_ends_cleanly() -> None:
    """Nothing aborts, and searches side by side take away nothing that is printed afterwards."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, str(["done"] * 4)), ended.stderr


# --- what says to be async and blocks ---


class Blocking(ScriptedLLM):
    """As many examples have it."""

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


class NoCall(ScriptedLLM):
    """Async only, and blocking: asked on a loop of its own."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return ScriptedLLM.call(self, *args, **kwargs)


@pytest.mark.parametrize("cls", [Blocking, NoCall])
def test_an_llm_that_blocks_is_moved_to_threads(cls: type[ScriptedLLM], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call that holds the loop is noticed and told in its row; from then on calls go side by side."""
    monkeypatch.setattr(_offload, "held", set())
    first = cnb.kickoff(lambda: one(llm=cls(["done"], latency=1.5)), show=False)
    assert first.wait(15).raw == "done"
    words = f"{cls.__qualname__}.acall, which is async, blocks"
    assert [line.text.startswith(words) for line in first.state.log if "blocks" in line.text] == [True]
    assert any(note.startswith(words) for note in first.batch.state().notes)

    together = threading.Barrier(4)
    meets = lambda messages: together.wait(15) is None or "done"  # noqa: E731
    batch = cnb.gather(*[lambda: one(llm=cls([meets]))] * 4, show=False)
    assert [result.raw for result in batch.wait(20)] == ["done"] * 4


def test_an_async_callback_that_blocks_is_moved_to_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise; it hears every output."""
    monkeypatch.setattr(_offload, "held", set())
    threads: list[int] = []

    async def tell(output: Any) -> None:
        threads.append(threading.get_ident())
        time.sleep(1.5 if len(threads) == 1 else 0)  # noqa: ASYNC251 - it blocks

    batch = cnb.gather(lambda: one(task_more={"callback": tell}), show=False)
    batch.wait(15)
    assert any("tell, which is async, blocks" in note for note in batch.state().notes)
    run(lambda: one(task_more={"callback": tell}))
    assert len(set(threads)) == 2


def test_code_of_the_users_that_holds_the_loop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be moved is told with its place."""

    class Sleepy(Agent):
        async def aexecute_task(self, *args: Any, **kwargs: Any) -> Any:
            time.sleep(1.5)  # noqa: ASYNC251 - it blocks
            return await super().aexecute_task(*args, **kwargs)

    batch = cnb.gather(lambda: one(Sleepy), show=False)
    assert batch.wait(15)[0].raw == "done"
    assert any("Sleepy.aexecute_task (test_twins.py, line" in note for note in batch.state().notes)
