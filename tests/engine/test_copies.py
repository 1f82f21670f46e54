"""A run's crew has all that the user's has; what cannot be shared or carried is refused before a call is paid for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.agents.cache.cache_handler import CacheHandler
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.mcp import MCPServerStdio
from crewai.project import CrewBase, agent, task
from crewai.project import crew as crew_method
from crewai.tools import BaseTool, tool
from pydantic import PrivateAttr

import crew_nb as cnb
from crew_nb._crewai import fast
from crew_nb._crewai.copies import LEFT_BEHIND
from crew_nb._crewai.crews import isolated_copy
from tests.support import crews
from tests.support.scripted_llm import ScriptedLLM, tool_call

if TYPE_CHECKING:
    from pathlib import Path

    from crewai.crews.crew_output import CrewOutput


class Ask(BaseTool):
    """A tool that asks an agent."""

    name: str = "ask"
    description: str = "Ask somebody"
    whom: Any = None

    def _run(self, query: str) -> str:
        return str(self.whom.role)


class Helper:
    def __init__(self, owner: Any) -> None:
        self.owner = owner


class OwnAgent(Agent):
    shelf: str = "empty"
    _desk: str = PrivateAttr(default="")
    _seen: list[str] = PrivateAttr(default_factory=list)
    _helper: Any = PrivateAttr(default=None)

    def hear(self, step: Any) -> None: ...


class OwnTask(Task):
    weight: int = 1
    _marks: dict[str, int] = PrivateAttr(default_factory=dict)


class OwnCrew(Crew):
    motto: str = ""
    _budget: Any = PrivateAttr(default=None)


def _quick() -> Any:
    return cnb.OfflineLLM(latency=0.0, tokens_per_second=None)


def _agent(llm: Any, **more: Any) -> Agent:
    return Agent(**{"role": "Clerk", "goal": "Do it", "backstory": "Old hand", "llm": llm, **more})


def _task(by: Any, text: str = "Report", **more: Any) -> Task:
    return Task(description=text, expected_output="A line", agent=by, **more)


@pytest.mark.parametrize("kind", ["crew", "agent", "task"])
def test_every_field_goes_along_but_what_a_kickoff_writes(kind: str) -> None:
    """Whatever stands in a field, public or private, also in one that CrewAI gets some day, stands in the copy."""
    by = _agent(_quick())
    crew = Crew(agents=[by], tasks=[_task(by)])
    part: Any = {"crew": crew, "agent": by, "task": crew.tasks[0]}[kind]
    links = {"agents", "tasks", "agent", "manager_agent", "context", "max_rpm", "cache", "role", "goal", "backstory"}
    links |= {"description", "expected_output", "output_file", "_constructor_cache_opt_in", "_logger"}
    public = {n for n in type(part).model_fields if n not in links | LEFT_BEHIND[kind]} | {"of_tomorrow"}
    private = {n for n in type(part).__private_attributes__ if n not in links | LEFT_BEHIND[kind]} | {"_of_tomorrow"}
    values = {name: object() for name in public | private}
    vars(part).update({name: values[name] for name in public})
    part.__pydantic_private__.update({name: values[name] for name in private})
    twin = isolated_copy(crew)
    copied: Any = {"crew": twin, "agent": twin.agents[0], "task": twin.tasks[0]}[kind]
    expected = {**values, **({"stream": False} if kind == "crew" else {})}
    found = {**vars(copied), **copied.__pydantic_private__}
    assert {name: found.get(name) for name in expected} == expected
    assert copied is not part
    assert copied.id != part.id
    names = {*type(part).model_fields, *type(part).__private_attributes__}
    assert LEFT_BEHIND[kind] <= names, "a name that CrewAI has no more"


def test_what_users_add_to_their_own_classes_goes_along() -> None:
    """Fields and private attributes of subclasses are carried; what names the agent names the copy."""
    by = OwnAgent(role="Clerk", goal="g", backstory="b", llm=_quick(), shelf="full", apps=["gmail"])
    by._desk, by._seen, by._helper = "window", ["before"], Helper(by)
    by.step_callback = by.hear
    by.tools = [Ask(whom=by)]
    job = OwnTask(description="d", expected_output="e", agent=by, weight=3)
    job._marks["a"] = 1
    crew = OwnCrew(agents=[by], tasks=[job], motto="slow", security_config=by.security_config)
    crew._budget = 7
    twin: Any = isolated_copy(crew)
    copy: Any = twin.agents[0]
    assert (type(twin), twin.motto, twin._budget) == (OwnCrew, "slow", 7)
    assert (copy.shelf, copy._desk, copy._seen, copy.apps) == ("full", "window", ["before"], ["gmail"])
    assert copy._helper.owner is copy
    assert copy.step_callback.__self__ is copy
    assert copy.tools[0].whom is copy
    assert (type(twin.tasks[0]), twin.tasks[0].weight, twin.tasks[0]._marks) == (OwnTask, 3, {"a": 1})
    assert twin.tasks[0].agent is copy
    assert twin.security_config.fingerprint.uuid_str == crew.security_config.fingerprint.uuid_str
    copy._seen.append("after")
    twin.tasks[0]._marks["b"] = 2
    assert (by._seen, job._marks) == (["before"], {"a": 1})
    assert (by._helper.owner, by.tools[0].whom) == (by, by)


def test_a_copy_has_limits_and_caches_of_its_own() -> None:
    """They count one run; a cache that the user wrote is the user's wish."""

    class Mine(CacheHandler):
        pass

    mine = Mine()
    plain, opted, given = _agent(_quick()), _agent(_quick(), cache=True), _agent(_quick(), cache_handler=mine)
    crew = Crew(agents=[plain, opted, given], tasks=[_task(plain)])
    twin = isolated_copy(crew)
    assert [a.tools_handler.cache for a in twin.agents][::2] == [None, mine]
    assert isinstance(twin.agents[1].cache_handler, CacheHandler)
    assert twin.agents[1].cache_handler is not opted.cache_handler
    crew = Crew(agents=[plain], tasks=[_task(plain)], cache=True)
    twin = isolated_copy(crew)
    assert twin.agents[0].cache_handler is twin._cache_handler is not crew._cache_handler
    source = StringKnowledgeSource(content="tea")
    knowing = _agent(_quick(), knowledge_sources=[source])
    (copied,) = isolated_copy(Crew(agents=[knowing], tasks=[_task(knowing)])).agents[0].knowledge_sources or ()
    assert copied is not source
    assert copied.chunks is not source.chunks


