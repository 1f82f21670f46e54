"""What VS Code's file and page are told: it draws no widget twice, and knows none after its window was loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = """
import crew_nb as cnb
from tests.support.crews import one
def build(topic):
    return one(cnb.OfflineLLM(latency=0.0, tokens_per_second=None))
"""


@pytest.fixture(params=["vscode", "jupyterlab"])
def page(request: pytest.FixtureRequest) -> Iterator[tuple[str, Kernel]]:
    """A kernel whose cells come from that front end."""
    env = {"VSCODE_PID": "1"} if request.param == "vscode" else {"JPY_SESSION_NAME": "a.ipynb"}
    with Kernel(env={"PYTHONPATH": str(ROOT), **env}) as kernel:
        kernel.run(SETUP, timeout=120)
        assert request.param in kernel.run("print(cnb.environment())").stdout
        yield request.param, kernel


def test_a_file_that_is_saved_has_the_final_words(page: tuple[str, Kernel]) -> None:
    """At the end, the same widget's output says in VS Code what JupyterLab's file is told another way."""
    name, kernel = page
    cell = kernel.run("batch = cnb.kickoff_for_each(build, [{'topic': 'one'}, {'topic': 'two'}])", timeout=120)
    kernel.run("await batch", timeout=120)
    if name == "jupyterlab":
        kernel.run("1")
        assert [WIDGET in data for data in cell.displays] == [True]
        return
    kernel.wait(lambda: len(cell.displays) > 1, timeout=120)
    first, last = cell.displays[0], cell.displays[-1]
    assert last[WIDGET] == first[WIDGET]
    assert "2 done" in last["text/plain"]
    assert "2 done" not in first["text/plain"]


def test_a_board_that_is_shown_again_is_one_that_the_page_can_know(page: tuple[str, Kernel]) -> None:
    """`batch.board` in another cell has a widget of its own in VS Code, and both tell of the same runs."""
    name, kernel = page
    first = kernel.run("batch = cnb.kickoff_for_each(build, [{'topic': 'one'}])", timeout=120)
    again = kernel.run("batch.board")
    models = {data[WIDGET]["model_id"] for data in (first.displays[0], again.displays[0])}
    assert len(models) == (2 if name == "vscode" else 1)
    kernel.run("await batch", timeout=120)
    for model in models:
        kernel.send_comm(model, {"method": "custom", "content": {"t": "hello", "view": "v", "row": [0]}})
        board = kernel.comms[model]
        kernel.wait(
            lambda board=board: any(c.get("rows", {}).get("0", {}).get("status") == "done" for c in board.custom)
        )
