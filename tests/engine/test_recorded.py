"""Recorded answers: asked once, replayed for all, in the same places, and without a request or a key."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai import LLM, Flow
from crewai.flow.flow import listen, start
from crewai.tools import tool

import crew_nb as cnb
from crew_nb._record import answers as _answers
from tests.support import crews
from tests.support.kernel import ROOT
from tests.support.scripted_llm import ScriptedLLM
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.server import Server

TOPICS = [{"topic": topic} for topic in ("Mars", "Venus", "Pluto")]


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    """Where the answers go."""
    return tmp_path / "lesson.jsonl"


@pytest.fixture
def new_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets what this process knows of files, and has no more keys and sockets: the kernel of somebody else."""

    def forget() -> None:
        monkeypatch.setattr(_answers, "_opened", {})
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(name, raising=False)

        stock = socket.socket.connect

        def refuse(self: Any, address: Any) -> Any:
            assert threading.current_thread() is threading.main_thread(), "a run has opened a socket"
            return stock(self, address)  # the test asks the server what it saw

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "connect_ex", refuse)

    return forget


def _run(crew: Any, inputs: Any = TOPICS, **options: Any) -> cnb.Results:
    return cnb.kickoff_for_each(crew, inputs, show=False, **{"answers_speed": 0, **options}).wait(120)


def _outputs(results: cnb.Results) -> list[Any]:
    for result in results:
        assert result.status == "done", result.state.error
    return [(result.raw, result.pydantic, result.json_dict) for result in results]


def _lines(lesson: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lesson.read_text().splitlines()]


class Steps(Flow[Any]):
    """A flow with a crew in its second step, and an LLM call of its own in the third."""

    @start()
    def first(self) -> str:
        return str(self.state["topic"])

    @listen(first)
    async def second(self, topic: str) -> str:
        output = await crews.chain(LLM(model="openai/gpt-4o-mini"), 2).akickoff({"topic": topic})
        return str(output.raw)

    @listen(second)
    def third(self, text: str) -> str:
        return str(LLM(model="openai/gpt-4o-mini").call(f"topic={self.state['topic']}: shorten {text}"))


