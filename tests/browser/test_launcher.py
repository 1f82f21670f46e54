"""The launcher in a real JupyterLab in a real Chromium; the LLM server says what was asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nbformat

from tests.support.lab import Lab, serious

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

    from tests.support.lab import LabPage
    from tests.support.server import Server

SETUP = """
from typing import Literal
from crewai import LLM
import crew_nb as cnb
from crew_nb._cells import launcher as _launcher
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build_small_crew(topic, tone: Literal["plain", "formal"] = "plain", words: int = 100, loud: bool = False):
    return crews.one(llm)
"""
REPORT = """
results = await form.batch
print([(r.inputs["topic"], r.status, bool(r.raw)) for r in results])
"""


def form_of(page: LabPage) -> Locator:
    """The form, once it is drawn."""
    form = page.page.locator(".cnb-launch")
    form.locator("tbody tr").first.wait_for()
    return form


def says(form: Locator, words: str) -> None:
    """Wait until the form's line about its batch says so."""
    form.locator(".cnb-runs").filter(has_text=words).wait_for()


def statuses(page: LabPage) -> list[str]:
    """The status words on the board, which stands after the form."""
    return [text[1:] for text in page.board(1).locator(".cnb-item .cnb-status").all_inner_texts()]


def test_three_inputs_are_run_watched_stopped_retried_and_read(
    lab: Lab, browser: Browser, server: Server, tmp_path: Path
) -> None:
    """From an empty form to joined results; the cell is run again and has kept everything; light, dark, accessible."""
    lab.write("launch.ipynb", [SETUP.format(url=server.base_url), "form = cnb.launcher(build_small_crew)", REPORT])
    server.configure(topics={"topic=Mars": {"hold": True}})
    with lab.open("launch.ipynb", browser, height=1400) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form = form_of(page)
        for place, topic in enumerate(("AI", "Mars", "Robots")):
            if place:
                form.get_by_role("button", name="Add a row").click()
            form.get_by_label(f"topic, row {place}").fill(topic)
        form.get_by_label("words, row 1").fill("many")
        form.get_by_role("button", name="Run", exact=True).click()
        form.get_by_role("alert").filter(has_text="1 row cannot be used").wait_for()
        cell = form.get_by_label("words, row 1")
        assert cell.get_attribute("aria-invalid") == "true"
        assert page.page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "words, row 1"
        assert serious(page.page, ".cnb-launch") == []
        assert server.stats().requests == []
        cell.fill("200")
        assert cell.get_attribute("aria-invalid") is None
        form.get_by_role("button", name="Run", exact=True).click()
        says(form, "Running: 2 of 3 done, 1 to go")
        page.save()
        page.load()
        form = form_of(page)
        says(form, "Running: 2 of 3 done, 1 to go")
        assert form.get_by_label("words, row 1").input_value() == "200"
        assert statuses(page) == ["done", "running", "done"]
        form.get_by_role("button", name="Stop").click()
        says(form, "Ended: 2 done, 1 without a result")
        assert statuses(page) == ["done", "cancelled", "done"]
        server.configure(topics={})
        form.get_by_role("button", name="Retry stopped (1)").click()
        says(form, "Finished: 3 results")
        assert server.stats().by_topic == {"AI": 1, "Mars": 2, "Robots": 1}
        page.board(1).get_by_role("tab", name="Results").click()
        cards = page.board(1).locator(".cnb-card")
        cards.nth(2).wait_for()
        assert cards.nth(0).locator("header bdi").inner_text() == "AI"
        assert cards.nth(2).locator("header bdi").inner_text() == "Robots"
        page.run(2)
        page.done(2)
        assert "[('AI', 'done', True), ('Mars', 'done', True), ('Robots', 'done', True)]" in page.output(2)
        page.shot(tmp_path / "light.png")
        page.theme("JupyterLab Dark")
        page.page.locator('.cnb-launch[data-theme="dark"]').wait_for()
        assert serious(page.page, ".cnb-launch") == []
        page.shot(tmp_path / "dark.png")
        page.theme("JupyterLab Light")
        page.run(1)
        page.page.wait_for_function(
            r"() => /\[4\]/.test(document.querySelectorAll('.jp-Cell .jp-InputPrompt')[1].textContent)"
        )
        form = form_of(page)
        assert [form.get_by_label(f"topic, row {n}").input_value() for n in range(3)] == ["AI", "Mars", "Robots"]
        assert form.get_by_label("words, row 1").input_value() == "200"
        assert statuses(page) == ["done", "done", "done"]
        assert page.errors == []
        assert page.outside == []


