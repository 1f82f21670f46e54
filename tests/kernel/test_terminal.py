"""Outside a kernel: an IPython prompt, a script in a terminal, and a script whose output is a log."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect

from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LAUNCH = """
import crew_nb as cnb
from tests.support import crews
llm = cnb.OfflineLLM(latency=0.1, tokens_per_second=None)
batch = cnb.kickoff_for_each(crews.one(llm), [{"topic": t} for t in ("A", "B", "C")], name="sweep")
"""


def test_an_ipython_prompt_is_left_alone_until_the_join() -> None:
    """Nothing is drawn while one types; `await batch` draws the board and gives the results."""
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 120),
    )
    shell.expect(r"In \[1\]: ")
    for number, line in enumerate(LAUNCH.strip().splitlines(), 2):
        shell.sendline(line)
        shell.expect(rf"In \[{number}\]: ")
    assert "queued" not in shell.before
    shell.sendline("[r.status for r in await batch]")
    shell.expect(r"\['done', 'done', 'done'\]")
    assert "sweep" in shell.before
    shell.expect(r"In \[\d+\]: ")
    shell.sendline("batch.wait()[0].raw[:4], cnb.environment().place.kind")
    shell.expect("'terminal'")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)


def test_a_log_gets_few_plain_lines(tmp_path: Path) -> None:
    """A script whose output is no terminal: no escape codes, a line now and then, the end for sure."""
    script = tmp_path / "script.py"
    script.write_text(f"{LAUNCH}results = batch.wait()\nprint(len(results.outputs), 'joined')\n")
    ended = subprocess.run(
        [sys.executable, script], cwd=ROOT, env=_env(), capture_output=True, text=True, timeout=60, check=True
    )
    lines = (ended.stdout + ended.stderr).splitlines()
    assert "\x1b" not in ended.stdout + ended.stderr
    assert lines[-1] == "3 joined"
    assert any("sweep: 3 done" in line for line in lines)
    assert len(lines) < 12


def _env() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
