"""`%load_ext crew_nb` in a real kernel: the real errors, each with its hint above it, and nothing hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crew_nb._state.words import plain
from tests.support.kernel import Cell, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
import asyncio
import crew_nb as cnb
from crewai import Agent, Crew, Task

def agent(latency=0.05, **options):
    llm = cnb.OfflineLLM(latency=latency, tokens_per_second=None)
    return Agent(role="Researcher", goal="Find out", backstory="Curious", llm=llm, **options)

def crew(by=None, **options):
    by = by or agent()
    return Crew(agents=[by], tasks=[Task(description="Look at {topic}", expected_output="A note", agent=by)], **options)

def spoilt():
    raise RuntimeError("Executor is already running. Cannot invoke the same executor instance concurrently.")

def busy():
    by, editor = agent(), agent()
    two = [Task(description=d, expected_output="A note", agent=by, async_execution=True) for d in ("left", "right")]
    join = Task(description="join", expected_output="A note", agent=editor, context=two)
    return Crew(agents=[by, editor], tasks=[*two, join])

async def main():
    return await crew().akickoff(inputs={"topic": "AI"})

async def callback(value):
    return value

ai = {"topic": "AI"}
"""

# What a newcomer writes, the error that Python or CrewAI gives, the line that the hint names, and the line to write.
CASES = [
    (
        "ours = crew(agent(0))\nawait cnb.kickoff(ours, ai, show=False)\nours.usage_metrics.total_tokens",
        "AttributeError: 'NoneType' object has no attribute 'total_tokens'",
        "line 3: ours.usage_metrics.total_tokens",
        "output.token_usage  # or run.usage",
    ),
    (
        "ours = crew(agent(0))\nawait cnb.kickoff(ours, ai, show=False)\nprint(ours.tasks[0].output.raw)",
        "AttributeError: 'NoneType' object has no attribute 'raw'",
        "line 3: print(ours.tasks[0].output.raw)",
        "output.tasks_output[0]",
    ),
    (
        "topic = 'AI'\nasyncio.run(main())",
        "RuntimeError: asyncio.run() cannot be called from a running event loop",
        "line 2: asyncio.run(main())",
        "await main()",
    ),
    (
        "asyncio.get_event_loop().run_until_complete(main())",
        "RuntimeError: This event loop is already running",
        "line 1: asyncio.get_event_loop().run_until_complete(main())",
        "await main()",
    ),
    (
        "async def größe(*words, of): ...\nö = asyncio.run(größe('a', 'b(',\n    of=ai), debug=False)",
        "RuntimeError: asyncio.run() cannot be called from a running event loop",
        "line 2: ö = asyncio.run(größe('a', 'b(',",
        "await größe('a', 'b(',\n          of=ai)\n",
    ),
    (
        "work = main()\nasyncio.get_event_loop().run_until_complete(future=work)",
        "RuntimeError: This event loop is already running",
        "line 2: asyncio.get_event_loop().run_until_complete(future=work)",
        "await work",
    ),
    (
        "result = crew().kickoff(inputs=ai)",
        "RuntimeError: Agent execution was invoked synchronously from within a running event loop",
        "line 1: result = crew().kickoff(inputs=ai)",
        "run = cnb.kickoff(crew(), inputs=ai)",
    ),
    (
        "crew().kickoff_for_each(inputs=[ai, ai])",
        "RuntimeError: Agent execution was invoked synchronously from within a running event loop",
        "line 1: crew().kickoff_for_each(inputs=[ai, ai])",
        "batch = cnb.kickoff_for_each(crew(), inputs=[ai, ai])",
    ),
    (
        "by = agent()\nawait asyncio.gather(crew(by).akickoff(inputs=ai), crew(by).akickoff(inputs=ai))",
        "RuntimeError: Executor is already running",
        "line 2: await asyncio.gather(",
        "results = await cnb.gather((crew(by), ai), (crew(by), ai))",
    ),
    (
        "await busy().akickoff()",
        "RuntimeError: Executor is already running",
        "line 1: await busy().akickoff()",
        "run = cnb.kickoff(crew)  # or one agent for each of these tasks",
    ),
    (
        "await crew(before_kickoff_callbacks=[callback]).akickoff(inputs=ai)",
        "ValidationError: 1 validation error for CrewKickoffStartedEvent",
        "line 1: await crew(before_kickoff_callbacks=[callback])",
        "run = cnb.kickoff(crew)  # or, for bare CrewAI, def callback(value): without async",
    ),
    (
        "output = crew().akickoff(inputs=ai)\noutput.raw",
        "AttributeError: 'coroutine' object has no attribute 'raw'",
        "line 2: output.raw",
        "output = await output",
    ),
    (
        "for output in crew().akickoff_for_each(inputs=[ai]):\n    print(output)",
        "TypeError: 'coroutine' object is not iterable",
        "line 1: for output in crew().akickoff_for_each(inputs=[ai]):",
        "output = await crew.akickoff(inputs={...})",
    ),
    (
        "await crew(agent(latency=1.5, max_execution_time=1)).akickoff(inputs=ai)",
        "TimeoutError: Task 'Look at AI' execution timed out after 1 seconds",
        "line 1: await crew(agent(latency=1.5, max_execution_time=1))",
        "run = cnb.kickoff(crew, timeout=60)",
    ),
    (
        "import uvicorn\nfrom fastapi import FastAPI\nuvicorn.run(FastAPI(), port=8000)",
        "RuntimeError: ",  # its words are another for each Python and loop class
        "line 3: uvicorn.run(FastAPI(), port=8000)",
        "server = serve.start(app)",
    ),
    (
        "results = asyncio.gather(main(), main())\nresults[0].raw",
        "TypeError: '_GatheringFuture' object is not subscriptable",
        "line 2: results[0].raw",
        "results = await results",
    ),
    (
        "for output in asyncio.gather(main(), main()):\n    output.raw",
        "AttributeError: '_GatheringFuture' object has no attribute 'raw'",
        "line 2: output.raw",
        "results = await cnb.gather(crew_a, crew_b)",
    ),
    (
        "task = asyncio.create_task(main())\ntask.raw",
        "AttributeError: '_asyncio.Task' object has no attribute 'raw'",
        "line 2: task.raw",
        "results = await task",
    ),
    (
        "mine = cnb.kickoff(crew, ai, show=False)\nprint(mine.raw)",
        "AttributeError: 'Run' object has no attribute 'raw'",
        "line 2: print(mine.raw)",
        "output = await mine\n      output.raw\n      # or, once it is done: mine.output.raw",
    ),
    (
        "batch = cnb.gather((crew, ai), show=False)\nbatch.to_frame()",
        "AttributeError: 'Batch' object has no attribute 'to_frame'",
        "line 2: batch.to_frame()",
        "results = await batch\n      results.to_frame",
    ),
    (
        "results = await cnb.kickoff(spoilt, ai, show=False)",
        "RunFailedError: run 0 (topic=AI) failed: RuntimeError: Executor is already running",
        "line 1: results = await cnb.kickoff(spoilt, ai, show=False)",
        "one agent for each of these tasks",
    ),
]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.run("%load_ext crew_nb")
        kernel.run(SETUP)
        yield kernel


