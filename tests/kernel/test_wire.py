"""What two boards of one kernel put on the wire while 1,000 real runs stream, 64 at once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from tests.support.kernel import Comm, Message

SETUP = """
import crew_nb as cnb
from tests.support.crews import one
def build(topic):
    return one(cnb.OfflineLLM(seed=1, latency=(0.0, 0.4), tokens_per_second=90))
inputs = [{"topic": f"T{i}"} for i in range(500)]
await cnb.kickoff(build, {"topic": "first"}, show=False)
"""
SAYS = {"view": "v", "row": list(range(40)), "detail": [3], "log": 250}
ROOM = 60_000 + 2_000
"""Bytes of a message: what `_board.ROOM` says, and its envelope."""


def ticks(comm: Comm) -> list[Message]:
    return [m for m in comm.messages if m.content.get("data", {}).get("method") == "custom"]


def say(kernel: Kernel, comm: Comm, t: str, **more: Any) -> None:
    kernel.send_comm(comm, {"method": "custom", "content": {"t": t, **SAYS, **more}})


def known(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """What a browser has put together from the messages."""
    found: dict[str, dict[str, Any]] = {"rows": {}, "cards": {}, "lanes": {}, "details": {}, "batch": {}}
    lines: dict[str, Any] = {}
    for message in messages:
        content = message.content["data"]["content"]
        if content["full"]:
            found = {kind: {} for kind in found}
            lines = {}
        for kind, values in found.items():
            values.update(content.get(kind, {}))
        lines |= {json.dumps(line): line for line in content.get("lines", [])}
    return {**found, "lines": lines}


def test_a_thousand_runs_on_two_boards() -> None:
    """Few bounded messages, far fewer than tokens, and the final state right in every view."""
    with Kernel(env={"PYTHONPATH": str(ROOT)}) as kernel:
        kernel.run(SETUP, timeout=120)
        kernel.run("batches = [cnb.kickoff_for_each(build, inputs, max_concurrency=32)]")
        kernel.run("batches.append(cnb.kickoff_for_each(build, inputs, max_concurrency=32))")
        boards = [c for c in kernel.comms.values() if "frozen" in c.state]
        assert len(boards) == 2
        for board in boards:
            say(kernel, board, "hello")
        kernel.run("results = [await batch for batch in batches]", timeout=150)
        for board in boards:
            kernel.wait(lambda board=board: known(ticks(board))["batch"].get("counts") == {"done": 500})
        kernel.listen(1.5)
        for board in boards:
            rows = known(ticks(board))["rows"].values()
            assert Counter(row["status"] for row in rows) == {"done": 500}
        # Each view in turn: what is looked at now is all there, and as the results say.
        raw = json.loads(kernel.run("import json; print(json.dumps([r.raw for r in results[0]]))").stdout)
        say(kernel, boards[0], "look", card=list(range(40)), lane=list(range(40)))
        kernel.wait(lambda: len(known(ticks(boards[0]))["lanes"]) == 40)
        kernel.listen(1.0)
        view = known(ticks(boards[0]))
        assert [view["cards"][str(i)]["text"] for i in range(40)] == raw[:40]
        assert {span["kind"] for i in range(40) for span in view["lanes"][str(i)]["spans"]} >= {"llm"}
        assert view["details"]["3"]["status"] == "done"
        assert sum(line["text"] == "done" for line in view["lines"].values()) > 50

        sent = sorted((m for board in boards for m in ticks(board)), key=lambda m: m.at)
        sizes = [len(json.dumps(m.content).encode()) for m in sent]
        took = sent[-1].at - sent[0].at
        print(f"\n{len(sent)} messages in {took:.0f} s, {max(sizes):,} bytes at most")
        assert len(sent) < 1000, "less than one for each run, of some 30 tokens"
        assert max(sizes) <= ROOM
