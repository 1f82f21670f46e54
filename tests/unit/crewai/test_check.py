"""`cnb.check`: each pitfall is found where it is, is not found where it is not, and is real in the CrewAI installed."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.memory.unified_memory import Memory
from crewai.project import CrewBase, after_kickoff, before_kickoff
from crewai.project import crew as crew_method

import crew_nb as cnb
from crew_nb._crewai import check as _check
from crew_nb._crewai import fast as _fast
from tests.support import crews

if TYPE_CHECKING:
    from crewai.llms.base_llm import BaseLLM


def quick() -> BaseLLM:
    return cnb.OfflineLLM(latency=0.05, tokens_per_second=None)


def agent(role: str = "Researcher", llm: BaseLLM | None = None, **options: Any) -> Agent:
    return crews.agent(llm or quick(), role, **options)


def task(text: str, by: Agent, **options: Any) -> Task:
    return Task(description=text, expected_output="A note", agent=by, **options)


def crew(*tasks: Task, **options: Any) -> Crew:
    agents = list({id(t.agent): t.agent for t in tasks}.values())
    return Crew(agents=agents, tasks=list(tasks), **options)


def one(by: Agent | None = None, **options: Any) -> Crew:
    return crew(task("Research", by or agent()), **options)


def codes(*given: Any) -> list[str]:
    return [f.code for f in cnb.check(*given)]


def busy_agent() -> Crew:
    both = agent()
    left, right = (task(side, both, async_execution=True) for side in ("left", "right"))
    return crew(left, right, task("join", agent("Editor"), context=[left, right]))


def equal_roles() -> Crew:
    first, second = agent(), agent()
    second.goal = "Another"
    return crew(task("first", first), task("second", second))


def equal_tasks() -> Crew:
    first, second = task("same", agent("A")), task("same", agent("B"))
    return crew(first, second, task("join", agent("C"), context=[first]))


async def async_callback(value: Any, *, key: str = "") -> Any:
    return value


class Tidy:
    """Can be called, as a kickoff callback is."""

    async def __call__(self, value: Any) -> Any:
        return value

    async def later(self, value: Any) -> Any:
        return value

    def now(self, value: Any) -> Any:
        return value

    @property
    def never(self) -> Any:
        raise AssertionError("a property of the user's was run")

    def hook(self) -> list[Any]:
        return [lambda value: self.later(value), lambda value: self.now(value), lambda value: self.never(value)]


def run_to_its_end(value: Any) -> Any:
    return asyncio.run(async_callback(value))


def test_a_crew_without_pitfalls_has_no_findings():
    """Nothing is said where there is nothing to say."""
    assert not cnb.check(one())
    assert not cnb.check(one(), one())
    assert not cnb.check(lambda: one())
    assert str(cnb.check(one())) == "No pitfalls found."
    assert "No pitfalls found." in cnb.check()._repr_html_()


def test_agents_and_llms_that_several_crews_share():
    """Two crews of one agent, one crew twice, and a factory that hands out the same agent again."""
    shared = agent()
    assert codes(one(shared), one(shared)) == ["shared-agent", "shared-llm"]
    same = one()
    assert codes(same, same) == ["shared-agent", "shared-llm"]
    assert codes(lambda: one(shared)) == ["shared-agent", "shared-llm"]
    llm = quick()
    found = cnb.check(one(agent("A", llm)), one(agent("B", llm)))
    assert [f.code for f in found] == ["shared-llm"]
    assert found[0].where == "one OfflineLLM for agent 'A' in crew 0 and agent 'B' in crew 1"
    assert found[0].severity == "note"


def test_agents_that_only_a_task_names_and_managers_are_looked_at():
    """Their limits, and what crews share of them, are found like those of `Crew(agents=...)`."""
    named = agent("Named", max_rpm=3, max_execution_time=5)

    def names_it() -> Crew:
        return Crew(agents=[agent()], tasks=[task("Research", named)])

    assert codes(names_it()) == ["max-rpm", "max-execution-time"]
    assert "shared-agent" in codes(names_it(), names_it())
    double = Crew(agents=[agent()], tasks=[task("Research", agent())])
    assert codes(double) == ["equal-roles"]

    def managed(**by: Any) -> Crew:
        reports = [Task(description="Report", expected_output="A note")]
        return Crew(agents=[agent()], tasks=reports, process=Process.hierarchical, **by)

    assert codes(managed(manager_agent=agent("Manager"))) == []
    manager = agent("Manager", max_rpm=3, max_execution_time=5)
    assert codes(managed(manager_agent=manager)) == ["max-rpm", "max-execution-time"]
    both = codes(managed(manager_agent=manager), managed(manager_agent=manager))
    assert {"shared-agent", "shared-llm"} <= set(both)
    llm = quick()
    (found,) = cnb.check(managed(manager_llm=llm), managed(manager_llm=llm))
    assert found.where == "one OfflineLLM for manager_llm of crew 0 and manager_llm of crew 1"
    assert not cnb.check(managed(manager_llm="gpt-4o-mini"), managed(manager_llm="gpt-4o-mini"))


async def test_the_shared_agent_is_real():
    """CrewAI refuses the second crew; our verb runs both."""
    shared = agent()
    with pytest.raises(RuntimeError, match="Executor is already running"):
        await asyncio.gather(one(shared).akickoff(), one(shared).akickoff())
    results = await cnb.gather(one(shared), one(shared), show=False)
    assert not results.errors
    named = [Crew(agents=[agent()], tasks=[task(text, shared)]) for text in ("left", "right")]
    with pytest.raises(RuntimeError, match="Executor is already running"):
        await asyncio.gather(*(c.akickoff() for c in named))


async def test_the_shared_llm_is_real():
    """CrewAI counts the tokens of both crews in each; ours are each run's own."""
    llm = quick()
    results = await cnb.gather(one(agent("A", llm)), one(agent("B", llm)), show=False)
    pair = [one(agent("A", llm)), one(agent("B", llm))]
    outputs = await asyncio.gather(*(c.akickoff() for c in pair))
    assert outputs[0].token_usage.successful_requests > 1
    assert [o.token_usage.successful_requests for o in results] == [1, 1]