def test_the_board_comes_into_view_after_run(lab: Lab, browser: Browser, server: Server) -> None:
    """In a window that has room for the form alone."""
    cell = "form = cnb.launcher(build_small_crew, inputs={'topic': list('abcdefghijkl'), 'tone': ['plain', 'formal']})"
    lab.write("view.ipynb", [SETUP.format(url=server.base_url), cell])
    server.configure(hold=True)
    with lab.open("view.ipynb", browser, height=620) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form_of(page).get_by_role("button", name="Run", exact=True).click()
        page.page.wait_for_function(
            """() => { const row = document.querySelector(".cnb-board .cnb-item");
                return row && row.getBoundingClientRect().bottom < innerHeight - 20 }"""
        )
        server.configure(hold=False)
        says(page.page.locator(".cnb-launch"), "Finished: 24 results")


def test_everything_is_done_with_the_keyboard_alone(lab: Lab, browser: Browser, server: Server) -> None:
    """Three inputs, Run, Stop and Retry without a pointer; no key reaches the notebook and its cells."""
    lab.write("keys.ipynb", [SETUP.format(url=server.base_url), "form = cnb.launcher(build_small_crew)", "1 + 1"])
    server.configure(topics={"topic=b": {"hold": True}})
    with lab.open("keys.ipynb", browser, height=1400) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form_of(page)
        keys = page.page.keyboard

        def label() -> str:
            return str(
                page.page.evaluate(
                    "() => { const e = document.activeElement; return e.closest('.cnb-launch')"
                    " ? (e.getAttribute('aria-label') ?? e.textContent) : '' }"
                )
            )

        def tab_to(wanted: str, key: str = "Tab") -> None:
            seen = []
            for _ in range(60):
                if label().startswith(wanted):
                    return
                keys.press(key)
                seen.append(label())
            raise AssertionError(f"{wanted!r} was not reached: {seen}")

        keys.press("Escape")
        tab_to("topic, row 0")
        for topic in ("a", "b", "dd"):  # `a`, `b` and `dd` add and delete cells where a notebook hears them
            keys.type(topic)
            keys.press("Enter")
        keys.type("x")
        tab_to("Remove row 3")
        keys.press("Space")
        tab_to("topic, row 2")
        keys.press("Control+Enter")
        form = form_of(page)
        says(form, "Running: 2 of 3 done, 1 to go")
        tab_to("Stop")
        keys.press("Enter")
        says(form, "Ended: 2 done, 1 without a result")
        assert label() == "Stop"  # the button that was pressed keeps the focus
        server.configure(topics={})
        tab_to("Retry stopped")
        keys.press("Space")
        says(form, "Finished: 3 results")
        tab_to("Show the code")
        keys.press("Enter")
        form.locator("pre").filter(has_text='{"topic": "dd"},').wait_for()
        tab_to("Paste", "Shift+Tab")
        keys.press("Enter")
        keys.type("e\nf")
        tab_to("Add rows")
        keys.press("Enter")
        form.get_by_label("topic, row 4").wait_for()
        form.locator(".cnb-panel").wait_for(state="hidden")
        assert label() == "Paste"
        assert server.stats().by_topic == {"a": 1, "b": 2, "dd": 1}
        cells = page.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(c => c.source)"
        )
        assert [cells[1], cells[2], len(cells)] == ["form = cnb.launcher(build_small_crew)", "1 + 1", 3]
        assert page.errors == []


