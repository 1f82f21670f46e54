"""A process that is forked while a batch runs."""

from __future__ import annotations

import os
import signal

import pytest

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_batches_of_its_own(server: Server) -> None:
    """All places are taken by the parent's calls, and the record's writer is the parent's: the child has its own."""
    cnb.kickoff(crews.one(llm(server)), {"topic": "warm"}, show=False).wait(60)
    server.configure(topics={"topic=P": {"hold": True}})
    parent = cnb.kickoff_for_each(
        crews.one(llm(server)), [{"topic": f"P{i}"} for i in range(4)], max_concurrency=4, show=False
    )
    server.wait_for(lambda stats: stats.in_flight == 4)
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # whatever happens, it ends
        try:
            batch = cnb.kickoff_for_each(crews.one(llm(server)), [{"topic": "C"}], max_concurrency=4, show=False)
            os._exit(0 if batch.wait(60)[0].status == "done" else 1)
        except BaseException:
            os._exit(2)
    _, code = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(code) == 0
    server.release()
    assert {r.status for r in parent.wait(60)} == {"done"}
