"""What `crewai create` writes, driven from a notebook: the line that kicks off is the only one that changes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.kernel import Kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

OFFLINE = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "OPENAI_API_KEY": "test-key"}
ASKS_NOBODY = {"CREWAI_DMN": "true"}
"""Lets `crewai create` make the project that its questions begin with."""

CREW = """
inputs = {"topic": "tides", "current_year": "2026"}
output = await cnb.kickoff(Research().crew(), inputs=inputs)  # Research().crew().kickoff(inputs=inputs)
output.raw, [task.name for task in output.tasks_output]
"""
DEFINED_CREW = """
output = await cnb.kickoff("research")  # crewai run, in research/
output.raw != "", [task.name for task in output.tasks_output]
"""
DEFINED_FLOW = """
run = cnb.kickoff("writing/src/writing/flow.yaml")  # crewai run, in writing/
await run
[task.spec.name for task in run.state.own_tasks], run.batch.results[0].raw
"""
FLOW = """
run = cnb.kickoff(ContentFlow)  # ContentFlow().kickoff()
await run
[task.spec.name for task in run.state.own_tasks], run.batch.results[0].flow_state.topic
"""


SAYS = [
    "Planning content",
    "Topic: AI Agents",
    "Generating content on: AI Agents",
    "Content generated",
    "Saving content",
    "Post saved to output/post.md",
]


@pytest.mark.parametrize(
    ("create", "main", "cell", "calls", "told", "written"),
    [
        (
            ["crew", "research", "--classic", "--skip_provider"],
            "from research.crew import Research",
            CREW,
            2,
            "['research_task', 'reporting_task']",
            "report.md",
        ),
        (
            ["flow", "writing"],
            "from writing.main import ContentFlow",
            FLOW,
            3,
            "(['plan_content', 'generate_content', 'save_content'], 'AI Agents')",
            "output/post.md",
        ),
        (["crew", "research"], "", DEFINED_CREW, None, "(True, ['research_task'])", ""),
        (["flow", "writing", "--declarative"], "", DEFINED_FLOW, 0, "(['start'], 'AI agents')", ""),
    ],
    ids=["crew", "flow", "crew in JSON", "flow in YAML"],
)
def test_a_template_project(
    server: Server, tmp_path: Path, create: list[str], main: str, cell: str, calls: int | None, told: str, written: str
) -> None:
    """As it is made, without a network: a board, nothing of CrewAI's in the cell, the files that it writes."""
    subprocess.run(
        [sys.executable, "-c", "from crewai_cli.cli import crewai; crewai()", "create", *create],
        cwd=tmp_path,
        env={**os.environ, **OFFLINE, **ASKS_NOBODY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=True,
    )
    env = {**OFFLINE, "OPENAI_BASE_URL": server.base_url}
    with Kernel(cwd=tmp_path, env=env) as kernel:
        kernel.run(f"import sys; sys.path.insert(0, '{create[1]}/src')\nimport crew_nb as cnb\n{main}", timeout=300)
        done = kernel.run(cell, timeout=300)
        assert told in done.result
        assert done.stderr == ""
        assert done.stdout.splitlines() == SAYS[: len(SAYS) * (cell is FLOW)], "the project's own words alone"
        assert len(kernel.comms) > 0
    asked = server.stats().requests
    assert asked if calls is None else len(asked) == calls  # a memory asks as often as it likes
    if written:
        assert (tmp_path / written).read_text()