async def test_one_agent_on_two_tasks_that_run_at_once():
    """A note with its place, as only bare CrewAI fails; a task without `async_execution` between the two parts them."""
    (found,) = (f for f in cnb.check(busy_agent()) if f.code == "agent-on-two-async-tasks")
    assert found.severity == "note"
    assert found.where == "agent 'Researcher' on the tasks 'left' and 'right' of the crew"
    with pytest.raises(RuntimeError, match="Executor is already running"):
        await busy_agent().akickoff()
    both = agent()
    parted = crew(task("a", both, async_execution=True), task("b", agent("B")), task("c", both, async_execution=True))
    assert "agent-on-two-async-tasks" not in codes(parted)


def test_equal_roles_and_equal_tasks_are_real():
    """`Crew.copy()` gives both tasks to the first agent, and the context to the last task; only copies are affected."""
    assert "equal-roles" in codes(equal_roles())
    assert "equal-roles" not in codes(equal_roles)
    copy = equal_roles().copy()
    assert "Another" not in [t.agent.goal for t in copy.tasks]
    assert "equal-tasks" in codes(equal_tasks())
    copy = equal_tasks().copy()
    assert copy.tasks[2].context[0].agent.role == "B"


def test_a_crew_that_cannot_be_copied():
    """What the verbs would refuse is an error here, with the factory to write; the factory itself is fine."""

    def build() -> Crew:
        by = agent()
        before = task("Before", by)
        return Crew(agents=[by], tasks=[task("Research", by, context=[before])])

    (found,) = cnb.check(build())
    assert (found.code, found.severity) == ("unfaithful-copy", "error")
    assert "a task outside the crew" in found.what
    assert "def build_crew():" in found.instead
    assert not cnb.check(build)


async def test_max_rpm_limits_each_copy_on_its_own():
    """Six inputs with `max_rpm=2` do not wait in CrewAI; the line to write carries the number."""
    limited = one(max_rpm=2)
    (found,) = cnb.check(limited)
    assert (found.code, found.severity) == ("max-rpm", "warning")
    assert "max_rpm=2)  # shared by all" in found.instead
    assert codes(one(agent(max_rpm=3))) == ["max-rpm"]
    async with asyncio.timeout(30):  # where the limit held for all copies, it would sleep for a minute
        await limited.akickoff_for_each(inputs=[{"n": n} for n in range(6)])


