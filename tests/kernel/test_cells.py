"""The main job in real kernels: launch in one cell, work on in the next, join in a later one; stop; crash; resume."""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build(topic):
    crew = crews.chain(llm, {length})
    crew.verbose = True
    for agent in crew.agents:
        agent.verbose = True
    return crew
inputs = [{{"topic": f"T{{i}}"}} for i in range({n})]
"""


TELL_WHEN_JOINED = """
import threading, time
def tell_when_joined(batch):
    def look():
        while not batch.joined:
            time.sleep(0.01)
        print("joined", flush=True)
    threading.Thread(target=look).start()
"""


def _setup(server: Server, n: int = 32, length: int = 1) -> str:
    return SETUP.format(url=server.base_url, n=n, length=length)


def test_launch_go_on_and_join(server: Server, kernel: Kernel) -> None:
    """The launching cell ends with 32 requests in flight, the next cell runs meanwhile, a later one joins in order."""
    kernel.run(_setup(server))
    server.configure(hold=True)
    launch = kernel.run("batch = cnb.kickoff_for_each(build, inputs, max_concurrency=32)")
    stats = server.wait_for(lambda stats: stats.in_flight == 32)
    assert stats.peak == 32
    assert kernel.run("sum(run.status == 'running' for run in batch)").result == "32"
    joining = kernel.execute("results = await batch")
    kernel.listen(0.3)
    assert not joining.done
    server.release()
    kernel.join(joining)
    words = kernel.run("[f'topic=T{i}:' in r.raw for i, r in enumerate(results)].count(True)")
    assert words.result == "32"
    assert launch.stdout == launch.stderr == ""
    bundle = launch.displays[0]
    assert {"text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    board = kernel.comm(lambda comm: "_esm" in comm.state)
    assert board.state["frozen"]


def test_a_cell_run_three_times_in_a_row(server: Server, kernel: Kernel) -> None:
    """The same cell again and again, without waiting: each batch has all its results."""
    kernel.run(_setup(server, n=4))
    code = "batches = globals().get('batches', []); batches.append(cnb.kickoff_for_each(build, inputs))"
    for _ in range(3):
        kernel.run(code)
    found = kernel.run("[[r.status for r in await b] for b in batches] == [['done'] * 4] * 3")
    assert found.result == "True"


def test_interrupt_of_a_joining_cell_stops_everything(server: Server, kernel: Kernel) -> None:
    """Interrupt on `await` and on `wait()`: no request comes after it, every row is final, a line says what is kept."""
    kernel.run(_setup(server, n=8, length=4))
    kernel.run(TELL_WHEN_JOINED)
    for join in ("await batch", "batch.wait()"):
        server.reset()
        server.configure(hold=True)
        before = len(kernel.messages)
        cell = kernel.execute(f"batch = cnb.kickoff_for_each(build, inputs)\ntell_when_joined(batch)\n{join}")
        server.wait_for(lambda stats: stats.in_flight == 8)
        kernel.wait(functools.partial(_has_joined, kernel, before))
        kernel.interrupt()
        kernel.join(cell, check=False)
        assert "Stopped. 0 of 8 runs are done and kept in batch.results" in cell.stdout
        server.configure(hold=False)
        server.release()
        assert kernel.run("batch.wait_quietly(60)\n{run.status for run in batch}").result == "{'cancelled'}"
        assert len(server.wait_for(lambda stats: stats.in_flight == 0).requests) == 8
    server.configure(hold=True)
    before = len(kernel.messages)
    cell = kernel.execute("run = cnb.kickoff(build, inputs[0])\ntell_when_joined(run.batch)\nawait run")
    server.wait_for(lambda stats: stats.in_flight == 1)
    kernel.wait(functools.partial(_has_joined, kernel, before))
    kernel.interrupt()
    kernel.join(cell, check=False)
    assert "Stopped. run.retry() runs it again, in the same row." in cell.stdout
    kernel.run("run.batch.wait_quietly(60)")
    assert kernel.run("run.batch.runs[0] is run, run.status").result == "(True, 'cancelled')"
    server.configure(hold=False)
    server.release()


def _has_joined(kernel: Kernel, since: int) -> bool:
    """Whether it was told, in whichever cell: an older ipykernel does not know of which one a thread speaks."""
    return any(m.type == "stream" and "joined" in m.content["text"] for m in kernel.messages[since:])


def test_a_board_that_was_not_shown_is_there_when_asked_for(server: Server, kernel: Kernel) -> None:
    """With `show=False` nothing is drawn and no widget made; `batch.board` shows one, live and at the end."""
    kernel.run(_setup(server, n=2))
    server.configure(hold=True)
    before = len(kernel.comms)
    cell = kernel.run("batch = cnb.kickoff_for_each(build, inputs, show=False)")
    server.wait_for(lambda stats: stats.in_flight == 2)
    assert cell.displays == []
    assert len(kernel.comms) == before
    shown = kernel.run("batch.board").displays
    assert len(shown) == 1
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    server.configure(hold=False)
    server.release()
    kernel.run("await batch")
    assert "2 done" in kernel.run("batch.board").displays[0]["text/html"]


def test_several_launches_of_a_cell_share_one_board(server: Server, kernel: Kernel) -> None:
    """Eight kickoffs are eight rows of one board; a row's Stop and retry reach its run; the next cell has its own."""
    kernel.run(_setup(server, n=8))
    server.configure(hold=True)
    cell = kernel.run("import asyncio\nruns = [cnb.kickoff(build, row) for row in inputs]")
    server.wait_for(lambda stats: stats.in_flight == 8)
    board = kernel.comm(lambda comm: "_esm" in comm.state and "frozen" in comm.state)
    kernel.send_comm(board, {"method": "custom", "content": {"t": "do", "name": "cancel", "run": 5}})
    server.wait_for(lambda stats: stats.in_flight == 7)
    server.configure(hold=False)
    server.release()
    joined = kernel.run("await asyncio.gather(*runs, return_exceptions=True)").result
    assert "run 0 (topic=T5) stopped" in joined
    assert kernel.run("[run.status for run in runs]").result == str(["done"] * 5 + ["cancelled"] + ["done"] * 2)
    kernel.wait(lambda: board.state["frozen"].get("batch", {}).get("counts") == {"done": 7, "cancelled": 1})
    rows = board.state["frozen"]["rows"]
    assert [rows[str(i)]["label"] for i in range(8)] == [f"topic=T{i}" for i in range(8)]
    widgets = [c for c in kernel.comms.values() if "_esm" in c.state and "frozen" in c.state]
    assert len(widgets) == 1
    assert "application/vnd.jupyter.widget-view+json" in cell.displays[0]
    kernel.send_comm(board, {"method": "custom", "content": {"t": "do", "name": "retry", "run": 5}})
    kernel.run("while runs[5].status != 'done': await asyncio.sleep(0.01)")
    assert len(server.stats().requests) == 9
    assert kernel.run("runs[0].batch.board is runs[7].batch.board").result == "True"
    kernel.run("await cnb.kickoff(build, inputs[0])")
    assert len([c for c in kernel.comms.values() if "_esm" in c.state and "frozen" in c.state]) == 2


