"""The classic endpoint: topics in, one text per topic out; in one go, with the crews side by side."""

import os

from crewai import LLM, Agent, Crew, Task
from fastapi import FastAPI
from pydantic import BaseModel, Field

import crew_nb as cnb

app = FastAPI()


def build_research_crew(topic: str) -> Crew:
    """A crew of its own for each topic."""
    llm = LLM(model="openai/gpt-4o-mini", base_url=os.environ.get("OPENAI_BASE_URL"))
    researcher = Agent(role="Researcher", goal="Find what matters", backstory="Long in the trade", llm=llm)
    task = Task(description=f"Research topic={topic}", expected_output="3 bullet points", agent=researcher)
    return Crew(agents=[researcher], tasks=[task])


class Topics(BaseModel):
    """What is to be looked into."""

    topics: list[str] = Field(min_length=1, max_length=20)


class Texts(BaseModel):
    """One text per topic; where a crew failed, why."""

    results: dict[str, str]


@app.post("/research")
async def research(body: Topics) -> Texts:
    """Run one crew per topic at once and join."""
    inputs = [{"topic": topic} for topic in body.topics]
    results = await cnb.kickoff_for_each(build_research_crew, inputs, show=False, timeout=120)
    texts = [r.raw if r.status == "done" else f"{r.status}: {r.error}" for r in results]
    return Texts(results=dict(zip(body.topics, texts, strict=True)))
