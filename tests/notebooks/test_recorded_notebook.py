"""A lesson of every kind, recorded by a teacher with keys, and run by students without keys and without a network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

KEYS = {name: f"sk-proj-{n}aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" for n, name in enumerate(("A", "B", "C", "D", "E"))}
"""Of the provider, of one LLM, of a tool, of an input, of an embedder."""

OFFLINE = """
import socket
denied = []
def deny(self, address):
    denied.append(address)
    raise OSError(f"no network: {address}")
socket.socket.connect = socket.socket.connect_ex = deny
"""

BUILD = """
import os
import crew_nb as cnb
from crewai import LLM, Crew, Flow
from crewai.flow.flow import listen, start
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.tools import tool
from tests.support import crews

how = {"answers": "lesson.jsonl", "answers_speed": 0, "answers_tools": True, "show": False}
rows = [{"topic": topic} for topic in ("Mars", "Venus")]

def model():
    return LLM(model="openai/gpt-4o-mini")

@tool
def search(query: str) -> str:
    "Search what only the teacher may search."
    return f"found {query} with {os.environ['SEARCH_API_KEY']}"

def searching(topic: str, api_key: str = "none"):
    crew = crews.one(LLM(model="openai/gpt-4o", api_key=os.environ.get("OTHER_KEY", "none")), tools=[search])
    crew.tasks[0].description += f" as {os.environ.get('WHO', 'anybody')}"
    return crew

def filled(topic: str):
    return crews.one(model(), output_pydantic=crews.Report)

def joined(topic: str):
    return crews.fork_join(model())

def managed(topic: str):
    return crews.hierarchical(model())

def knowing(topic: str):
    crew = crews.one(model())
    config = {"model_name": "text-embedding-3-small"}
    if "EMBED_KEY" in os.environ:
        config["api_key"] = os.environ["EMBED_KEY"]
    facts = [StringKnowledgeSource(content="The metal of topic=Mars, of topic=Venus and of all else is cobalt.")]
    return Crew(agents=crew.agents, tasks=crew.tasks, knowledge_sources=facts,
                embedder={"provider": "openai", "config": config})

class Steps(Flow):
    @start()
    def first(self):
        return search.run(query=self.state["topic"])

    @listen(first)
    async def second(self, found):
        output = await crews.chain(model(), 2).akickoff({"topic": self.state["topic"]})
        return output.raw

    @listen(second)
    def third(self, text):
        return model().call(f"topic={self.state['topic']}: shorten {text}")
"""

RUN = """
keyed = [{**row, "api_key": os.environ.get("INPUT_KEY", "none")} for row in rows]
batches = [cnb.kickoff_for_each(searching, keyed, **how)]
batches += [cnb.kickoff_for_each(crew, rows, **how) for crew in (filled, joined, managed, knowing, Steps)]
results = [result for batch in batches for result in batch.wait(300)]
for result in results:
    if result.error is not None:
        raise result.error
hidden = [os.environ.get(name) for name in ("OPENAI_API_KEY", "OTHER_KEY", "SEARCH_API_KEY", "INPUT_KEY")]
for result in results:
    said = str(result.raw)
    for key in filter(None, hidden):
        said = said.replace(key, "***")
    print(said, result.pydantic)
"""

COUNT = """
print(len(denied), sum(r.state.usage.total_tokens for r in results), sum(r.state.recorded_calls > 0 for r in results))
"""


def _run(folder: Path, cells: list[str], env: dict[str, str]) -> list[str]:
    """What each cell prints, in a new kernel with this environment."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    hidden = ("OPENAI", "OTHER_KEY", "SEARCH", "INPUT_KEY", "EMBED")
    own = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    places = {
        name: str(folder / f"of-{len(list(folder.iterdir()))}") for name in ("CREWAI_STORAGE_DIR", "CREW_NB_HOME")
    }
    client = NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**own, "PYTHONPATH": str(ROOT), **places, **env})
    return [
        "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")
        for cell in book.cells
    ]


@pytest.mark.timeout(1800)
def test_a_lesson_of_every_kind_is_replayed_offline(server: Server, tmp_path: Path) -> None:
    """Twice, in new kernels: the same outputs, and no request; a changed prompt misses with its words."""
    teacher = {
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEYS["A"],
        "OTHER_KEY": KEYS["B"],
        "SEARCH_API_KEY": KEYS["C"],
        "INPUT_KEY": KEYS["D"],
        "EMBED_KEY": KEYS["E"],
    }
    (said,) = _run(tmp_path, [BUILD + RUN], teacher)
    seen = server.stats(prompts=True)
    assert len(said.splitlines()) >= 12
    assert seen.embedded
    assert any("cobalt" in request.prompt for request in seen.requests)
    lesson = tmp_path / "lesson.jsonl"
    written = lesson.read_text()
    assert not [key for key in KEYS.values() if key in written]
    for _ in range(2):
        _, again, count = _run(tmp_path, [OFFLINE, BUILD + RUN, COUNT], {})
        assert again == said
        assert count.split() == ["0", "0", "12"]
    with pytest.raises(CellExecutionError) as missed:
        _run(tmp_path, [OFFLINE, BUILD + RUN], {"WHO": "a pirate"})
    assert "NotRecordedError" in str(missed.value)
    assert "as a pirate" in str(missed.value)
    assert "as anybody" in str(missed.value)
    after = server.stats()
    assert (len(after.requests), after.embedded, after.others) == (len(seen.requests), seen.embedded, [])
    assert lesson.read_text() == written