def test_stop_from_the_board(server: Server, kernel: Kernel) -> None:
    """The message that the board's Stop sends ends the batch while its cell has long returned."""
    kernel.run(_setup(server, n=8, length=4))
    server.configure(hold=True)
    kernel.run("batch = cnb.kickoff_for_each(build, inputs)")
    server.wait_for(lambda stats: stats.in_flight == 8)
    board = kernel.comm(lambda comm: "_esm" in comm.state)
    kernel.send_comm(board, {"method": "custom", "content": {"t": "do", "name": "cancel"}})
    server.wait_for(lambda stats: stats.in_flight == 0)
    assert kernel.run("[r.status for r in await batch] == ['cancelled'] * 8").result == "True"
    assert len(server.stats().requests) == 8


def test_the_messages_of_a_board_do_not_grow_with_the_tokens(server: Server, kernel: Kernel) -> None:
    """32 runs stream 40 tokens each, and many of them go in one message."""
    kernel.run(_setup(server))
    server.configure(tokens=40, tokens_per_second=40)
    kernel.run("batch = cnb.kickoff_for_each(build, inputs)")
    board = kernel.comm(lambda comm: "_esm" in comm.state)
    kernel.send_comm(board, {"method": "custom", "content": {"t": "hello", "view": "v", "tab": "runs"}})
    kernel.run("results = await batch", timeout=120)
    kernel.listen(0.5)
    sent = [m for m in board.messages if m.content.get("data", {}).get("method") == "custom"]
    assert 2 < len(sent) < 32 * 40 / 4


