"""What was given is what is run, and what is known of it; what cannot be seen is run again, and the row says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from crewai import Crew


def test_a_run_whose_content_cannot_be_seen_is_run_and_its_row_says_why(server: Server) -> None:
    """The record has the run, but whether it is the same one nobody can tell."""
    shared = llm(server)
    words = (word for word in ("never", "read"))

    def build(topic: str) -> Crew:
        assert words
        return crews.one(shared)

    for _ in range(2):
        batch = cnb.kickoff_for_each(build, [{"topic": "A"}], name="blind", resume=True, show=False)
        batch.wait(60)
        told = [line.text for line in batch[0].state.log if "record" in line.text]
        assert told == ["run, not taken from the record: words (generator) cannot be looked into, and may have changed"]
        assert any("words (generator)" in note for note in batch.state().notes)
    assert server.stats().by_topic == {"A": 2}


def test_of_a_run_whose_content_is_seen_nothing_is_said(server: Server) -> None:
    """It comes from the record, or it is run as it was not there."""
    shared = llm(server)
    told: list[Any] = []
    for _ in range(2):
        batch = cnb.kickoff_for_each(crews.one(shared), [{"topic": "A"}], name="seen", resume=True, show=False)
        batch.wait(60)
        said = [line.text for line in batch[0].state.log if "record" in line.text]
        told.append((batch[0].state.from_record, said, batch.state().notes))
    assert told == [(False, [], ()), (True, [], ())]
