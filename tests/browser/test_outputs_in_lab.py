"""An output in a real JupyterLab: live while a batch runs, static afterwards, and never an empty widget once saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.lab import Lab, LabPage

SETUP = """
import crew_nb as cnb
from crew_nb import _display
from tests.support.crews import one
_display.LINGER_SECONDS = 1.0
llm = cnb.OfflineLLM(latency=PACE, tokens_per_second=200, errors={"topic=Mars": [401]})
def build(topic):
    return one(llm)
"""
LAUNCH = "batch = cnb.kickoff_for_each(build, [{'topic': 'Mars'}, {'topic': 'Venus'}], name='planets')"
WIDGET = "application/vnd.jupyter.widget-view+json"


def static(page: LabPage, cell: int) -> str:
    """Wait until the output of a cell is static, and give its text."""
    page.page.wait_for_function(
        "n => { const o = document.querySelectorAll('.jp-Notebook .jp-Cell')[n].querySelector('.jp-RenderedHTML');"
        " return o && o.querySelector('table') && !o.closest('.jp-Cell').querySelector('.cnb-tabs') }",
        arg=cell,
        timeout=60_000,
    )
    return page.output(cell)


def live(page: LabPage, cell: int) -> None:
    """Wait until the output of a cell is a live board."""
    page.cell(cell).locator(".cnb-tabs").wait_for(timeout=60_000)


def kinds(lab: Lab, name: str) -> list[set[str]]:
    """The MIME types of all outputs on disk."""
    notebook = nbformat.read(lab.notebooks / name, as_version=4)
    return [set(o.data) for cell in notebook.cells for o in cell.outputs if "data" in o]


def test_an_output_is_live_then_static_and_live_again_on_a_retry(lab: Lab, browser: Browser) -> None:
    """Static after the end, live while it is retried, live in another cell, and static in what is saved and opened."""
    cells = [SETUP.replace("PACE", "0.3"), LAUNCH, "batch.retry(); await batch; print(batch)", "batch.board"]
    lab.write("outputs.ipynb", cells)
    with lab.open("outputs.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        page.run(1)
        live(page, 1)
        said = static(page, 1)
        assert "1 done 1 failed" in " ".join(said.split())
        assert "batch.board in a cell shows the live board again" in said
        page.run(2)
        live(page, 1)
        assert "2 done" in static(page, 1)
        page.run(3)
        live(page, 3)
        assert "2 done" in static(page, 3)
        page.save()
        assert page.errors == []
        assert page.outside == []
    assert [WIDGET in found for found in kinds(lab, "outputs.ipynb")] == [False, False]
    with lab.open("outputs.ipynb", browser) as page:
        for cell in (1, 3):
            assert "2 done" in static(page, cell)
        assert "Loading widget" not in page.page.inner_text(".jp-Notebook")


def test_a_page_that_was_loaded_again_has_a_static_output_too(lab: Lab, browser: Browser) -> None:
    """The kernel's update of the output is lost on a reload; the board itself then puts the static one in its place."""
    lab.write("reload.ipynb", [SETUP.replace("PACE", "4.0"), LAUNCH, "batch.board", "batch.retry(); batch.wait()"])
    with lab.open("reload.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        page.run(1)
        live(page, 1)
        page.save()
        page.load()
        live(page, 1)
        assert "1 done 1 failed" in " ".join(static(page, 1).split())
        page.run(2)
        live(page, 2)
        page.run(3)
        page.cell(2).locator(".cnb-chip", has_text="2 done").wait_for(timeout=60_000)
        assert "2 done" in static(page, 2)
        page.save()
        assert page.errors == []
    assert [WIDGET in found for found in kinds(lab, "reload.ipynb")[:2]] == [False, False]
    assert "planets" in json.dumps(nbformat.read(lab.notebooks / "reload.ipynb", as_version=4))
