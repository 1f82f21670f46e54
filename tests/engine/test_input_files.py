"""Files for LLMs: what reaches the provider is what CrewAI itself sends, and a run is known by what is in them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from crewai.flow.flow import Flow, start
from crewai_files import File, ImageFile, TextFile

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOPIC = {"topic": "A"}
REQUEST = {"messages": "Write topic=A"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """One that goes into the prompt, and one that a tool reads."""
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "note.txt").write_text("It rains.")
    return {"dot": ImageFile(source=tmp_path / "dot.png"), "note": TextFile(source=tmp_path / "note.txt")}


def bodies(server: Server) -> list[dict[str, Any]]:
    """What was asked since the last time, without how the answer is to come."""
    found = [r.body for r in server.stats(bodies=True).requests]
    server.reset()
    return [{k: v for k, v in body.items() if k not in ("stream", "stream_options")} for body in found]


def flow(server: Server) -> type[Flow[Any]]:
    """A flow whose step runs a crew, which finds the flow's files."""

    class Report(Flow[dict[str, Any]]):
        @start()
        def report(self) -> str:
            return str(crews.one(llm(server)).kickoff(TOPIC).raw)

    return Report


@pytest.mark.parametrize("given", ["crew", "factory", "flow", "agent", "inputs", "task"])
def test_the_provider_is_sent_what_crewai_sends(server: Server, files: dict[str, Any], given: str) -> None:
    """An image in the prompt, a text by CrewAI's tool: with `input_files=`, as inputs, and of a task."""
    start: Any
    if given == "flow":
        flow(server)().kickoff(input_files=files)
        start = flow(server), None, {"input_files": files}
    elif given == "agent":
        crews.agent(llm(server)).kickoff(REQUEST["messages"], input_files=files)
        start = crews.agent(llm(server)), REQUEST, {"input_files": files}
    elif given == "inputs":
        crews.one(llm(server)).kickoff({**TOPIC, **files})
        start = crews.one(llm(server)), {**TOPIC, **files}, {}
    elif given == "task":
        crews.one(llm(server), input_files=files).kickoff(TOPIC)
        start = crews.one(llm(server), input_files=files), TOPIC, {}
    else:
        crews.one(llm(server)).kickoff(TOPIC, input_files=files)
        crew = crews.one(llm(server)) if given == "crew" else lambda topic: crews.one(llm(server))
        start = crew, TOPIC, {"input_files": files}
    bare = bodies(server)
    assert base64.b64encode(PNG).decode() in str(bare[0])
    assert [len(body.get("tools", ())) for body in bare] == ([0] if given in ("agent", "task") else [1, 1])

    crew, inputs, options = start
    cnb.kickoff(crew, inputs, show=False, **options).wait(60)
    assert bodies(server) == bare


def test_a_file_for_each_run(server: Server, tmp_path: Path) -> None:
    """As inputs: each run has its own, and its row is called by the file's name."""
    for n in range(4):
        (tmp_path / f"scan {n}.png").write_bytes(PNG + b"%d" % n)
    rows = [{**TOPIC, "scan": ImageFile(source=tmp_path / f"scan {n}.png")} for n in range(4)]
    results = cnb.kickoff_for_each(crews.one(llm(server)), rows, show=False).wait(60)
    asked = sorted(str(body) for body in bodies(server))
    assert [sum(base64.b64encode(PNG + b"%d" % n).decode() in body for body in asked) for n in range(4)] == [1] * 4
    assert [r.state.label for r in results] == [f"scan=scan {n}.png, topic=A" for n in range(4)]
    assert [[c.value for c in r.state.columns] for r in results] == [[f"scan {n}.png"] for n in range(4)]


def test_a_file_without_a_name(tmp_path: Path) -> None:
    """One of the web is called by its address, bytes by what they are."""
    rows = [{**TOPIC, "scan": ImageFile(source=source)} for source in ("https://example.org/a.png", PNG)]
    batch = cnb.kickoff_for_each(crews.one(cnb.OfflineLLM()), rows, show=False)
    batch.cancel()
    batch.wait_quietly(60)
    assert [run.state.columns[0].value for run in batch] == ["https://example.org/a.png", "ImageFile"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("report.pdf", "input_files is 'report.pdf'. Write"),
        ({"report": "report.pdf"}, r"input_files\[\"report\"\] is 'report.pdf', which is no file. Write"),
        ({"report": 5}, "is 5, which is no file"),
        ({5: File(source=PNG)}, "the name 5 in input_files is not a string"),
    ],
)
def test_what_is_no_file(given: Any, says: str) -> None:
    """CrewAI fails on it in the middle of the run; here nothing is started."""
    with pytest.raises(cnb.OptionError, match=says):
        cnb.kickoff(crews.one(cnb.OfflineLLM()), TOPIC, input_files=given, show=False)


def test_a_file_that_is_gone(files: dict[str, Any], tmp_path: Path) -> None:
    """It was there when it was named: nothing is started."""
    (tmp_path / "note.txt").unlink()
    with pytest.raises(cnb.OptionError, match=r"note\.txt, and that file is not there any more"):
        cnb.kickoff(crews.one(cnb.OfflineLLM()), TOPIC, input_files=files, show=False)


@pytest.mark.parametrize("given", ["input_files", "inputs", "task"])
def test_a_run_is_known_by_what_is_in_its_files(server: Server, tmp_path: Path, given: str) -> None:
    """Resumed as long as it is the same, wherever it lies; another text under the same name is asked for."""

    def asked(text: str, folder: str) -> int:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "note.txt").write_text(text)
        files = {"note": TextFile(source=tmp_path / folder / "note.txt")}
        crew = crews.one(llm(server), **({"input_files": files} if given == "task" else {}))
        options: Any = {"input_files": files} if given == "input_files" else {}
        inputs = {**TOPIC, **files} if given == "inputs" else TOPIC
        cnb.kickoff(crew, inputs, resume=True, show=False, **options).wait(60)
        return len(bodies(server))

    calls = asked("It rains.", "a")
    assert calls > 0
    assert [asked("It rains.", "a"), asked("It rains.", "b"), asked("It snows.", "a")] == [0, 0, calls]
