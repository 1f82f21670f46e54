"""What is kept of a batch, loaded and saved again, says the same as the batch did."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._record import record as _record
from crew_nb._record.record import Record
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path

    from crewai import Crew


def _topics(*topics: str) -> list[dict[str, Any]]:
    return [{"topic": topic} for topic in topics]


def _labels(name: str) -> list[str]:
    """The labels as another kernel reads them."""
    _record.get().flush()
    other = Record(_record.default_path())
    try:
        return [run.label for run in other.load(name).state.runs]
    finally:
        other.close()


def _told(results: cnb.Results) -> list[tuple[type, str, int, str]]:
    return [(type(error), str(error), error.index, error.label) for error in results.errors]


# -- the labels of a batch -------------------------------------------------------------------------------------


def test_another_kernel_reads_which_inputs_a_batch_of_a_factory_has(server: Server) -> None:
    """While it runs, and so after a crash: only until the factory's first crew is known are they left out."""
    server.configure(topics={"topic=B": {"hold": True}})
    shared = llm(server)
    batch = cnb.kickoff_for_each(lambda topic: crews.one(shared), _topics("A", "B"), name="sweep", show=False)
    batch[0].wait(60)
    assert _labels("sweep") == ["topic=A", "topic=B"]
    server.configure(topics={})
    server.release()
    batch.wait(60)


def test_what_becomes_known_as_a_secret_is_taken_out_of_the_labels_that_are_kept(server: Server) -> None:
    """A crew tells its keys late: what was stored before is stored again without them."""
    server.configure(hold=True)
    secret = "late-secret-of-a-label-31"
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _topics(secret, "B"), name="late", show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    assert _labels("late")[0] == f"topic={secret}"
    batch._driver.hiding.secrets.learn([secret])
    server.configure(hold=False)
    server.release()
    batch.wait(60)
    assert _labels("late") == ["topic=***", "topic=B"]


# -- a part of the results -------------------------------------------------------------------------------------


def test_a_part_of_the_results_tells_of_its_runs_only(server: Server, tmp_path: Path) -> None:
    """Its line, its board, its events and its tables; each run keeps its number."""
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _topics("A", "B", "C", "D"), show=False)
    part = batch.wait(60)[2:0:-1]
    assert [(r.index, r.inputs) for r in part] == [(2, {"topic": "C"}), (1, {"topic": "B"})]
    assert "2 done" in repr(part)
    assert {event.run for event in part.events} == {1, 2}
    assert set(part.to_frame("events")["run"]) == {1, 2}
    assert list(part.to_frame()["run"]) == [2, 1]
    assert part.usage.successful_requests == 2
    page = part.to_html()
    assert "topic=B" in page
    assert "topic=A" not in page
    assert "topic=C" in part.compare(0, 1).text
    assert [r.index for r in part[1:]] == [1]
    nothing = part[:0]
    assert (len(nothing), nothing.events) == (0, ())
    assert "0 done" in repr(nothing)
    assert "topic=" not in nothing.to_html()


@pytest.mark.parametrize("part", [slice(1, 3), slice(None, None, -1), slice(0, 0)], ids=str)
def test_a_part_of_the_results_is_saved_as_it_is(server: Server, tmp_path: Path, part: slice) -> None:
    """Inputs, outputs, events and numbers belong together when it is loaded, and when that is saved again."""
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _topics("A", "B", "C"), name="sweep", show=False)
    chosen = batch.wait(60)[part]
    for place in (tmp_path / "once", tmp_path / "twice"):
        chosen = cnb.load(chosen.save(place))
        assert [(r.index, r.inputs, f"topic={r.inputs['topic']}:" in r.raw) for r in chosen if r.inputs] == [
            (index, {"topic": "ABC"[index]}, True) for index in range(3)[part]
        ]
        assert repr(chosen).startswith(f"sweep: {len(range(3)[part])} done")
        assert {event.run for event in chosen.events} == set(range(3)[part])


def test_a_part_that_was_cut_short_says_which_runs_are_missing(server: Server, tmp_path: Path) -> None:
    """By the numbers that they had in the batch, none of them twice."""
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _topics("A", "B", "C"), show=False)
    file = batch.wait(60)[1:].save(tmp_path / "part")
    file.write_bytes(b"\n".join(file.read_bytes().split(b"\n")[:2]))
    with pytest.warns(UserWarning, match="1 of 2 runs"):
        loaded = cnb.load(file)
    assert [(r.index, r.status) for r in loaded] == [(1, "done"), (2, "cancelled")]
    assert "1 done" in repr(loaded)
    assert loaded.errors[0].index == 2


