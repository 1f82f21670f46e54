"""The board in Notebook 7: it renders with JupyterLab's parts, from another server and another page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

SETUP = "from tests.support.script import Script, Stage\n"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A Notebook 7."""
    with Lab(tmp_path_factory.mktemp("notebook"), app="notebook") as found:
        yield found


def test_a_batch_is_watched_and_stopped(notebook: Lab, browser: Browser) -> None:
    """The board is live, its Stop reaches the batch, its final state is there, and nothing is asked for elsewhere."""
    play = "stage = Stage(Script(6, width=6, seed=2)); stage.jump(2)\nstage.board"
    notebook.write("stop.ipynb", [SETUP + play, "print(stage.script.commands)"])
    with notebook.open("stop.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        board.locator(".cnb-say:visible").first.wait_for()
        board.get_by_role("button", name="Stop").click()
        board.locator(".cnb-chip", has_text="6 cancelled").wait_for()
        page.run(1)
        page.done(1)
        assert page.output(1).strip() == "[('cancel', {})]"
        # Notebook 7.6 itself raises one of these while it starts, in a notebook without a board too.
        assert [e for e in page.errors if "reading 'schema'" not in e] == []
        assert page.outside == []
