"""A saved notebook in JupyterLab that nobody has run or trusted: it is sanitized there, and still says it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat

from crew_nb._board import markdown as _markdown
from crew_nb._board import static as _static
from tests.support import batches
from tests.support.safety import VECTORS, cards, tainted

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.lab import Lab


def save(lab: Lab, name: str, outputs: list[str]) -> None:
    """A notebook on disk whose outputs JupyterLab has not seen being made."""
    lab.write(name, ["await batch"] * len(outputs))
    path = lab.notebooks / name
    notebook = nbformat.read(path, as_version=4)
    for cell, html in zip(notebook.cells, outputs, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": html, "text/plain": "as text"})]
    nbformat.write(notebook, path)


def test_a_saved_notebook_shows_the_final_board_and_results(lab: Lab, browser: Browser) -> None:
    """Rows, timeline and cards stand there; prices are not typeset as mathematics; nothing is asked for elsewhere."""
    save(
        lab,
        "saved.ipynb",
        [
            _static.board(batches.finished(4)),
            _static.results(cards("costs $5 or $x^2$ more")),
            _markdown.render("- אחת"),
        ],
    )
    with lab.open("saved.ipynb", browser) as page:
        said = " ".join(page.page.inner_text(".jp-Notebook").split())
        assert "research sweep — 3 done 1 failed" in said
        assert "✗ failed" in said
        assert "▇▇▇" in said
        assert "$0.03" in said
        assert "costs $5 or $x^2$ more" in said
        assert page.page.locator("mjx-container").count() == 0
        bullets = page.page.locator("ul[dir=rtl]").evaluate("e => parseFloat(getComputedStyle(e).paddingRight)")
        assert bullets > 20  # there is room for them on their side
        assert (
            page.page.get_by_role("cell", name="topic 0", exact=True).first.evaluate(
                "e => getComputedStyle(e).textAlign"
            )
            == "left"
        )
        assert page.outside == []
        assert page.errors == []


def test_hostile_words_do_nothing_in_lab(lab: Lab, browser: Browser) -> None:
    """All vectors at once, in the board, the results and as Markdown, with every row opened."""
    outputs = [_static.board(tainted(v)) + _static.results(cards(v)) for v in VECTORS[::40]]
    save(lab, "hostile.ipynb", [*outputs, "".join(map(_markdown.render, VECTORS))])
    dialogs: list[str] = []
    with lab.open("hostile.ipynb", browser) as page:
        page.page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
        page.page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")
        page.page.locator(".jp-OutputArea-output").last.scroll_into_view_if_needed()
        page.page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea-output').length > 6")
        assert page.page.locator("mjx-container").count() == 0
        assert page.outside == []
    assert dialogs == []
