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


def test_keys_that_are_pressed_in_the_board_are_not_the_notebook_s(notebook: Lab, browser: Browser) -> None:
    """Notebook 7 deletes a cell at `d d`: not while the focus is in the board or the launcher."""
    play = "stage = Stage(Script(6, width=6, seed=2)); stage.jump(2)\nstage.board"
    form = "import crew_nb as cnb\ndef build(topic: str): ...\ncnb.launcher(build)"
    notebook.write("keys.ipynb", ["1", "2", SETUP + play, form])
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    with notebook.open("keys.ipynb", browser) as page:
        for cell in (2, 3):
            page.run(cell)
            page.done(cell)
        cells = page.page.evaluate(count)
        keys = page.page.keyboard
        board = page.page.locator(".cnb-board")
        board.locator('.cnb-row[data-run="0"]').focus()
        for key in ("d", "d", "ArrowDown", "Enter", "a", "b", "x"):
            keys.press(key)
        board.locator('[data-item="1"] .cnb-taskcard').first.wait_for()
        assert page.page.evaluate("() => document.activeElement.dataset.run") == "1"
        page.page.locator(".cnb-launch").get_by_role("button", name="Paste").focus()
        for key in ("d", "d", "a"):
            keys.press(key)
        assert page.page.evaluate(count) == cells
        # The keys are the notebook's elsewhere.
        page.page.evaluate(
            """() => { const nb = window.jupyterapp.shell.currentWidget.content;
                      nb.activeCellIndex = 0; nb.node.focus(); nb.mode = 'command' }"""
        )
        keys.press("d")
        keys.press("d")
        page.page.wait_for_function(f"n => ({count})() === n - 1", arg=cells)


def test_the_editor_s_keys_are_the_editor_s_in_the_board_and_in_the_form(notebook: Lab, browser: Browser) -> None:
    """Ctrl+S saves wherever the focus is, a field is still edited by its own keys, and Escape leads to the cell."""
    play = "stage = Stage(Script(6, width=6, seed=2)); stage.jump(2)\nstage.board"
    form = "import crew_nb as cnb\ndef build(topic: str): ...\ncnb.launcher(build)"
    notebook.write("save.ipynb", [SETUP + play, form])
    count = "() => window.jupyterapp.shell.currentWidget.context.model.cells.length"
    saves = "(_, { id }) => { if (id === 'docmanager:save') window.saves += 1 }"
    with notebook.open("save.ipynb", browser) as page:
        for cell in (0, 1):
            page.run(cell)
            page.done(cell)
        keys = page.page.keyboard
        board, form_of = page.page.locator(".cnb-board"), page.page.locator(".cnb-launch")
        places = [
            board.locator('.cnb-row[data-run="0"]'),
            board.locator(".cnb-filter"),
            form_of.get_by_role("button", name="Paste"),
            form_of.get_by_label("topic, row 0"),
        ]
        page.page.evaluate(f"() => {{ window.saves = 0; window.jupyterapp.commands.commandExecuted.connect({saves}) }}")
        for saved, place in enumerate(places, 1):
            place.focus()
            keys.press("Control+s")
            page.page.wait_for_function("n => window.saves === n", arg=saved)
        keys.type("words")
        keys.press("Control+a")
        keys.press("Delete")
        assert places[-1].input_value() == ""
        keys.press("Escape")
        page.page.wait_for_function("() => document.activeElement.matches('.jp-Cell')")
        keys.press("b")  # which adds a cell
        page.page.wait_for_function(f"() => ({count})() === 3")


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
