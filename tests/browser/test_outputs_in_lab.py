"""An output in a real JupyterLab: live while a batch runs, static afterwards, and never an empty widget once saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.support.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from tests.support.lab import LabPage
    from tests.support.server import Server

SETUP = """
import crew_nb as cnb
from crew_nb._cells import display as _display
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


HELD = """
from crewai import LLM
import crew_nb as cnb
from crew_nb._cells import display as _display
_display.KEPT_SECONDS = 0.0
from tests.support.crews import one
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build(topic):
    return one(llm)
"""


@pytest.fixture(params=["lab", "notebook"], scope="module")
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, and Notebook 7."""
    with Lab(tmp_path_factory.mktemp(request.param), app=request.param) as found:
        yield found


def saved(page: LabPage) -> None:
    """Save, and wait until it is on disk."""
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")


def reopened(lab: Lab, name: str, browser: Browser) -> list[str]:
    """The outputs of a notebook that is opened after its kernel has gone, as they are read."""
    with lab.open(name, browser) as page:
        page.page.wait_for_selector(".jp-Cell-outputArea .jp-RenderedHTML")
        assert page.page.locator(".jp-Notebook .jupyter-widgets").count() == 0
        count = page.page.locator(".jp-Notebook .jp-Cell").count()
        return [" ".join(page.output(n).split()) for n in range(count)]


def own(page: LabPage) -> list[str]:
    """The page's errors; Notebook 7.6 itself raises one of these while it starts, in a notebook without a board too."""
    return [error for error in page.errors if "reading 'schema'" not in error]


def test_a_saved_output_is_never_a_widget(either: Lab, browser: Browser, server: Server) -> None:
    """Saved while it runs and right after the end, the file has static HTML, the page stays live; no error later."""
    server.configure(topics={"topic=Venus": {"hold": True}})
    cells = [HELD.format(url=server.base_url), LAUNCH, "form = cnb.launcher(build, [{'topic': 'Mars'}])"]
    either.write("saved.ipynb", cells)
    with either.open("saved.ipynb", browser) as page:
        for n in range(3):
            page.run(n)
            page.done(n)
        page.cell(1).locator(".cnb-chip", has_text="1 running").wait_for()
        page.cell(2).locator(".cnb-launch tbody tr").wait_for()
        saved(page)
        assert all(WIDGET not in found and "text/html" in found for found in kinds(either, "saved.ipynb"))
        # The page has what it had, and a cell that is moved takes its live output along.
        page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:move-cell-up')")
        live(page, 2)
        page.page.locator(".cnb-launch tbody tr").wait_for()
        assert "1 running" in page.output(2)
        # A page that is loaded again, from a file without a widget, has the live board and form again.
        saved(page)
        page.load()
        live(page, 2)
        page.cell(1).locator(".cnb-launch tbody tr").wait_for()
        assert not page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty")
        assert own(page) == []
    under_way = reopened(either, "saved.ipynb", browser)
    assert "planets — 2 runs: 1 done, 1 running; under way when this was saved." in under_way[2]
    assert "1 input. Run this cell to have the form." in under_way[1]
    server.release()

    either.write("ended.ipynb", cells)
    server.configure(topics={})
    with either.open("ended.ipynb", browser) as page:
        for n in range(3):
            page.run(n)
            page.done(n)
        form = page.cell(2).locator(".cnb-launch")
        form.get_by_role("button", name="Run", exact=True).click()
        page.cell(1).locator(".cnb-chip", has_text="2 done").wait_for()
        form.get_by_text("Finished: 1 result").wait_for()
        # What the kernel says of the end reaches the page in its own time.
        page.page.wait_for_function(
            """async () => {
                 await window.jupyterapp.shell.currentWidget.context.save();
                 const { content } = await (await fetch('/api/contents/ended.ipynb')).json();
                 return content.cells.slice(1).every(c => /[12] done/.test(c.outputs[0].data['text/plain'])); }"""
        )
        assert page.page.locator(".cnb-tabs").count() == 2
        assert own(page) == []
    assert all(WIDGET not in found for found in kinds(either, "ended.ipynb"))
    ended = reopened(either, "ended.ipynb", browser)
    assert "2 done" in ended[1]
    assert "✓ done" in ended[1]
    assert "1 done" in ended[2]


def test_a_notebook_that_is_saved_after_its_kernel_ended_has_no_widget(
    lab: Lab, browser: Browser, server: Server
) -> None:
    """The page goes on for a while without its kernel, and is saved."""
    server.configure(topics={"topic=Venus": {"hold": True}})
    lab.write("ended.ipynb", [HELD.format(url=server.base_url), LAUNCH])
    with lab.open("ended.ipynb", browser) as page:
        page.run(0)
        page.run(1)
        live(page, 1)
        lab.end_kernels()
        page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel")
        saved(page)
    assert all(WIDGET not in found for found in kinds(lab, "ended.ipynb"))
    server.release()
    said = reopened(lab, "ended.ipynb", browser)[1]
    assert "planets" in said
    # As far as the kernel came in ending.
    assert any(words in said for words in ("under way when this was saved", "1 cancelled", "2 cancelled"))