class Looks(ScriptedLLM):
    """Calls `look` where nothing was said yet, and keeps what it was offered, and by whom."""

    _offered: list[tuple[str, Any]] = PrivateAttr(default_factory=list)

    def call(self, messages: Any, tools: Any = None, *args: Any, **more: Any) -> Any:
        self._offered.append((str(tools), more["from_agent"]))
        if any(m.get("role") == "tool" for m in messages):
            return "seen"
        return [tool_call("look", '{"at": "tea"}')]


@pytest.mark.parametrize("whose", ["the crew's", "its own"])
def test_an_agent_of_two_tasks_at_once_is_one_worker(whose: str) -> None:
    """Its twin has the same cache and limiter, and is told of its coworkers, not of itself."""
    looked: list[str] = []

    @tool
    def look(at: str) -> str:
        """Look at something."""
        looked.append(at)
        return "leaves"

    llm = Looks(native_tools=True)

    def build() -> Crew:
        once: dict[str, Any] = {"cache": True, "max_rpm": 1_000}
        crews_own, agents_own = (once, {}) if whose == "the crew's" else ({"cache": False}, once)
        clerk = _agent(llm, tools=[look], allow_delegation=True, **agents_own)
        other = _agent(llm, role="Keeper")
        tasks = [_task(clerk, async_execution=True), _task(clerk, "Report again")]
        return Crew(agents=[clerk, other], tasks=tasks, **crews_own)

    cnb.kickoff(build, show=False).wait(60)
    workers = {id(agent): agent for _, agent in llm._offered}.values()
    assert len(workers) == 2
    assert looked == ["tea"]
    assert len({id(agent._rpm_controller) for agent in workers}) == 1
    assert all("coworkers: Keeper" in tools for tools, _ in llm._offered)


def test_a_crew_that_a_run_has_is_copied_as_the_factory_made_it() -> None:
    """What a run puts into its crew for itself does not reach the next one that gets the same objects."""
    crew = crews.one(_quick())
    fast.accelerate(crew)
    fast.offload(crew)
    assert {"akickoff", "_create_manager_agent"} <= set(vars(crew))
    assert not {"akickoff", "_create_manager_agent"} & set(vars(isolated_copy(crew)))