# -- errors ----------------------------------------------------------------------------------------------------


def test_loaded_errors_are_those_that_the_batch_had(server: Server, tmp_path: Path) -> None:
    """Stopped, timed out, over its budget, refused: the same class and words, once, from the record and from a file."""
    server.configure(hold=True)
    shared = llm(server)

    def refuse(topic: str) -> Crew:
        raise ValueError(f"no {topic}")

    def out_of_budget(topic: str) -> Crew:
        raise cnb.BudgetExceededError("max_cost=1 reached")

    stopped = cnb.kickoff_for_each(crews.one(shared), _topics("A"), name="stopped", show=False)
    stopped.cancel()
    late = cnb.kickoff_for_each(crews.one(shared), _topics("A"), name="late", timeout=0.2, show=False)
    spent = cnb.kickoff_for_each(out_of_budget, _topics("A"), name="spent", show=False)
    refused = cnb.kickoff_for_each(refuse, _topics("A"), name="refused", show=False)
    for batch, kind, words in (
        (stopped, cnb.RunCancelledError, "run 0 (topic=A) stopped"),
        (late, cnb.RunTimeoutError, "run 0 (topic=A) timed out after 0.2 s"),
        (spent, cnb.RunCancelledError, "run 0 (topic=A) cancelled: BudgetExceededError: max_cost=1 reached"),
        (refused, cnb.RunFailedError, "run 0 (topic=A) failed: ValueError: no A"),
    ):
        results = batch.wait(60)
        assert _told(results) == [(kind, words, 0, "topic=A")]
        for loaded in (cnb.load(batch.name), cnb.load(results.save(tmp_path / batch.name))):
            assert _told(loaded) == _told(results)
            with pytest.raises(kind) as caught:
                _ = loaded[0].raw
            assert str(caught.value) == words
            # Of ours the class is known, of others the words.
            ours = results[0].error if batch is not refused else results.errors[0]
            assert (type(loaded[0].error), str(loaded[0].error)) == (type(ours), str(ours))


def test_an_error_of_a_batch_inside_a_run_is_told_as_that_of_the_run(server: Server) -> None:
    """The run that started it is named, with the inner error as its cause; also when it is loaded."""

    def broken(topic: str) -> Crew:
        raise KeyError(topic)

    def build(topic: str) -> Crew:
        if topic == "OUTER":
            cnb.kickoff(broken, {"topic": "INNER"}, show=False).wait(60)
        return crews.one(llm(server))

    results = cnb.kickoff_for_each(build, _topics("A", "OUTER"), name="nest", max_retries=0, show=False).wait(60)
    (error,) = results.errors
    assert (error.index, error.label) == (1, "topic=OUTER")
    assert "run 1 (topic=OUTER) failed: RunFailedError: run 0 (topic=INNER) failed: KeyError: 'INNER'" in str(error)
    assert error.__cause__ is results[1].error
    assert isinstance(error.__cause__, cnb.RunFailedError)
    assert (error.__cause__.index, error.__cause__.label) == (0, "topic=INNER")
    assert _told(cnb.load("nest")) == _told(results)


# -- outputs that cannot be read -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ['{"raw": "another shape"}', "", '"text"'], ids=["shape", "damaged", "text"])
def test_an_output_that_cannot_be_read_costs_no_other_run(server: Server, content: str) -> None:
    """The batch is loaded; reading that one says that it cannot be read, and where its text is."""
    results = cnb.kickoff_for_each(crews.one(llm(server)), _topics("A", "B"), name="sweep", show=False).wait(60)
    _record.get().close()
    with closing(sqlite3.connect(_record.default_path())) as db:
        db.execute("UPDATE run SET output = ? WHERE place = 0", [content])
        db.commit()
    loaded = cnb.load("sweep")
    assert loaded[1].raw == results[1].raw
    with pytest.raises(cnb.CrewNbError, match=r"the output of run 0 \(topic=A\) cannot be read \(.*state\.output"):
        _ = loaded[0].raw
    assert loaded[0].state.output == results[0].raw
    assert "topic=A:" in loaded._repr_html_()
