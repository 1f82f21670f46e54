"""Outputs rated in a real JupyterLab by keyboard alone, in a kernel that is killed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

import crew_nb as cnb
from tests.support.lab import Lab, serious

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

    from tests.support.lab import LabPage

SETUP = """
import crew_nb as cnb, os
from tests.support import crews
cnb.set_record({record!r})
print(os.getpid())
"""
RUN = """
def build(topic, llm):
    return crews.one(llm)
def llm(name):
    said = f"An answer, **in short** <script>window.hacked = 1</script>"
    return cnb.OfflineLLM(lambda _: said, latency=0, tokens_per_second=None, model=name)
rows = [{{"topic": f"T{{n}}"}} for n in range(50)]
results = await cnb.sweep(build, rows, {{"llm": [llm("variant-a"), llm("variant-b")]}}, name="rated", show=False)
"""


def rater(page: LabPage) -> Locator:
    rate = page.page.locator(".cnb-rate")
    rate.locator(".cnb-levels button").first.wait_for()
    return rate


def press(rate: Locator, keys: str, start: int) -> None:
    """Press a key for each output, each once its output is there."""
    for n, key in enumerate(keys, start):
        said(rate, f"{n} of 100 rated")
        rate.page.keyboard.press(key)
    said(rate, f"{start + len(keys)} of 100 rated")


def said(rate: Locator, words: str) -> None:
    rate.locator("header [role=status]").filter(has_text=words).wait_for()


@pytest.mark.timeout(600)
def test_a_hundred_outputs_by_keyboard_through_a_killed_kernel(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """Blind, with a note and an undo; the kernel is killed at the 60th, 60 are there, and the next goes on."""
    record = str(tmp_path / "record.sqlite")
    lab.write("rate.ipynb", [SETUP.format(record=record), RUN.format(), "results.rate('ann')"])
    keys = "12345" * 20
    with lab.open("rate.ipynb", browser) as page:
        for n in range(3):
            page.run(n)
            page.done(n, timeout=240)
        rate = rater(page)
        rate.focus()
        assert "variant" not in rate.inner_text()
        assert rate.locator("strong").filter(has_text="in short").count() == 1
        press(rate, keys[:3], 0)
        page.page.keyboard.press("u")
        said(rate, "2 of 100 rated")
        assert rate.locator(".cnb-levels .cnb-go").inner_text() == "3"
        page.page.keyboard.press("n")
        page.page.keyboard.type("5 is too much")
        page.page.keyboard.press("Enter")
        press(rate, keys[2:60], 2)
        assert not serious(page.page, ".cnb-rate")
        page.shot(tmp_path / "rate.png")
        psutil.Process(int(page.output(0))).kill()
        assert page.page.evaluate("() => window.hacked") is None
        assert not page.errors
        assert not page.outside

    loaded = cnb.load("rated") if cnb.set_record(record) else None
    assert loaded is not None
    assert sum("ann" in row for row in loaded.scores) == 60
    assert [row for row in loaded.reasons if row] == [{"ann": "5 is too much"}]

    lab.write("again.ipynb", [SETUP.format(record=record), "results = cnb.load('rated')", "results.rate('ann')"])
    with lab.open("again.ipynb", browser) as page:
        for n in range(3):
            page.run(n)
            page.done(n, timeout=240)
        rate = rater(page)
        rate.focus()
        press(rate, keys[60:], 60)
        rate.get_by_text("All are rated.").wait_for()
        page.save()
        page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert "100 of 100 outputs rated as ann" in (lab.notebooks / "again.ipynb").read_text()
    assert "widget-view" not in (lab.notebooks / "again.ipynb").read_text().replace("crew_nb", "")
    assert sorted(row["ann"] for row in cnb.load("rated").scores) == [float(n) for n in range(1, 6) for _ in range(20)]


@pytest.mark.timeout(600)
def test_two_side_by_side_by_arrows(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """Left, right and tie by the arrows; buttons do the same."""
    record = str(tmp_path / "record.sqlite")
    run = RUN.replace("range(50)", "range(2)").format()
    lab.write("pairs.ipynb", [SETUP.format(record=record), run, "results.rate('side', pairs='llm')", "results.scores"])
    with lab.open("pairs.ipynb", browser) as page:
        for n in range(3):
            page.run(n)
            page.done(n, timeout=240)
        rate = rater(page)
        assert rate.locator("article").count() == 2
        page.shot(tmp_path / "pairs.png")
        rate.focus()
        page.page.keyboard.press("ArrowUp")
        said(rate, "1 of 2 rated")
        rate.get_by_role("button", name="left").click()
        rate.get_by_text("All are rated.").wait_for()
        page.run(3)
        page.done(3)
        told = page.output(3)
        assert sorted(float(part.split("}")[0]) for part in told.split("'side': ")[1:]) == [0.0, 0.5, 0.5, 1.0]
