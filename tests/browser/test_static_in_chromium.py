"""The static board, the results and the page in Chromium: nothing runs or is asked for, and everybody can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crew_nb._board import static as _static
from tests.support import batches
from tests.support.lab import serious
from tests.support.safety import ATTRIBUTES, EVERYWHERE, TAGS, VECTORS, cards, renderings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

MARK = """
window.ran = [];
for (const name of ["alert", "confirm", "prompt", "msgbox", "open"]) window[name] = x => window.ran.push(name);
"""
STIR = """async () => {
  for (const d of document.querySelectorAll("details")) d.open = true;
  for (const e of document.querySelectorAll("*"))
    for (const name of ["mouseover", "mouseenter", "pointerover", "focus", "toggle", "load", "error", "animationstart"])
      e.dispatchEvent(new Event(name, {bubbles: name === "mouseover"}));
  await new Promise(done => setTimeout(done, 0));
  return window.ran;
}"""
STRANGERS = """([tags, attributes, everywhere]) => [...document.querySelectorAll("*")].flatMap(e => {
  const tag = e.tagName.toLowerCase();
  const names = [...e.attributes].map(a => a.name).filter(
    n => !everywhere.includes(n) && !(attributes[tag] || []).includes(n));
  const link = e.href && !["http:", "https:", "mailto:"].includes(e.protocol) ? [e.href] : [];
  return [...(tags.includes(tag) ? [] : [tag]), ...names, ...link];
})"""
ALLOWED = [sorted(TAGS), {tag: sorted(names) for tag, names in ATTRIBUTES.items()}, sorted(EVERYWHERE)]


class Watched:
    """A page that notes what ran in it and what it asked for."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self._file = folder / "page.html"
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        page.add_init_script(MARK)
        page.on("request", lambda r: self.asked.append(r.url))
        page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))

    def show(self, html: str) -> list[str]:
        """What ran, was asked for, or is not on the list of what may be there."""
        self._file.write_text(html, encoding="utf-8", errors="surrogatepass")
        self.asked.clear()
        self.dialogs.clear()
        self.page.goto(self._file.as_uri())
        ran = self.page.evaluate(STIR)
        strangers = self.page.evaluate(STRANGERS, ALLOWED)
        asked = [url for url in self.asked if url != self._file.as_uri()]
        return [*ran, *strangers, *self.dialogs, *asked]


@pytest.fixture
def watched(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    page = browser.new_page()
    yield Watched(page, tmp_path)
    page.close()


def bare(*fragments: str) -> str:
    """A page without any policy that could help."""
    return "<!doctype html><meta charset='utf-8'><title>x</title>" + "".join(fragments)


@pytest.mark.parametrize(
    "vector",
    ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<svg onload=alert(1)>", "<b onmouseover=alert(1)>x"],
)
def test_the_harness_sees_what_runs(watched: Watched, vector: str) -> None:
    """The same page with the vector as it is does run it, so that the next test can fail."""
    assert "alert" in watched.show(bare(vector))


def test_the_harness_sees_what_is_asked_for(watched: Watched) -> None:
    """A remote image is noticed."""
    assert "http://evil.example/x" in watched.show(bare('<img src="http://evil.example/x">'))


@pytest.mark.parametrize("part", range(8))
def test_nothing_executes_and_nothing_leaves(watched: Watched, part: int) -> None:
    """Every vector through every place, without a policy and as the file, with everything opened and stirred."""
    for vector in VECTORS[part::8]:
        made = renderings(vector)
        page = made.pop("page")
        assert watched.show(bare(*made.values())) == [], vector
        assert watched.show(page) == [], vector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_page(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """Axe finds nothing serious in light and in dark, and the page is no wider than the window."""
    state = batches.finished()
    html = _static.page(
        "research sweep",
        _static.board(state),
        _static.results(cards("**plain** words")),
        _static.compare("a", "half of it", "b", "a third of it"),
    )
    file = tmp_path / "page.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1240, "height": 900}, bypass_csp=True)
    page.goto(file.as_uri())
    page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = true; }")
    assert serious(page, "body") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
