"""Small real crews and factories; every prompt names its topic as `topic=...`, so that mix-ups are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crewai import Agent, Crew, Process, Task
from crewai.tools import tool
from pydantic import BaseModel

if TYPE_CHECKING:
    from crewai.agents.agent_builder.base_agent import BaseAgent
    from crewai.llms.base_llm import BaseLLM


class Report(BaseModel):
    """A structured output."""

    title: str
    score: int
    tags: list[str]


@tool
def search(query: str) -> str:
    """Search the archive for a query."""
    return f"3 hits for {query}"


def agent(llm: BaseLLM, role: str = "Researcher", **options: Any) -> Agent:
    """An agent with a role and nothing special."""
    return Agent(role=role, goal=f"Do the work of a {role}", backstory="Long in the trade.", llm=llm, **options)


def one(llm: BaseLLM, **options: Any) -> Crew:
    """One task, one LLM call; `options` go to the task. Takes the input `topic`."""
    worker = agent(llm, tools=options.pop("tools", []))
    task = Task(
        description="Research topic={topic} and report",
        expected_output="3 bullet points",
        agent=worker,
        name="research",
        **options,
    )
    return Crew(agents=[worker], tasks=[task], name="one")


def chain(llm: BaseLLM, length: int = 3) -> Crew:
    """So many tasks of as many agents, one after the other. Takes the input `topic`."""
    workers: list[BaseAgent] = [agent(llm, f"Worker {n}") for n in range(length)]
    tasks = [
        Task(description=f"Step {n} about topic={{topic}}", expected_output="A note", agent=worker, name=f"step {n}")
        for n, worker in enumerate(workers)
    ]
    return Crew(agents=workers, tasks=tasks, name="chain")


def fork_join(llm: BaseLLM) -> Crew:
    """Two `async_execution` tasks, and a third that takes both by `context`. Takes the input `topic`."""
    left, right, editor = agent(llm, "Researcher"), agent(llm, "Analyst"), agent(llm, "Editor")
    branches = [
        Task(
            description=f"Look at the {side} of topic={{topic}}",
            expected_output="A note",
            agent=worker,
            name=side,
            async_execution=True,
        )
        for side, worker in (("technology", left), ("market", right))
    ]
    join = Task(
        description="Join the notes on topic={topic}",
        expected_output="A report",
        agent=editor,
        name="join",
        context=branches,
    )
    return Crew(agents=[left, right, editor], tasks=[*branches, join], name="fork_join")


def hierarchical(llm: BaseLLM) -> Crew:
    """A manager that delegates one task to one of two agents. Takes the input `topic`."""
    workers: list[BaseAgent] = [agent(llm, "Researcher"), agent(llm, "Writer")]
    task = Task(description="Report on topic={topic}", expected_output="A report", name="report")
    return Crew(agents=workers, tasks=[task], process=Process.hierarchical, manager_llm=llm, name="hierarchical")