def test_inputs_from_a_file_a_grid_and_a_variable_and_the_code_runs(
    lab: Lab, browser: Browser, server: Server, tmp_path: Path
) -> None:
    """Each fills the table; a cell with the code that is shown starts the very same runs."""
    (tmp_path / "in.csv").write_text('Topic,words,id\n"a, b",20,7\nc,,8\n')
    cells = [
        SETUP.format(url=server.base_url)
        + "import pandas as pd\nframe = pd.DataFrame({'topic': ['<i>x</i>'], 'words': [3]})",
        "form = cnb.launcher(build_small_crew, max_concurrency=4)",
        "",
        "print(batch.runs[0].inputs == form.inputs[0], len(results), results[4].inputs)",
    ]
    lab.write("from.ipynb", cells)
    with lab.open("from.ipynb", browser, height=1400) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form = form_of(page)
        form.get_by_role("button", name="File").click()
        form.locator("input[type=file]").set_input_files(tmp_path / "in.csv")
        form.get_by_role("button", name="Add rows").click()
        form.get_by_label("id, row 1").wait_for()
        form.get_by_role("button", name="Grid").click()
        form.locator("textarea[data-grid=topic]").fill("d\ne")
        form.locator("input[data-grid=tone][value=formal]").check()
        form.get_by_text("2 combinations").wait_for()
        form.get_by_role("button", name="Add rows").click()
        form.get_by_label("topic, row 3").wait_for()
        form.get_by_role("button", name="Variable").click()
        form.get_by_text("There are: frame").wait_for()
        form.get_by_label("The name of a DataFrame").fill("frame")
        form.get_by_role("button", name="Add rows").click()
        form.get_by_label("topic, row 4").wait_for()
        assert form.get_by_label("topic, row 4").input_value() == "<i>x</i>"
        assert form.get_by_label("topic, row 0").input_value() == "a, b"
        form.get_by_role("button", name="Show the code").click()
        code = form.locator("pre").filter(has_text='"topic": "c"')
        code.wait_for()
        text = code.inner_text()
        page.page.evaluate(
            "t => window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.setSource(t)", text
        )
        page.run(2)
        page.done(2)
        page.run(3)
        page.done(3)
        assert "True 5 {'topic': '<i>x</i>', 'words': 3}" in page.output(3)
        assert len(server.stats().requests) == 5
        assert page.errors == []


def test_many_rows_and_columns_stay_in_reach(lab: Lab, browser: Browser, server: Server, tmp_path: Path) -> None:
    """A page of rows scrolls sideways only, its buttons stay in sight, a stray column goes, a failed paste is kept."""
    lab.write("wide.ipynb", [SETUP.format(url=server.base_url), "form = cnb.launcher(build_small_crew)"])
    with lab.open("wide.ipynb", browser, width=900) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form = form_of(page)
        form.get_by_role("button", name="Paste").click()
        area = form.locator(".cnb-panel textarea")
        area.fill("topic,stray\n" + "\n".join(f"t{n},x" for n in range(40)))
        form.get_by_role("button", name="Replace rows").click()
        form.get_by_label("stray, row 0", exact=True).wait_for()
        area.wait_for(state="hidden")
        sheet = form.locator(".cnb-rowsheet")
        assert sheet.evaluate("e => [e.scrollWidth > e.clientWidth, e.scrollHeight > e.clientHeight]") == [True, False]
        edge = sheet.bounding_box()
        for name in ("Duplicate row 3", "Remove row 3"):
            button = form.get_by_role("button", name=name, exact=True).bounding_box()
            assert edge is not None
            assert button is not None
            assert button["x"] + button["width"] <= edge["x"] + edge["width"]
        select = form.get_by_label("tone, row 0", exact=True)
        assert select.evaluate("e => e.clientWidth") > 130  # "plain (default)" and the arrow
        assert serious(page.page, ".cnb-launch") == []
        page.shot(tmp_path / "wide.png")
        form.get_by_role("button", name="Remove column stray").click()
        form.get_by_label("stray, row 0", exact=True).wait_for(state="detached")
        form.get_by_role("button", name="Last", exact=True).click()
        form.get_by_label("topic, row 39").wait_for()
        form.get_by_role("button", name="Paste").click()
        area.wait_for()
        area.evaluate("e => { e.value = Array.from({ length: 10_000 }, (_, n) => n).join(String.fromCharCode(10)); }")
        form.get_by_role("button", name="Add rows").click()
        form.get_by_role("alert").filter(has_text="the form holds 10,000 rows.").wait_for()
        assert area.input_value().endswith("9999")
        assert page.errors == []


