"""The crews that the benchmark runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crewai import Crew


class Shapes:
    """The crews that are run: as few parts as make the shape."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def agent(self, n: int = 0, **more: Any) -> Any:
        """One agent."""
        from crewai import Agent

        return Agent(role=f"Worker {n}", goal="Do the work", backstory="Long in the trade", llm=self._llm, **more)

    def one(self) -> Crew:
        """One task."""
        from crewai import Crew, Task

        worker = self.agent()
        return Crew(agents=[worker], tasks=[Task(description="topic=A", expected_output="text", agent=worker)])

    def tutorial(self) -> Crew:
        """Three agents with two tasks each, one after the other."""
        from crewai import Crew, Task

        workers = [self.agent(n) for n in range(3)]
        tasks = [
            Task(description=f"topic=A, step {n}", expected_output="text", agent=workers[n // 2]) for n in range(6)
        ]
        return Crew(agents=workers, tasks=tasks)

    def fork_join(self) -> Crew:
        """Two async tasks and one that joins them."""
        from crewai import Crew, Task

        workers = [self.agent(n) for n in range(3)]
        branches = [
            Task(description=f"topic=A, branch {n}", expected_output="text", agent=workers[n], async_execution=True)
            for n in range(2)
        ]
        join = Task(description="topic=A, join", expected_output="text", agent=workers[2], context=branches)
        return Crew(agents=workers, tasks=[*branches, join])

    def tool(self) -> Crew:
        """One task of an agent that calls a tool before it answers."""
        from crewai import Crew, Task
        from crewai.tools import tool

        @tool
        def look_up(query: str) -> str:
            """Look a query up."""
            return f"3 hits for {query}"

        worker = self.agent(tools=[look_up])
        return Crew(agents=[worker], tasks=[Task(description="topic=A", expected_output="text", agent=worker)])

    def flow(self) -> Any:
        """A flow whose one step is a crew of one task."""
        return self._writing()

    @functools.cached_property
    def _writing(self) -> Any:
        from crewai.flow.flow import Flow, start

        one = self.one

        class Writing(Flow[dict[str, Any]]):
            @start()
            async def write(self) -> str:
                output: Any = await one().akickoff()
                return str(output.raw)

        return Writing


CALLS_IN_A_ROW = {"one": 1, "tutorial": 6, "fork_join": 2, "tool": 2, "flow": 1}


def http_llm(base_url: str) -> Any:
    """CrewAI's LLM for an OpenAI-compatible server on this machine."""
    from crewai import LLM

    return LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key")


def offline_crew(shape: str, latency: float) -> Any:
    """A crew, or flow, on an offline LLM of its own, so that it can be made in another process."""
    from crew_nb._crewai.offline import OfflineLLM

    return getattr(Shapes(OfflineLLM(latency=latency, tokens_per_second=None)), shape)()
