"""The Agent as a kind of thing that can be kicked off: one request, with an agent of the run's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._crewai.crews import isolated_copy, made_before
from crew_nb._crewai.kind import Ask, Ready, claim
from crew_nb._crewai.names import load
from crew_nb._crewai.placeholders import NO_DATA, Data, names_in
from crew_nb._state import events as ev

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from inspect import Parameter

    from crewai import Agent

MESSAGES = "messages"
"""The input that is the request itself."""


class _Agents:
    """The Agent, as a kind."""

    name = "agent"
    arguments = frozenset({"input_files", "response_format"})
    needs = frozenset({MESSAGES})
    takes_objects = False

    def owns(self, value: object) -> bool:
        """Whether it is an Agent."""
        module = sys.modules.get("crewai.agent.core")  # where nobody has loaded it, nothing is an Agent
        return module is not None and isinstance(value, module.Agent)

    def template(self, given: Agent) -> Agent:
        """A copy."""
        return self.copy(given)

    def copy(self, given: Agent) -> Agent:
        """One of its own, which belongs to no crew."""
        crewai = load()
        shown = given.model_copy()
        task = crewai.Task(description="-", expected_output="-", agent=shown)
        twin: Any = isolated_copy(crewai.Crew(agents=[shown], tasks=[task])).agents[0]
        twin.crew = None
        return twin  # type: ignore[no-any-return]

    def adopt(self, built: Agent, begun: datetime.datetime, factory: Any) -> tuple[Agent, frozenset[int]]:
        """The agent of a factory; one that was there before, or that another run has had, is copied."""
        if made_before(built, begun) or not claim([built]):
            return self.copy(built), frozenset()
        return built, frozenset({id(built)})

    def settle(self, subject: Agent, data: Data, *, leave_unknown: bool) -> None:
        """There is nobody to share with; its texts are filled in as it starts."""

    def label(self, given: Agent) -> str:
        """Its role."""
        return str(given.role).strip() or "agent"

    def placeholders(self, subject: Agent, data: Data = NO_DATA) -> set[str]:
        """The request, and the names in braces in its texts."""
        texts = (subject.role, subject.goal, subject.backstory)
        return {MESSAGES}.union(*(names_in(data.hidden(subject, text)) for text in texts))

    def parameters(self, subject: Any) -> list[Parameter]:
        """None."""
        return []

    def words_in_braces(self, subject: Agent, data: Data) -> list[str]:
        """None that is left: all are required."""
        return []

    def reads(self, subject: Agent) -> set[str]:
        """The request."""
        return {MESSAGES}

    def takes_other_inputs(self, subject: Agent) -> bool:
        """Nothing of the user's comes before the request."""
        return False

    def known_by(self, given: Agent) -> Any:
        """The agent."""
        return given

    def inputs(self, subject: Agent, inputs: dict[str, Any] | None, taken: set[str]) -> dict[str, Any] | None:
        """All of them."""
        return inputs

    def make_ready(self, subject: Agent, *, keep_replay: bool) -> Ready:
        """One task, which is the request."""
        llms = [llm for llm in (subject.llm, subject.function_calling_llm) if hasattr(llm, "call")]
        return Ready(
            steps=(ev.TaskSpec(name=self.label(subject), agent=self.label(subject)),),
            places={"": 0, f"agent:{subject.id}": 0},
            llms=llms,
            tools=list(subject.tools or []),
            path="stock",
            why="",
        )

    def asks(self, subject: Agent) -> Literal["never", "maybe", "surely"]:
        """CrewAI asks nobody about what a single agent says."""
        return "never"

    def let_ask(self, subject: Agent, ask: Ask) -> None:
        """Nobody is asked."""

    async def start(self, subject: Agent, inputs: dict[str, Any] | None, how: Mapping[str, Any]) -> Any:
        """Its `LiteAgentOutput`."""
        given = dict(inputs or {})
        messages = given.pop(MESSAGES)
        if given:
            subject.interpolate_inputs(given)
        return await subject.kickoff_async(messages, **{n: how[n] for n in self.arguments & set(how)})


AGENT = _Agents()