SHAPES: dict[str, Any] = {
    "a chain": crews.chain,
    "a fork": crews.fork_join,
    "a manager": crews.hierarchical,
    "a tool": lambda model: crews.one(model, tools=[crews.search]),
    "a model to fill": lambda model: crews.one(model, output_pydantic=crews.Report),
    "a flow": lambda model: Steps,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
def test_what_was_recorded_is_replayed_without_a_request(
    server: Server,
    lesson: Path,
    new_kernel: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    stream: bool,
) -> None:
    """At once, then one by one in a kernel without key and sockets: the same outputs; saved is what was spent."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-teacher-1234")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    server.configure(tokens=12)

    def build() -> Any:
        return SHAPES[shape](LLM(model="openai/gpt-4o-mini"))

    recorded = _run(build, answers=lesson, stream=stream, max_concurrency=64)
    outputs = _outputs(recorded)
    asked = len(server.stats().requests)
    written = lesson.read_bytes()
    assert asked == recorded.usage.successful_requests
    assert recorded.saved.total_tokens == 0
    new_kernel()
    replayed = _run(build, answers=lesson, stream=stream, max_concurrency=1)
    assert _outputs(replayed) == outputs
    assert len(server.stats().requests) == asked
    assert replayed.usage.total_tokens == 0
    assert replayed.saved.total_tokens == recorded.usage.total_tokens
    assert [r.state.recorded_calls for r in replayed] == [r.state.usage.successful_requests for r in recorded]
    assert lesson.read_bytes() == written
    assert b"a-key-of-the-teacher" not in written


def test_repeats_keep_their_own_answers(server: Server, lesson: Path, new_kernel: Callable[[], None]) -> None:
    """Runs that ask the very same, in different crews and repeats, get back what each of them was told."""
    model = llm(server, api_key="k")
    mars = {"topic": "Mars"}
    same = [(crews.chain(model, 2), mars), (crews.chain(model, 2), mars), *[(crews.one(model), mars)] * 3]
    outputs = [r.raw for r in cnb.gather(*same, show=False, answers=lesson).wait(120)]
    assert len(set(outputs)) == 5  # the server numbers its answers
    new_kernel()
    again = cnb.gather(*same, show=False, answers=lesson, answers_speed=0, max_concurrency=1).wait(120)
    assert [r.raw for r in again] == outputs


def test_some_of_the_runs_get_what_theirs_were_told(
    server: Server, lesson: Path, new_kernel: Callable[[], None]
) -> None:
    """One input of many, and one of several crews: a run is known by its inputs, not by its place."""
    model = llm(server)
    outputs = _outputs(_run(crews.one(model), answers=lesson))
    other = cnb.gather((crews.chain(model), TOPICS[0]), (crews.fork_join(model), TOPICS[0]), show=False, answers=lesson)
    joined = other.wait(120)[1].raw
    new_kernel()
    assert _outputs(_run(crews.one(model), TOPICS[2:], answers=lesson)) == outputs[2:]
    assert _outputs(_run(crews.fork_join(model), TOPICS[:1], answers=lesson))[0][0] == joined


def test_a_miss_tells_what_differs(server: Server, lesson: Path, new_kernel: Callable[[], None]) -> None:
    """A changed prompt fails its run, and no other, with the run, the task and the words; `ask` asks and adds."""
    crew = crews.chain(llm(server), 2)
    _run(crew, answers=lesson)
    crew.tasks[1].description = "Step 1 about topic={topic} in three words"
    _answers._opened.clear()
    asked = len(server.stats().requests)
    missed = _run(crew, TOPICS[:1], answers=lesson)[0]
    assert missed.status == "failed"
    assert isinstance(missed.error, cnb.NotRecordedError)
    assert "topic=Mars, task 1, Worker 1" in missed.state.error.message
    assert "Step 1 about topic=Mars in three words" in missed.state.error.message.split("and not")[0]
    assert "answers_missing=" in missed.state.error.message
    assert len(server.stats().requests) == asked
    assert missed.state.saved.total_tokens > 0
    added = _run(crew, TOPICS[:1], answers=lesson, answers_missing="ask")
    assert len(server.stats().requests) == asked + 1
    assert (added[0].state.recorded_calls, added.usage.successful_requests) == (1, 1)
    new_kernel()
    assert _outputs(_run(crew, TOPICS[:1], answers=lesson)) == _outputs(added)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "gpt-4o"}, "the model differs"),
        ({"temperature": 0.5}, "the setting temperature differs"),
    ],
)
def test_a_miss_names_the_setting(server: Server, lesson: Path, change: dict[str, Any], words: str) -> None:
    """Another model, or another setting of it, is another question."""
    _run(crews.one(llm(server)), TOPICS[:1], answers=lesson)
    missed = _run(crews.one(llm(server, **change)), TOPICS[:1], answers=lesson, answers_missing="error")[0]
    assert words in missed.state.error.message


def test_what_is_no_question_changes_nothing(server: Server, lesson: Path) -> None:
    """Another address, another key, a stream or none, another day: the same answers."""

    def build(day: str, **options: Any) -> Any:
        crew = crews.one(llm(server, **options))
        crew.agents[0].inject_date = True
        crew.agents[0].date_format = day
        return crew

    outputs = _outputs(_run(build("%Y-%m-%d"), TOPICS[:1], answers=lesson))
    other = build("%A the %d", api_key="another-key", base_url="http://127.0.0.1:9/v1", timeout=5)
    assert _outputs(_run(other, TOPICS[:1], answers=lesson, stream=True, answers_missing="error")) == outputs


def test_tries_that_failed_are_not_recorded(server: Server, lesson: Path, new_kernel: Callable[[], None]) -> None:
    """A call that was answered at its second try is one call."""
    server.configure(faults=[{"kind": 500, "times": 1, "share": 1.0}])
    outputs = _outputs(_run(crews.one(llm(server)), answers=lesson))
    assert len(_lines(lesson)) == 1 + len([line for line in _lines(lesson) if "text" in line]) + len(TOPICS)
    new_kernel()
    assert _outputs(_run(crews.one(llm(server)), answers=lesson)) == outputs


def test_functions_that_an_llm_calls_itself_are_called(lesson: Path, server: Server) -> None:
    """Kept is the provider's answer, so the function is called each time, with the arguments that were recorded."""
    called: list[str] = []

    def search(query: str) -> str:
        called.append(query)
        return f"{len(called)} hits"

    schema = {"name": "search", "description": "Search", "parameters": {"type": "object", "properties": {"query": {}}}}
    model = llm(server)

    class Asking(Flow[Any]):
        @start()
        def ask(self) -> str:
            tools = [{"type": "function", "function": schema}]
            return str(model.call("topic=Mars: search", tools=tools, available_functions={"search": search}))

    results = [cnb.kickoff(Asking, show=False, answers=lesson).batch.wait(60)[0] for _ in range(3)]
    assert [result.raw for result in results] == ["1 hits", "2 hits", "3 hits"]
    assert len(set(called)) == 1
    assert len(server.stats().requests) == 1


def test_calls_on_the_loop_itself_are_answered(lesson: Path, server: Server) -> None:
    """A callback that CrewAI calls on the engine's loop may ask, too."""
    model = llm(server)
    said: list[str] = []

    def build() -> Any:
        crew = crews.one(model)
        crew.tasks[0].callback = lambda output: said.append(model.call(f"topic=Mars: rate {output.raw}"))
        return crew

    for _ in range(2):
        _run(build, TOPICS[:1], answers=lesson)
    assert len(server.stats().requests) == 2
    assert said[0] == said[1]


def test_a_nested_batch_uses_the_answers_of_its_run(lesson: Path, server: Server) -> None:
    """What a tool launches is part of the run, recorded and replayed with it."""
    model = llm(server)

    @tool
    def ask_others(query: str) -> str:
        """Ask other crews about a query."""
        return "; ".join(r.raw for r in cnb.kickoff_for_each(crews.one(model), TOPICS, show=False).wait(60))

    outputs = [_outputs(_run(lambda: crews.one(model, tools=[ask_others]), TOPICS[:1], answers=lesson)) for _ in "12"]
    assert outputs[0] == outputs[1]
    assert len(server.stats().requests) == 5


def test_keys_are_not_in_the_file(lesson: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of an LLM, of the environment, of an input, of a tool's answer, nor what only looks like one."""
    keys = [f"sk-proj-{n}aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" for n in range(5)]
    monkeypatch.setenv("SEARCH_API_KEY", keys[1])

    @tool
    def look(query: str) -> str:
        """Look something up."""
        return f"found with {keys[1]} and {keys[3]}"

    def build(topic: str, api_key: str) -> Any:
        crew = crews.one(llm(server, api_key=keys[0]), tools=[look])
        crew.tasks[0].description += f" with {api_key}, {keys[0]} and {keys[4]}"
        return crew

    inputs = [{"topic": "Mars", "api_key": keys[2]}]
    outputs = _outputs(_run(build, inputs, answers=lesson))
    assert not [key for key in keys if key in lesson.read_text()]
    assert len(_lines(lesson)) > 3
    replayed = _run(build, inputs, answers=lesson, answers_missing="error")
    assert len(server.stats().requests) == 2
    assert "***" in _outputs(replayed)[0][0]
    assert "found with" in outputs[0][0]


def test_answers_come_at_their_pace(lesson: Path, server: Server) -> None:
    """As long as it took, in the pieces in which it came; or several times faster."""
    server.configure(latency=0.2, tokens=10, tokens_per_second=20)
    crew = crews.one(llm(server))
    said = _outputs(_run(crew, TOPICS[:1], answers=lesson, stream=True))[0][0]
    kept = next(line for line in _lines(lesson) if "call" in line)
    assert kept["seconds"] >= 0.4
    assert len(kept["pieces"]) >= 3
    for speed in (1, 4):
        heard: list[Any] = []
        batch = cnb.kickoff_for_each(crew, TOPICS[:1], show=False, stream=True, answers=lesson, answers_speed=speed)
        batch._driver.taps.append(heard.append)
        call = batch.wait(60)[0].state.all_calls[0]
        assert call.finished - call.started >= kept["seconds"] / speed
        pieces = [event.text for event in heard if type(event).__name__ == "CallChunk" and event.text]
        assert "".join(pieces).strip() == said
        assert len(pieces) >= len(kept["pieces"])
    assert len(server.stats().requests) == 1


def test_a_sweep_is_recorded_by_cell(lesson: Path, server: Server, new_kernel: Callable[[], None]) -> None:
    """Each variant and repeat gets its own answers; a repeat more is a miss."""

    def build(tone: str) -> Any:
        return crews.one(llm(server))

    def sweep(repeats: int) -> cnb.Results:
        return cnb.sweep(
            build, TOPICS[:2], {"tone": ["dry", "warm"]}, repeats=repeats, show=False, answers=lesson, answers_speed=0
        ).wait(120)

    outputs = [r.raw for r in sweep(2)]
    assert len(set(outputs)) == 8
    new_kernel()
    assert [r.raw for r in sweep(2)] == outputs
    assert [r.status for r in sweep(3)] == ["done", "done", "failed"] * 4


def test_the_file_opens_and_is_pruned(lesson: Path, server: Server, new_kernel: Callable[[], None]) -> None:
    """It tells who was asked what; what nothing in this kernel asked goes, and nothing else."""
    _run(crews.one(llm(server)), answers=lesson)
    _answers._opened.clear()
    kept = cnb.answers(lesson)
    assert [row["run"] for row in kept] == ["topic=Mars", "topic=Pluto", "topic=Venus"]
    assert not any(kept.to_frame()["used"])
    with pytest.raises(cnb.RecordError, match="no run in this kernel"):
        kept.prune()
    outputs = _outputs(_run(crews.one(llm(server)), TOPICS[:2], answers=lesson))
    assert kept.prune() == 1
    assert "Pluto" not in lesson.read_text()
    assert "3" not in repr(kept).split(":")[1]
    assert "topic=Mars" in kept._repr_html_()
    new_kernel()
    assert _outputs(_run(crews.one(llm(server)), TOPICS[:2], answers=lesson)) == outputs


def test_answers_may_have_any_line_ends(lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unicode has more of them than JSON escapes; none cuts a line of the file."""
    words = "one\u2028two\u2029three\x85four\x1cfive " * 10
    for answer in (words, words[:30]):
        _answers.opened(lesson).add(
            _answers.Kept(call=answer[:5], run=answer[-9:], asked={"model": "m"}, answer=answer)
        )
    _answers.opened(lesson).flush()
    monkeypatch.setattr(_answers, "_opened", {})
    again = cnb.answers(lesson)
    assert (len(again), again.damaged) == (2, 0)
    assert {again.whole(kept.answer) for kept in again._all()} == {words, words[:30]}


def test_two_recordings_are_the_same_file(lesson: Path, tmp_path: Path) -> None:
    """Lines are in order whatever ran at once, and a text stands there once."""
    for path, at_once in ((lesson, 64), (tmp_path / "other.jsonl", 1)):
        model = cnb.OfflineLLM(latency=0, tokens_per_second=None)
        _run(crews.fork_join(model), [{"topic": f"T{n}"} for n in range(20)], answers=path, max_concurrency=at_once)

    def without_times(path: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in _lines(path)]

    assert without_times(lesson) == without_times(tmp_path / "other.jsonl")
    texts = [line["is"] for line in _lines(lesson) if "text" in line]
    assert len(texts) == len(set(texts))


SCRIPT = """
import sys
import crew_nb as cnb
from tests.support import crews
from tests.support.server import llm

class At:
    base_url = sys.argv[1]

topics = [{"topic": f"{sys.argv[3]}{n}"} for n in range(30)]
crew = crews.chain(llm(At), 3)
cnb.kickoff_for_each(
    crew, topics, show=False, answers=sys.argv[2], answers_missing="ask", max_concurrency=8
).wait().raise_for_errors()
"""
PATIENCE = 400


def _script(server: Server, lesson: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, server.base_url, str(lesson), name], cwd=ROOT)


def _here(server: Server, lesson: Path, name: str) -> cnb.Results:
    _answers._opened.clear()
    topics = [{"topic": f"{name}{n}"} for n in range(30)]
    results = _run(crews.chain(llm(server), 3), topics, answers=lesson, answers_missing="ask")
    results.raise_for_errors()
    return results


@pytest.mark.timeout(600)
def test_a_killed_kernel_keeps_what_was_answered(server: Server, lesson: Path) -> None:
    """Killed, and its last line cut short: what was answered is asked once, save what was in flight."""
    process = _script(server, lesson, "T")
    server.wait_for(lambda stats: len(stats.requests) >= 40, PATIENCE)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    with lesson.open("a") as file:
        file.write('{"call": "cut sho')
    _here(server, lesson, "T")
    requests = len(server.stats().requests)
    assert 90 <= requests <= 90 + 2 * 8
    _here(server, lesson, "T")
    assert len(server.stats().requests) == requests
    assert len([line for line in _lines(lesson) if "call" in line]) == 90


@pytest.mark.timeout(600)
def test_two_kernels_may_record_at_once(server: Server, lesson: Path) -> None:
    """Neither loses what the other one writes."""
    both = [_script(server, lesson, name) for name in ("A", "B")]
    assert [process.wait(PATIENCE) for process in both] == [0, 0]
    assert len(server.stats().requests) == 180
    assert len([line for line in _lines(lesson) if "call" in line]) == 180
    for name in ("A", "B"):
        _here(server, lesson, name)
    assert len(server.stats().requests) == 180


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Before anything starts, with what to write instead."""
    model = ScriptedLLM()
    other = tmp_path / "notes.jsonl"
    other.write_text('{"a": 1}\n')
    with pytest.raises(cnb.RecordError, match="no file of recorded answers"):
        _run(crews.one(model), answers=other)
    with pytest.raises(cnb.RecordError, match="there is no file"):
        cnb.answers(tmp_path / "nothing.jsonl")
    with pytest.raises(cnb.OptionError, match="answers_speed"):
        _run(crews.one(model), answers=tmp_path / "a.jsonl", answers_speed=-1)
    with pytest.raises(cnb.OptionError, match="answers_missing"):
        _run(crews.one(model), answers=tmp_path / "a.jsonl", answers_missing="maybe")
    with pytest.raises(cnb.OptionError, match="answers="):
        cnb.kickoff(crews.one(model), TOPICS[0], show=False, answers_missing="ask")
    with pytest.raises(cnb.OptionError, match="answers="):
        cnb.kickoff(crews.one(model), TOPICS[0], show=False, answers_tools=True)
    assert not model.asked
    assert other.read_text() == '{"a": 1}\n'