def test_a_notebook_saved_by_nbclient_shows_the_finished_board(server: Server) -> None:
    """Headless, the launching cell waits, and its saved output is static HTML in the final state, with a text.

    What asks a person fails there at once. No widget is made, whose state would be kept with the notebook: not for a
    board that is asked for later either.
    """
    asking = "cnb.kickoff(lambda topic: crews.one(llm, human_input=True), inputs[0], show=True).error"
    cells = [_setup(server, n=3), "batch = cnb.kickoff_for_each(build, inputs)", "print((await batch)[0].raw)", asking]
    cells += ["again = cnb.kickoff_for_each(build, inputs[:2], show=False)", "again.board", "batch.board"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    client = NotebookClient(book, timeout=120, resources={"metadata": {"path": str(ROOT)}})
    client.execute()
    (output,) = book.cells[1].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert "3 done" in output.data["text/plain"]
    assert "topic=T0:" in output.data["text/html"]
    assert "topic=T0:" in book.cells[2].outputs[0].text
    assert "NobodyToAskError" in book.cells[3].outputs[-1].data["text/plain"]
    assert book.cells[4].outputs == []
    for cell, counts in ((book.cells[5], "2 done"), (book.cells[6], "3 done")):
        (output,) = cell.outputs
        assert set(output.data) == {"text/html", "text/plain"}
        assert counts in output.data["text/plain"]
    assert client.widget_state == {}
    assert "widgets" not in book.metadata


def test_what_a_killed_kernel_finished_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    """Kill -9 in the middle, a new kernel, the same cell with `resume=True`: what was finished is not run again."""
    launch = "batch = cnb.kickoff_for_each(build, inputs, resume=True, max_concurrency=4, show=False)\n"
    env = {"CREW_NB_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    server.configure(latency=0.1)
    with Kernel(env=env) as first:
        first.run(_setup(server, n=40))
        cell = first.execute(f"{launch}async for run in batch.as_completed(): print(run.index, flush=True)")
        count = random.randint(1, 20)
        first.wait(lambda: len(cell.stdout.splitlines()) >= count)
        first.kill()
    killed = time.time()
    answered = Counter(r.topic for r in server.stats().requests if r.status == 200 and r.ended and not r.disconnected)
    with Kernel(env=env) as second:
        second.run(_setup(server, n=40))
        second.run(f"{launch}results = await batch", timeout=120)
        found = second.run("[r.status for r in results] == ['done'] * 40, sum(r.state.from_record for r in results)")
    kept = int(found.result.strip("()").split(",")[1])
    assert found.result.startswith("(True")
    assert kept > 0
    asked = Counter(r.topic for r in server.stats().requests if r.arrived > killed)
    assert sum(asked.values()) == 40 - kept
    assert set(asked.values()) <= {1}
    # What was answered but not yet recorded when the kernel died, and only that, was asked for twice.
    assert sum(topic in answered for topic in asked) <= 4


def test_shutting_a_kernel_down_ends_its_requests(server: Server, python: str | Path, tmp_path: Path) -> None:
    """A kernel that is shut down in the middle of a batch closes what is in flight and starts nothing."""
    with Kernel(python, env={"CREW_NB_HOME": str(tmp_path)}) as kernel:
        kernel.run(_setup(server, n=8, length=4))
        server.configure(hold=True)
        kernel.run("batch = cnb.kickoff_for_each(build, inputs)")
        server.wait_for(lambda stats: stats.in_flight == 8)
        kernel.shutdown()
    assert len(server.wait_for(lambda stats: stats.in_flight == 0).requests) == 8


def test_a_thread_of_a_headless_kernel_is_not_held_up(server: Server, tmp_path: Path) -> None:
    """Only the cell itself waits for its batch there; a server's thread launches and goes on."""
    server.configure(hold=True)
    with Kernel(allow_stdin=False, env={"CREW_NB_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}) as kernel:
        kernel.run(_setup(server, n=2))
        kernel.run("import threading\nheld = []")
        kernel.run("t = threading.Thread(target=lambda: held.append(cnb.kickoff_for_each(build, inputs, show=False)))")
        kernel.run("t.start(); t.join()")
        server.wait_for(lambda stats: stats.in_flight == 2)
        assert kernel.run("held[0].status").result == "'running'"
        server.configure(hold=False)
        server.release()
        assert kernel.run("[r.status for r in await held[0]]").result == "['done', 'done']"