def hints(cell: Cell) -> list[dict[str, str]]:
    return [data for data in cell.displays if data.get("text/plain", "").startswith("Hint: ")]


@pytest.mark.parametrize(("code", "error", "line", "instead"), CASES, ids=[case[0].splitlines()[-1] for case in CASES])
def test_the_hint_is_above_the_error(kernel, code, error, line, instead):
    """First in sight, one hint names the line, what happens and what to write; the user's error is whole below it."""
    cell = kernel.run(code, check=False)
    assert cell.status == "error"
    assert cell.error.startswith(error)
    assert "Traceback" in cell.traceback
    (found,) = hints(cell)
    assert found["text/plain"].startswith(f"Hint: {line}")
    assert instead in found["text/plain"]
    assert 'class="crew-nb"' in found["text/html"]
    shown = [m for m in cell.messages if m.type in ("error", "display_data")]
    assert shown[0].content["data"] == found
    assert shown[-1].type == "error"


def test_other_errors_and_good_cells_have_no_hint(kernel):
    """A hint is only given where we know."""
    assert not hints(kernel.run("1 / 0", check=False))
    assert not hints(kernel.run("raise RuntimeError('Executor of a will')", check=False))
    assert not hints(kernel.run("(await main()).raw"))
    kernel.run("batch = cnb.gather((crew, ai), show=False)")
    for missing in ("batch.tokens", "batch[0].tokens", "asyncio.current_task().owner", "type('Run', (), {})().raw"):
        cell = kernel.run(missing, check=False)
        assert cell.error.startswith("AttributeError: ")
        assert not hints(cell)


