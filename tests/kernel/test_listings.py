"""The five listings of a typical tutorial on async CrewAI, pasted into a kernel unchanged but for the LLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
import crew_nb as cnb
llm = cnb.OfflineLLM(latency=0.05, tokens_per_second=None)
"""

ONE_CREW = """
import asyncio
from crewai import Agent, Crew, Task

researcher = Agent(role="Researcher", goal="Find out what is new", backstory="You are curious.", llm=llm)
research = Task(description="Research {topic}", expected_output="A short report", agent=researcher)
crew = Crew(agents=[researcher], tasks=[research])
"""

A_CREW_FOR_EACH = """
import asyncio
import time
from crewai import Agent, Crew, Task


def create_crew(topic):
    researcher = Agent(role="Researcher", goal=f"Research {topic}", backstory="You are curious.", llm=llm)
    research = Task(description=f"Research {topic}", expected_output="A short report", agent=researcher)
    return Crew(agents=[researcher], tasks=[research])
"""


@dataclass
class Listing:
    """What a tutorial prints, what the cell says to it, and what has replaced it."""

    code: str
    says: list[str]
    """What is in the lines that are printed in the end, in order."""
    hint: str
    """The line to write, of the hint under the error; empty where the listing works as it is."""
    then: str
    """What the hint makes of the listing."""
    twin: tuple[str, str, str]
    """Notebook, cell, and our line in it."""


LISTINGS = {
    "a single await": Listing(
        code=f"""{ONE_CREW}

async def run_crew():
    result = await crew.akickoff(inputs={{"topic": "AI"}})
    print(result.raw)


await run_crew()
""",
        says=["## AI"],
        hint="",
        then="",
        twin=("07_inside_a_running_loop", "top", "run = cnb.kickoff(build_crew, "),
    ),
    "gather over three crews": Listing(
        code=f"""{A_CREW_FOR_EACH}

async def main():
    crew_1, crew_2, crew_3 = create_crew("AI"), create_crew("Robots"), create_crew("Chips")
    results = await asyncio.gather(crew_1.akickoff(), crew_2.akickoff(), crew_3.akickoff())
    for number, result in enumerate(results, 1):
        print(f"Crew {{number}}: {{result.raw}}")


if __name__ == "__main__":
    asyncio.run(main())
""",
        says=["Crew 1: ## AI", "Crew 2: ## Robots", "Crew 3: ## Chips"],
        hint="await main()",
        then="await main()",
        twin=("02_parallel_crews", "launch", "batch = cnb.gather("),
    ),
    "for_each over an input list": Listing(
        code=f"""{ONE_CREW}
inputs = [{{"topic": "AI"}}, {{"topic": "Robots"}}, {{"topic": "Chips"}}]
results = crew.kickoff_for_each(inputs=inputs)
for result in results:
    print(result.raw)
""",
        says=["## AI", "## Robots", "## Chips"],
        hint="batch = cnb.kickoff_for_each(crew, inputs=inputs)\n      results = await batch",
        then="""
batch = cnb.kickoff_for_each(crew, inputs=inputs)
results = await batch
for result in results:
    print(result.raw)
""",
        twin=("03_many_inputs", "launch", "batch = cnb.kickoff_for_each("),
    ),
    "a FastAPI endpoint": Listing(
        code=f"""{A_CREW_FOR_EACH}

from fastapi import FastAPI
from pydantic import BaseModel
import uvicorn

app = FastAPI()


class ResearchRequest(BaseModel):
    topics: list[str]


@app.post("/research")
async def research(request: ResearchRequest):
    crews = [create_crew(topic) for topic in request.topics]
    results = await asyncio.gather(*[crew.akickoff() for crew in crews])
    return {{"results": {{topic: result.raw for topic, result in zip(request.topics, results)}}}}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
""",
        says=["200", "AI ## AI", "Robots ## Robots"],
        hint="from crew_nb import serve\n      server = serve.start(app)",
        then="""
from crew_nb import serve
server = serve.start(app)
import httpx
async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
    answer = await client.post("/research", json={"topics": ["AI", "Robots"]})
server.stop()
print(answer.status_code)
for topic, text in answer.json()["results"].items():
    print(topic, text)
""",
        twin=("07_inside_a_running_loop", "app", "server = serve.start(app)"),
    ),
    "parallel against sequential": Listing(
        code=f"""{A_CREW_FOR_EACH}
topics = ["AI", "Robots", "Chips"]


def run_sequential():
    start = time.time()
    for topic in topics:
        create_crew(topic).kickoff()
    return time.time() - start


async def run_parallel():
    start = time.time()
    await asyncio.gather(*[create_crew(topic).akickoff() for topic in topics])
    return time.time() - start


sequential = run_sequential()
parallel = await run_parallel()
print(f"Sequential: {{sequential:.2f}}s, parallel: {{parallel:.2f}}s")
""",
        says=["Sequential: "],
        hint="run = cnb.kickoff(create_crew(topic))\n      await run  # in a plain function: run.wait()",
        then="""
def run_sequential():
    start = time.time()
    for topic in topics:
        run = cnb.kickoff(create_crew(topic), show=False)
        run.wait()
    return time.time() - start


sequential = run_sequential()
parallel = await run_parallel()
print(f"Sequential: {sequential:.2f}s, parallel: {parallel:.2f}s")
""",
        twin=("06_speed", "benchmark", "measured = cnb.benchmark("),
    ),
}


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.run("%load_ext crew_nb")
        kernel.run(SETUP)
        yield kernel


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_a_listing_works_or_its_hint_does(kernel: Kernel, listing: Listing) -> None:
    """Where the cell raises, one hint stands above the error, and what it says to write gives what was promised."""
    cell = kernel.run(listing.code, check=not listing.hint)
    shown = [data["text/plain"] for data in cell.displays if data["text/plain"].startswith("Hint: ")]
    if listing.hint:
        assert cell.status == "error"
        (hint,) = shown
        assert listing.hint in hint
        assert not any(line in cell.stdout for line in listing.says)
        cell = kernel.run(listing.then)
    else:
        assert not shown
    places = [cell.stdout.index(line) for line in listing.says]
    assert places == sorted(places)


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_each_listing_has_its_twin_in_a_notebook(listing: Listing) -> None:
    """A cell that does the same with crew_nb; the notebook's own test runs it."""
    name, place, line = listing.twin
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    (source,) = (cell.source for cell in book.cells if cell.id == place)
    assert line in source