@pytest.mark.parametrize("hook", ["before_kickoff_callbacks", "after_kickoff_callbacks"])
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_async_callbacks_are_not_awaited(hook):
    """Bare CrewAI's: before a kickoff they break the crew, after it they take the place of its output."""
    (found,) = cnb.check(one(**{hook: [async_callback]}))
    assert (found.code, found.severity) == ("async-callback", "note")
    assert found.where == f"async_callback() in {hook} of the crew"
    try:
        output = await one(**{hook: [async_callback]}).akickoff(inputs={})
    except ValueError as error:
        assert "coroutine object" in str(error)  # noqa: PT017  either end shows the pitfall
    else:
        assert asyncio.iscoroutine(output)
        output.close()


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        (functools.partial(async_callback, key="x"), "async_callback"),
        (functools.partial(functools.partial(async_callback), key="x"), "async_callback"),
        (Tidy(), "Tidy.__call__"),
        (Tidy().later, "later"),
        (lambda value: async_callback(value, key="x"), "async_callback"),
        (lambda value: asyncio.sleep(0, value), "sleep"),
        (Tidy().hook()[0], "later"),
    ],
    ids=["partial", "partial of a partial", "object", "method", "lambda", "of a module", "of a method"],
)
@pytest.mark.filterwarnings("ignore:.*callbacks cannot be serialized:UserWarning")
def test_async_callbacks_are_found_under_whatever_they_are_wrapped_in(callback, name):
    """With the name of the async function; also as an isolated crew has it, whose callbacks wait in threads."""
    (found,) = cnb.check(one(after_kickoff_callbacks=[callback]))
    assert (found.code, found.where) == ("async-callback", f"{name}() in after_kickoff_callbacks of the crew")
    launched = one(after_kickoff_callbacks=[callback])
    _fast.offload(launched)
    assert found in list(_check.inspect_crew(launched))


@pytest.mark.parametrize(
    "callback",
    [
        run_to_its_end,
        lambda value: asyncio.run(async_callback(value)),
        lambda value: value or async_callback(value),
        lambda value: [async_callback, value][1],
        lambda value: async_callback and str(value),
        lambda value: ", ".join(value or async_callback.__name__),
        functools.partial(max, 1),
        Tidy().now,
        *Tidy().hook()[1:],
        type("Empty", (), {"__call__": lambda self, value: nowhere(value)})(),  # noqa: F821
        str,
    ],
)
@pytest.mark.filterwarnings("ignore:.*callbacks cannot be serialized:UserWarning")
def test_what_may_be_a_plain_callback_is_none_of_them(callback):
    """What cannot be known without calling it is left alone, and nothing of the user's is called."""
    assert not cnb.check(one(before_kickoff_callbacks=[callback]))


def test_async_methods_of_a_crewbase_class_are_found():
    """`@before_kickoff` and `@after_kickoff` wrap them."""

    @CrewBase
    class Research:
        agents_config: dict[str, Any] = {}  # noqa: RUF012 - CrewAI reads it from the class
        tasks_config: dict[str, Any] = {}  # noqa: RUF012

        @before_kickoff
        async def prepare(self, inputs: Any) -> Any:
            return inputs

        @after_kickoff
        def finish(self, output: Any) -> Any:
            return output

        @crew_method
        def crew(self) -> Crew:
            return one()

    (found,) = (f for f in cnb.check(Research().crew) if f.code == "async-callback")  # the class hands out one crew
    assert found.where == "prepare() in before_kickoff_callbacks of the crew"


def test_a_task_that_asks_a_person():
    """A note, with the task; that bare CrewAI approves by itself is shown in a kernel."""
    (found,) = cnb.check(crew(task("Draft", agent(), human_input=True)))
    assert (found.code, found.severity) == ("human-input", "note")
    assert found.where == "human_input=True of task 'Draft' in the crew"