def test_the_errors_of_a_batch_are_looked_into(kernel):
    """An ExceptionGroup of runs, and an error that was raised from another."""
    cell = kernel.run("(await cnb.kickoff_for_each(spoilt, [ai, ai], show=False)).raise_for_errors()", check=False)
    assert cell.status == "error"
    assert len(hints(cell)) == 1
    cell = kernel.run(
        "try:\n    asyncio.run(main())\nexcept RuntimeError as e:\n    raise ValueError('mine') from e", check=False
    )
    assert cell.error == "ValueError: mine"
    assert "await main()" in hints(cell)[0]["text/plain"]


def test_the_line_to_write_works(kernel):
    """What the hints say, done."""
    kernel.run("await main()")
    kernel.run("run = cnb.kickoff(crew, inputs=ai, show=False)\nawait run")
    kernel.run("batch = cnb.kickoff_for_each(crew, inputs=[ai, ai], show=False)\nresults = await batch")
    assert (
        kernel.run(
            "by = agent()\nresults = await cnb.gather((crew(by), ai), (crew(by), ai), show=False)\nlen(results.outputs)"
        ).result
        == "2"
    )


def test_bare_crewai_approves_in_place_of_a_person(kernel):
    """What `check` says of `human_input`: the panel is shown, nobody is asked, and the draft is the output."""
    kernel.run(
        "by = agent()\n"
        "draft = Task(description='Draft', expected_output='A note', agent=by, human_input=True)\n"
        "asking = Crew(agents=[by], tasks=[draft])"
    )
    assert "takes the silence for approval" in kernel.run("cnb.check(asking)").result
    cell = kernel.run("print((await asking.akickoff()).raw)")
    assert any("Provide feedback" in data["text/plain"] for data in cell.displays)
    assert not kernel.prompts
    assert cell.stdout.strip()


def test_hints_can_be_turned_off_and_on_again():
    """`%unload_ext` ends them; loading twice shows each once."""
    with Kernel() as kernel:
        kernel.run("%load_ext crew_nb")
        kernel.run("%reload_ext crew_nb")
        code = "import asyncio\nasync def main(): ...\nasyncio.run(main())"
        assert len(hints(kernel.run(code, check=False))) == 1
        kernel.run("%unload_ext crew_nb")
        assert not hints(kernel.run(code, check=False))
        assert kernel.run("import sys; 'crewai' in sys.modules").result == "False"


def test_what_was_only_copied_is_told_of_where_it_is_shown_empty(kernel):
    """A cell that ends well shows None; of what bare CrewAI has filled nothing is said."""
    kernel.run("ours = crew(agent(0))\nawait cnb.kickoff(ours, ai, show=False)")
    (found,) = hints(kernel.run("print(ours.usage_metrics)"))
    assert "line 1: print(ours.usage_metrics)" in found["text/plain"]
    kernel.run("filled = crew(agent(0))\n_ = await filled.akickoff(inputs=ai)")
    assert not hints(kernel.run("filled.usage_metrics, filled.tasks[0].output"))


def test_an_error_of_ours_is_its_sentence_and_the_users_lines(kernel):
    """What lies between is in a fold, once; the cause is kept, and with `%xmode Verbose` all is shown."""
    cell = kernel.run("x = 1\ncnb.gather(3)", check=False)
    assert len(cell.traceback.splitlines()) < 10
    assert "cnb.gather(" in plain(cell.traceback)
    assert "blueprint.py" not in cell.traceback
    (fold,) = [data for data in cell.displays if "<details>" in data.get("text/html", "")]
    assert "blueprint.py" in fold["text/html"]
    assert "%xmode Verbose" in fold["text/plain"]

    kernel.run("def mine(_):\n    raise KeyError('no such shop')\nours = crew(agent(0))\nours.tasks[0].callback = mine")
    cell = kernel.run("await cnb.kickoff(ours, ai, show=False)", check=False)
    said = plain(cell.traceback)
    assert "raise KeyError('no such shop')" in said, "the user's own line"
    assert said.index("KeyError: 'no such shop'") < said.index("direct cause") < said.index("RunFailedError: run 0")
    assert len(said.splitlines()) < 25
    assert "driver.py" not in said
    checks = "import sys, traceback\nlen(traceback.extract_tb(sys.last_value.__cause__.__traceback__)) > 10"
    assert kernel.run(checks).result == "True"
    kernel.run("%xmode Verbose")
    assert "driver.py" in kernel.run("await cnb.kickoff(ours, ai, show=False)", check=False).traceback
    kernel.run("%xmode Context")