def test_a_task_outside_the_crew_gives_its_output() -> None:
    """One that has run is context as ever; one that has not would be missed, and the crew is refused."""
    by = _agent(_quick())
    before = _task(by, "Before")
    crew = Crew(agents=[by], tasks=[_task(by, "After", context=[before])])
    with pytest.raises(cnb.UnfaithfulCopyError, match="a task outside the crew, which has not run"):
        cnb.kickoff(crew, show=False)
    model = by.llm = ScriptedLLM(["seen"])
    result = cnb.kickoff(Crew(agents=[by], tasks=[before]), show=False).wait(60)
    before.output = result.tasks_output[0]
    before.output.raw = "OUTER-7"
    cnb.kickoff(crew, show=False).wait(60)
    assert "OUTER-7" in str(model.asked[-1]["messages"])


SERVER = '''
from mcp.server.fastmcp import FastMCP

server = FastMCP("adder", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"the sum is {a + b}"


server.run()
'''


class Adder(ScriptedLLM):
    """Calls the tool that adds where it is offered, and says what it said."""

    def call(self, messages: Any, tools: Any = None, *args: Any, **more: Any) -> Any:
        said = [m["content"] for m in messages if m.get("role") == "tool"]
        if said or not tools:
            return said[-1] if said else "there are no tools"
        return [tool_call(tools[0]["function"]["name"], '{"a": 2, "b": 40}')]