def test_the_saved_notebook_has_the_inputs_and_the_outcome_and_no_widget(
    lab: Lab, browser: Browser, server: Server
) -> None:
    """Once nobody touches it, the form is a table and the board static; a retry from Python makes both live again."""
    quick = "_launcher.LINGER_SECONDS = 0.5\n"
    lab.write(
        "saved.ipynb",
        [
            SETUP.format(url=server.base_url) + quick,
            "form = cnb.launcher(build_small_crew, [{'topic': 'a'}, {'topic': 'b'}])",
        ],
    )
    with lab.open("saved.ipynb", browser, height=1400) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        form = form_of(page)
        page.save()
        form.get_by_role("button", name="Run", exact=True).click()
        page.page.mouse.move(5, 5)
        page.cell(1).get_by_text("Run this cell to have the form").wait_for()
        assert page.page.locator(".cnb-launch").count() == 0
        page.save()
        page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
        (output,) = nbformat.read(lab.notebooks / "saved.ipynb", 4).cells[1].outputs
        assert set(output.data) == {"text/html", "text/plain"}
        assert "<details><summary>Inputs</summary>" in output.data["text/html"]
        assert "2 done" in output.data["text/plain"]
        assert json.dumps(output.data).count("widget") == 0
        page.run(1)  # the form is back, with its board, and becomes static again
        form = form_of(page)
        assert form.get_by_label("topic, row 1").input_value() == "b"
        page.cell(1).get_by_text("Run this cell to have the form").wait_for()
        assert page.errors == []


def test_a_page_that_saves_the_state_of_widgets_saves_no_secret(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    """JupyterLab does where it is told to: neither a key that was typed nor one that the cell gave is in the file."""
    given, typed = "sk-given1234567890abcdef", "sk-typed1234567890abcdef"
    cells = [
        SETUP.format(url=server.base_url) + f"import os\nos.environ['SOME_API_KEY'] = {given[:9]!r} + {given[9:]!r}",
        "form = cnb.launcher(build_small_crew, [{'topic': 'a', 'api_key': os.environ['SOME_API_KEY']}])",
    ]
    settings = {"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True}}
    with Lab(tmp_path / "lab", settings=settings) as lab:
        lab.write("secrets.ipynb", cells)
        with lab.open("secrets.ipynb", browser, height=1400) as page:
            page.run(0)
            page.run(1)
            page.done(1)
            form = form_of(page)
            assert form.get_by_label("api_key, row 0").input_value() == given
            form.get_by_role("button", name="Add a row").click()
            form.get_by_label("topic, row 1").fill("b")
            form.get_by_label("api_key, row 1").fill(typed)
            form.get_by_role("button", name="Show the code").click()
            form.locator("pre").filter(has_text="os.environ[").wait_for()  # where the cell is to have it from
            assert typed not in form.locator("pre").filter(has_text="os.environ[").inner_text()
            form.get_by_role("button", name="Run", exact=True).click()
            says(form, "Finished: 2 results")
            page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
            assert page.errors == []
        saved = (lab.notebooks / "secrets.ipynb").read_text()
        assert "application/vnd.jupyter.widget-state+json" in json.loads(saved)["metadata"]["widgets"]
        assert given not in saved
        assert typed not in saved
