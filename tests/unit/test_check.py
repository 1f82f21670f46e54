"""`cnb.check`: each pitfall is found where it is, is not found where it is not, and is real in the CrewAI installed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Task

import crew_nb as cnb
from crew_nb import _check
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


async def async_callback(value: Any) -> Any:
    return value


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


async def test_the_shared_agent_is_real():
    """CrewAI refuses the second crew; our verb runs both."""
    shared = agent()
    with pytest.raises(RuntimeError, match="Executor is already running"):
        await asyncio.gather(one(shared).akickoff(), one(shared).akickoff())
    results = await cnb.gather(one(shared), one(shared), show=False)
    assert not results.errors


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

    class Special(Crew):
        pass

    def build() -> Crew:
        by = agent()
        return Special(agents=[by], tasks=[task("Research", by)])

    (found,) = cnb.check(build())
    assert (found.code, found.severity) == ("unfaithful-copy", "error")
    assert "it is a Special" in found.what
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
    """Before a kickoff they break the crew, after it they take the place of its output."""
    (found,) = cnb.check(one(**{hook: [async_callback]}))
    assert (found.code, found.severity) == ("async-callback", "error")
    assert found.where == f"async_callback() in {hook} of the crew"
    try:
        output = await one(**{hook: [async_callback]}).akickoff(inputs={})
    except ValueError as error:
        assert "coroutine object" in str(error)  # noqa: PT017  either end shows the pitfall
    else:
        assert asyncio.iscoroutine(output)
        output.close()


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


def test_the_gravest_comes_first_and_the_text_is_safe():
    """Errors before warnings before notes; a role is data, in text and in HTML."""
    evil = agent("<img src=x onerror=alert(1)>", max_rpm=1)
    left, right = (task(side, evil, async_execution=True) for side in ("left", "right"))
    judged = crew(left, right, task("join", agent("Editor", evil.llm), context=[left, right]))

    async def after(result: object) -> object:
        return result

    judged.after_kickoff_callbacks.append(after)
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
    with pytest.raises(cnb.BlueprintError, match="returned a NoneType"):
        cnb.check(lambda: None)


def test_every_pitfall_has_a_line_to_write():
    """No entry of the table is empty, and each says something measured or a reason."""
    for severity, what, instead in _check.PITFALLS.values():
        assert severity in ("error", "warning", "note")
        assert what.endswith((".", ")"))
        assert instead