def test_the_hint_on_uvicorn_names_our_server_and_no_other_way(kernel: Kernel) -> None:
    """Neither `await main()` nor nested loops would serve the app."""
    code = "import uvicorn\nfrom fastapi import FastAPI\n\napp = FastAPI()\nuvicorn.run(app, port=8000)"
    (hint,) = (d["text/plain"] for d in kernel.run(code, check=False).displays)
    assert hint.startswith("Hint: line 5: uvicorn.run(app, port=8000)")
    assert "`crew_nb.serve.start(app)`" in hint
    assert "main()" not in hint
    assert "allow_nested_loops" not in hint


def test_the_twin_of_the_timing_measures_what_it_says(kernel: Kernel) -> None:
    """`cnb.benchmark` takes the verbs' options, and refuses the two that would leave nothing to compare."""
    kernel.run(A_CREW_FOR_EACH)
    code = 'cnb.benchmark(create_crew, 3, inputs={{"topic": "AI"}}, {})'
    measured = kernel.run(code.format("max_retries=1, max_concurrency=None, resume=False"))
    assert measured.result.startswith("3 crews one by one: ")
    for option, said in (
        ("max_concurrency=2", "OptionError: max_concurrency is 2, but a benchmark compares 1 at once with all n."),
        ("resume=True", "OptionError: resume is True, but what comes from the record takes no time"),
        ("resume='an earlier one'", "OptionError: resume is 'an earlier one', but what comes from the record"),
        ("n_jobs=2", "OptionError: n_jobs is not an option. Did you mean max_concurrency?"),
    ):
        cell = kernel.run(code.format(option), check=False)
        assert cell.error.startswith(said)
