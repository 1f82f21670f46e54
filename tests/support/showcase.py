"""Crews for the screenshots: real ones on the offline LLM, with tools, joins, waits and failures."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from crewai import Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel

import crew_nb as cnb

if TYPE_CHECKING:
    from crew_nb._crewai.offline import Failure

TOPICS = (
    "AI agents",
    "Batteries",
    "Deep-sea mining",
    "Fusion",
    "Gene therapy",
    "Quantum sensors",
    "Robotics",
    "Satellites",
)
PLACES = ("Lagos", "Lima", "Osaka", "Turin", "Pune", "Quito", "Tampa", "Hanoi", "Accra", "Graz")
FIELDS = ("water", "transit", "housing", "power", "schools", "waste", "clinics", "harbours", "parks", "broadband")


class Verdict(BaseModel):
    """A structured output."""

    topic: str
    score: int
    risk: str


@tool("search")
def search(query: str) -> str:
    """Search reports and news for a query."""
    time.sleep(1.5)
    return f"4 reports on {query}, the newest of this month"


FAILURES: dict[str, Failure | list[Failure]] = {
    "Search what is new in Deep-sea mining": 401,
    "Say who pays for Quantum sensors": [429],
    "Search what is new in Satellites": [429],
    "Say who pays for Satellites": [429],
}
"""What goes wrong, by words of the prompt; a list holds one failure per try."""
PACES = {"AI agents": 46.0, "Batteries": 60.0, "Robotics": 9.0, "Gene therapy": 13.0, "Fusion": 17.0}
"""Words a second, by topic."""


def research(topic: str) -> Crew:
    """Two looks at the topic, side by side, and a report that joins them."""
    model = cnb.OfflineLLM(
        seed=4, latency=(0.4, 1.2), tokens_per_second=PACES.get(topic, 40.0), errors=FAILURES, retry_after=14
    )
    scout = Agent(role="Scout", goal="Find what is new", backstory="Reads everything.", llm=model, tools=[search])
    analyst = Agent(role="Analyst", goal="Weigh what it means", backstory="Doubts everything.", llm=model)
    writer = Agent(role="Writer", goal="Say it briefly", backstory="Cuts every second word.", llm=model)
    news = Task(
        name="research",
        agent=scout,
        async_execution=True,
        description=f"Search what is new in {topic}.",
        expected_output="Three facts",
    )
    market = Task(
        name="market",
        agent=analyst,
        async_execution=True,
        description=f"Say who pays for {topic}.",
        expected_output="Three facts",
    )
    report = Task(
        name="report",
        agent=writer,
        context=[news, market],
        description=f"Write a report on {topic}.",
        expected_output="Four points",
    )
    return Crew(agents=[scout, analyst, writer], tasks=[news, market, report], name="research")


def brief(topic: str) -> Crew:
    """Notes and a summary, one after the other."""
    model = cnb.OfflineLLM(
        seed=7, latency=(0.2, 1.0), tokens_per_second=60, fail_rate=0.02, rate_limit_rate=0.03, retry_after=2
    )
    analyst = Agent(role="Analyst", goal="Take notes", backstory="Doubts everything.", llm=model)
    writer = Agent(role="Writer", goal="Say it briefly", backstory="Cuts every second word.", llm=model)
    notes = Task(name="notes", agent=analyst, description=f"Take notes on {topic}.", expected_output="Three facts")
    summary = Task(name="summary", agent=writer, description=f"Sum up {topic}.", expected_output="Two points")
    return Crew(agents=[analyst, writer], tasks=[notes, summary], name="brief")


def verdict(topic: str) -> Crew:
    """A structured output."""
    judge = Agent(role="Judge", goal="Decide", backstory="Fair.", llm=cnb.OfflineLLM(seed=4, latency=(0.1, 0.4)))
    task = Task(
        name="verdict", agent=judge, description=f"Judge {topic}.", expected_output="A verdict", output_pydantic=Verdict
    )
    return Crew(agents=[judge], tasks=[task], name="verdict")


TICKETS = {
    "The invoice is paid twice": "billing",
    "The app closes when I log in": "fault",
    "Can I change my address?": "account",
    "My card was charged in March": "billing",
    "Nothing loads since the update": "fault",
    "Please delete my profile": "account",
    "A refund has not arrived": "billing",
    "The export is an empty file": "fault",
}
"""What customers write, and where it belongs."""


def clerk(name: str, quality: float, latency: float) -> cnb.OfflineLLM:
    """A model that sorts tickets, and is right as often as `quality` says."""
    asked: Counter[str] = Counter()

    def answer(messages: list[Any]) -> str:
        said = str(messages)
        ticket = next(text for text in TICKETS if text in said)
        asked[ticket] += 1
        luck = random.Random(f"{name} {ticket} {asked[ticket]}").random() + 0.15 * ("by example" in said)
        return TICKETS[ticket] if luck > 1 - quality else "other"

    return cnb.OfflineLLM(answer, model=name, latency=latency, tokens_per_second=None)


def router(ticket: str, llm: cnb.OfflineLLM, prompt: str) -> Crew:
    """One task: where a ticket belongs."""
    agent = Agent(role="Clerk", goal="Sort tickets", backstory="Reads twice.", llm=llm)
    task = Task(
        name="sort", agent=agent, description=f"Sort, {prompt}: {ticket}", expected_output="billing, fault or account"
    )
    return Crew(agents=[agent], tasks=[task], name="router")


def right(output: Any, inputs: dict[str, str]) -> bool:
    """Whether a ticket is where it belongs."""
    return bool(output.raw == TICKETS[inputs["ticket"]])


def notice(topic: str, tone: Literal["plain", "formal"] = "plain", words: int = 80, urgent: bool = False) -> Crew:
    """One task, of a factory whose signature makes a form with four kinds of fields."""
    model = cnb.OfflineLLM(seed=4, latency=(0.3, 0.9), tokens_per_second=12)
    writer = Agent(role="Writer", goal="Write notices", backstory="Cuts every second word.", llm=model)
    ask = f"Write a {tone} notice about {topic} in {words} words{', urgent' if urgent else ''}."
    task = Task(name="notice", agent=writer, description=ask, expected_output="A notice")
    return Crew(agents=[writer], tasks=[task], name="notice")
