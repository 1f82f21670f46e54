"""A router in an app, as `uvicorn tests.serve.app_routes:app` serves it."""

import os

from crewai import LLM, Agent, Crew, Task
from fastapi import FastAPI

from crew_nb import serve


def build(topic: str) -> Crew:
    """One question to the LLM."""
    llm = LLM(model="openai/gpt-4o-mini", base_url=os.environ["OPENAI_BASE_URL"])
    agent = Agent(role="Researcher", goal="Find what matters", backstory="Long in the trade", llm=llm)
    return Crew(agents=[agent], tasks=[Task(description=f"Research topic={topic}", expected_output="3", agent=agent)])


app = FastAPI()
app.include_router(serve.router(build), prefix="/research")