def test_mcp_servers_reach_every_run(tmp_path: Path) -> None:
    """A Crew, and an agent on two async tasks, have the tools of their server as a fresh crew has."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    model = Adder(native_tools=True)
    by = _agent(model, mcps=[MCPServerStdio(command=sys.executable, args=[str(script)])])
    sides = [_task(by, side, async_execution=True) for side in ("left", "right")]
    crew = Crew(agents=[by], tasks=[*sides, _task(by, "Join")])
    result = cnb.kickoff(crew, show=False).wait(120)
    assert ["the sum is 42" in output.raw for output in result.tasks_output] == [True] * 3


class Plans(ScriptedLLM):
    def call(self, messages: Any, tools: Any = None, *args: Any, **more: Any) -> Any:
        if "plan" in str(messages[0]).lower():
            return '{"list_of_plans_per_task": [{"task_number": 1, "task": "Report", "plan": " and plan"}]}'
        return super().call(messages, tools, *args, **more)


def test_planning_and_managing_llms_are_carried() -> None:
    """Objects that plan and manage are the user's own in each run, and the user's texts stay as they are."""
    model = Plans([lambda messages: str(messages[-1]["content"])])
    by = _agent(model)
    job = _task(by, "Report on {topic}")

    def build() -> Crew:
        return Crew(agents=[by], tasks=[job], planning=True, planning_llm=model)

    inputs = [{"topic": topic} for topic in ("tea", "ice")]
    for source in (build(), build):
        results = cnb.kickoff_for_each(source, inputs, show=False).wait(60)
        assert [f"Report on {i['topic']} and plan" in r.raw for i, r in zip(inputs, results, strict=True)] == [True] * 2
    assert job.description == "Report on {topic}"
    managed = Crew(agents=[by], tasks=[_task(None, "d")], process=Process.hierarchical, manager_llm=model)
    twin = isolated_copy(managed)
    assert twin.manager_llm is model
    assert twin.manager_agent is None


class Stopping:
    """What @CrewBase takes for its MCP adapter: its tool works until it is stopped."""

    def __init__(self, params: Any, connect_timeout: int = 30) -> None:
        self.open = True

        @tool("add")
        def add(a: int, b: int) -> str:
            """Add."""
            return "the sum is 42" if self.open else "closed"

        self.tools = type("Tools", (list,), {"filter_by_names": lambda tools, names: tools})([add])

    def stop(self) -> None:
        self.open = False


def _project(model: Any, server: bool = False) -> Any:
    @CrewBase
    class Quest:
        agents_config: dict[str, Any] = {}  # noqa: RUF012 - CrewAI reads it from the class
        tasks_config: dict[str, Any] = {}  # noqa: RUF012
        mcp_server_params = ["server"] if server else None
        agents: Any
        tasks: Any

        @agent
        def expert(self) -> Agent:
            return _agent(model, tools=self.get_mcp_tools())  # type: ignore[attr-defined]

        @task
        def answer(self) -> Task:
            return _task(self.expert(), "Answer {question}")

        @crew_method
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks, planning=not server, planning_llm=model)

    return Quest


def test_a_crewbase_class_in_every_form() -> None:
    """What it hands out works in each run; the class and its object are answered with the line that works."""
    quest = _project(Plans(["fine"]))
    questions = [{"question": f"number {n}"} for n in range(3)]
    for refused in (quest, quest()):
        with pytest.raises(cnb.BlueprintError, match=r"`lambda: Quest\(\)\.crew\(\)`"):
            cnb.kickoff_for_each(refused, questions, show=False)
    for source in (quest().crew(), quest().crew, lambda: quest().crew()):
        results = cnb.kickoff_for_each(source, questions, show=False).wait(60)
        assert [result.status for result in results] == ["done"] * 3


def test_no_run_closes_the_server_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """@CrewBase closes its MCP server after a kickoff: runs that would share it are refused, one alone is not."""
    monkeypatch.setitem(sys.modules, "crewai_tools", type("Module", (), {"MCPServerAdapter": Stopping}))
    model = Adder(native_tools=True)
    sums = _project(model, server=True)
    inputs = [{"question": str(n)} for n in range(2)]
    one = sums()
    for launch in (
        lambda: cnb.kickoff_for_each(sums().crew, inputs, show=False),
        lambda: cnb.kickoff_for_each(sums().crew(), inputs, show=False),
        lambda: cnb.kickoff_for_each(lambda: one.crew(), inputs, show=False),
        lambda: cnb.gather((one.crew, inputs[0]), (one.crew, inputs[1]), show=False),
    ):
        with pytest.raises(cnb.UnfaithfulCopyError, match=r"`lambda: Quest\(\)\.crew\(\)`"):
            launch()
    results = cnb.kickoff_for_each(lambda: sums().crew(), inputs, show=False).wait(60)
    assert [r.raw for r in results] == ["the sum is 42"] * 2
    assert cnb.kickoff(sums().crew(), inputs[0], show=False).wait(60).raw == "the sum is 42"
    kept = sums()

    def build() -> Any:
        crew = kept.crew()
        return crew  # noqa: RET504 - so that it cannot be seen without calling it

    statuses = cnb.kickoff_for_each(build, inputs, show=False).wait(60)
    assert sorted(r.status for r in statuses) == ["done", "failed"]
    (error,) = (str(r.error) for r in statuses if r.error)
    assert "closes it for the others" in error


async def _checked(output: CrewOutput) -> CrewOutput:
    output.raw += " (checked)"
    return output


async def _prepared(inputs: dict[str, Any]) -> dict[str, Any]:
    return {**inputs, "topic": "tea"}


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
def test_callbacks_as_people_write_them(stock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Async ones are awaited, around a kickoff, as guardrails and as conditions; one that returns nothing is heard."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")
    seen: list[str] = []
    refused = [False, True]

    async def guard(output: Any):  # type: ignore[no-untyped-def]  # CrewAI refuses such an annotation
        return refused.pop(0), output.raw

    async def told(output: Any) -> None:
        seen.append(output.raw)

    by = _agent(ScriptedLLM([lambda messages: str(messages[-1]["content"])]))
    crew = Crew(
        agents=[by],
        tasks=[_task(by, "on {topic}", guardrail=guard, callback=told)],
        before_kickoff_callbacks=[_prepared, lambda inputs: seen.append(inputs["topic"])],
        after_kickoff_callbacks=[lambda output: seen.append("after"), _checked],
    )
    result = cnb.kickoff(crew, {"topic": "water"}, show=False).wait(60)
    assert "on tea" in result.raw
    assert result.raw.endswith(" (checked)")
    assert (seen[0], seen[-1], len(seen)) == ("tea", "after", 3)
    assert refused == []


def test_a_crews_own_kickoff_is_refused() -> None:
    """`crew.kickoff` is no factory, however it is wrapped: it would be run and paid for before there is a run."""
    model = ScriptedLLM(["never"])
    crew = crews.one(model)
    for method in (
        crew.kickoff,
        crew.kickoff_async,
        crew.akickoff,
        crew.kickoff_for_each,
        lambda: crew.kickoff(),
        lambda: crew.akickoff(inputs={"topic": "T"}),
        crew.agents[0].kickoff,
    ):
        with pytest.raises(cnb.BlueprintError, match=r"Give the crew itself: cnb\.kickoff\(crew"):
            cnb.kickoff(method, {"topic": "T"}, show=False)  # type: ignore[arg-type]
    for method, instead in ((crew.train, r"crew\.train\("), (crew.test, r"cnb\.sweep\("), (crew.replay, "resume=True")):
        with pytest.raises(cnb.BlueprintError, match=f"is no kickoff.*{instead}"):
            cnb.kickoff(method, show=False)
    assert model.asked == []
    assert cnb.kickoff(crew.copy, {"topic": "T"}, show=False).wait(60).raw == "never"