async def test_a_crew_that_was_kicked_off_keeps_its_first_inputs():
    """CrewAI's copies work on them, ours do not; a crew without placeholders is as it was."""
    researcher = agent("Expert in {topic}")
    used = crew(task("Research {topic}", researcher))
    assert codes(used) == []
    await used.akickoff(inputs={"topic": "AI"})
    (found,) = cnb.check(used)
    assert (found.code, found.severity) == ("kicked-off-before", "note")
    assert found.where == "agent 'Expert in AI' and task 'Research AI' of the crew, with the inputs of a kickoff"
    assert used.copy().tasks[0].description == "Research AI"
    batch = cnb.kickoff_for_each(used, [{"topic": "ML"}], show=False)
    results = await batch
    assert results[0].tasks_output[0].description == "Research ML"
    plain = one()
    await plain.akickoff()
    assert codes(plain) == []


def test_memory_and_time_limits_and_chains():
    """What shares a store, what CrewAI enforces late, and what cannot go faster."""
    assert codes(one(agent(max_execution_time=5))) == ["max-execution-time"]
    chain = cnb.check(crews.chain(quick(), 3))
    assert [f.code for f in chain] == ["one-chain", "shared-llm"]
    assert chain[0].where == "the 3 tasks of the crew"
    free = crew(
        task("a", agent("A"), context=[]), task("b", agent("B"), context=[]), task("join", agent("C")), name="reports"
    )
    (found,) = cnb.check(free)
    assert (found.code, found.where) == ("independent-tasks", "tasks 'a' and 'b' of the crew")
    assert codes(crews.fork_join(quick())) == ["shared-llm"]


def test_memory_is_shared_by_the_crews_name():
    """A warning that names the name."""
    remembering = one(name="reports").model_copy(update={"memory": True})
    (found,) = _check.inspect_crew(remembering)
    assert (found.code, found.where) == ("shared-memory", "memory of the crew, whose name is 'reports'")


def test_memories_that_runs_do_not_share_are_none():
    """A factory that makes one for each input is not warned of; one that hands out the same is."""

    def build(topic: str, root: str = "") -> Crew:
        memory = Memory(llm=quick(), embedder=lambda texts: [[1.0]] * len(texts), root_scope=root or f"/of/{topic}")
        return one(memory=memory)

    assert not cnb.check((build, {"topic": "tea"}))
    (found,) = cnb.check((lambda topic: build(topic, "/all"), {"topic": "tea"}))
    assert (found.code, found.where) == ("shared-memory", "memory of the crew, at /all")


def test_the_gravest_comes_first_and_the_text_is_safe():
    """Errors before warnings before notes; a role is data, in text and in HTML."""
    evil = agent("<img src=x onerror=alert(1)>", max_rpm=1)
    left, right = (task(side, evil, async_execution=True) for side in ("left", "right"))
    judged = crew(
        left, right, task("join", agent("Editor", evil.llm), context=[left, right, task("of another crew", evil)])
    )
    found = cnb.check(judged)
    order = [f.severity for f in found]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert {"error", "warning", "note"} == set(order)
    assert "· note: agent '<img src=x onerror=alert(1)>' on the tasks 'left' and 'right' of the crew" in str(found)
    assert "<img" not in found._repr_html_() + found[-1]._repr_html_()
    assert "<strong>· note" in found[-1]._repr_html_()
    assert isinstance(found[:1], cnb.Findings)
    assert found[:1][0] == found[0]


def test_what_is_not_a_crew_is_refused():
    """As the verbs do."""
    with pytest.raises(cnb.BlueprintError, match="is not a crew"):
        cnb.check("crew")
    with pytest.raises(cnb.BlueprintError, match="needs topic"):
        cnb.check(lambda topic: one())
    assert not cnb.check((lambda topic: one(), {"topic": "AI"}))
    with pytest.raises(cnb.BlueprintError, match="returned nothing"):
        cnb.check(lambda: None)


def test_every_pitfall_has_a_line_to_write():
    """No entry of the table is empty, and each says something measured or a reason."""
    for severity, what, instead in _check.PITFALLS.values():
        assert severity in ("error", "warning", "note")
        assert what.endswith((".", ")"))
        assert instead
