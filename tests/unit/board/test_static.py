"""The board and the results as HTML that needs neither script nor style, and stays small and harmless."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import nbformat
import nh3
import pytest
from nbconvert import HTMLExporter

from crew_nb._board import diff as _diff
from crew_nb._board import static as _static
from crew_nb._board import summary as _summary
from crew_nb._board import timeline as _timeline
from crew_nb._board.static import ResultCard
from crew_nb._board.timeline import Lane, Span, Timeline
from crew_nb._record.listed import BatchInfo, Kept
from crew_nb._state import html as _html
from crew_nb._state import labels as _labels
from crew_nb._state.events import ErrorInfo
from crew_nb._state.state import BatchState
from tests.support import batches
from tests.support.safety import VECTORS, dangers, renderings, words

# What GitHub leaves of HTML: the lists of its html-pipeline.
GITHUB = json.loads((Path(__file__).parents[2] / "data" / "github.json").read_text())


def on_github(html: str) -> str:
    """The HTML as GitHub would show it: no style, no class, no id."""
    attributes = {tag: set(names) for tag, names in GITHUB["attributes"].items()}
    return nh3.clean(html, tags=set(GITHUB["tags"]), attributes=attributes, url_schemes={"http", "https", "mailto"})


def some_cards() -> list[ResultCard]:
    """One of each kind: Markdown, an error, plain data."""
    data = {"title": "R", "points": [{"claim": "cheap", "year": 2025}, {"claim": "fast"}], "tags": ["a", "b"]}
    error = ErrorInfo(type="ValueError", message="no such topic", traceback="Traceback …", hint="give a topic")
    return [
        ResultCard(
            index=0, label="topic=AI", status="done", raw="**Costs** fall", seconds=12.4, cost=0.02, offline=True
        ),
        ResultCard(index=1, label="topic=ML", status="failed", error=error),
        ResultCard(index=2, label="topic=R", status="done", structured=data),
    ]


def test_the_board_says_it_all() -> None:
    """Summary, a row for each run with its tasks and joins, timeline, errors and outputs."""
    said = words(_static.board(batches.finished(4)))
    for part in (
        "research sweep — 3 done 1 failed",
        "one by one",
        "0 topic 0 ✓ done ✓ research ✓ market ✓ synthesis ← joins both 5.0 s 2,800 $0.0084",
        "2 topic 2 ✗ failed ✗ research ⊘ market ⊘ synthesis",
        "RateLimitError: 429: too many requests for this key",
        "What to do: set max_rpm",
        'File "crew.py", line 12',
        "Timeline",
        "▇▇▇",
        "Outputs (3)",
        "The two reports agree on three points:",
        "offline LLM",
    ):
        assert part in said


def test_a_board_in_the_middle_says_what_is_going_on() -> None:
    """Running rows show what is said, waiting rows for what and for how long."""
    said = words(_static.board(batches.live()))
    assert "9 done 3 running 2 waiting 1 failed 5 queued" in said
    assert "“The market doubles in" in said
    assert "waits 0:02: retry, 429, try 2 of 3, 0:06 left" in said
    assert "the limit was lowered to 6 at once" in said


def test_what_differs_between_runs_is_labelled() -> None:
    """Where only some runs are offline, their rows say so."""
    state = batches.finished(4)
    mixed = dataclasses.replace(state, runs=(dataclasses.replace(state.runs[0], offline=False), *state.runs[1:]))
    said = words(_static.board(mixed))
    assert "3 on the offline LLM" in said
    assert "✓ done (offline LLM)" in said


def test_a_thousand_runs_stay_small_and_say_what_is_left_out() -> None:
    """Below 400 kB in a notebook; the file has everything."""
    state = batches.finished(1000)
    small = _static.board(state)
    assert len(small.encode()) < 400_000
    assert "results.to_html()" in small
    said = words(small)
    for what in ("more runs not shown here", "more lanes not shown here", "more outputs not shown here"):
        assert what in said
    whole = words(_static.board(state, whole=True))
    assert "not shown here" not in whole
    assert "999 topic 999 ✓ done" in whole


def test_long_words_do_not_make_it_large() -> None:
    """A megabyte in every place stays below the bound."""
    huge = "x" * 1_000_000
    state = batches.finished(20, topic=lambda i: huge, words=huge)
    assert len(_static.board(state).encode()) < 400_000
    cards = [ResultCard(index=i, label=huge, status="done", raw=huge) for i in range(200)]
    assert len(_static.results(cards).encode()) < 400_000
    data = [ResultCard(index=i, label="a", status="done", structured=[[huge] * 99] * 99) for i in range(9)]
    assert len(_static.results(data).encode()) < 400_000


def test_inputs_that_vary_have_columns_of_their_own() -> None:
    """Lanes are called by the same values; a run of which the record does not know them has its label over all."""
    told = [(_labels.Column("product", p), _labels.Column("stars", s)) for p, s in (("Lamp", "5"), ("Desk", "1"))]
    one, two, three = batches.finished(3).runs
    runs = (
        dataclasses.replace(one, columns=told[0]),
        dataclasses.replace(two, columns=told[1]),
        dataclasses.replace(three, columns=()),
    )
    html = _static.board(dataclasses.replace(batches.finished(3), runs=runs))
    heads = re.findall(r"<th scope=.col.[^>]*>(?:<span[^>]*>)?([^<]*)", html)
    assert heads[:5] == ["#", "product", "stars", "status", "tasks"]
    assert '<td style="text-align:left" colspan="2">' in html
    assert "Desk · 1" in words(_static.timeline(dataclasses.replace(batches.finished(3), runs=runs)))


def test_a_long_board_scrolls_in_boxes() -> None:
    """From thirty rows on, so that a notebook does not jump when it takes the live board's place; a file is whole."""
    box = "max-height:420px;overflow:auto"
    assert box not in _static.board(batches.finished(29)) + _static.results(some_cards() * 9)
    long = _static.board(batches.finished(200))
    boxes = re.findall(rf'<details(?: open)? style="[^"]*{box}"><summary><strong>([^<]*)', long)
    assert boxes == ["Runs (200)", "Timeline", "Outputs (199)"]
    assert _static.results(some_cards() * 10).count(box) == 1
    assert box not in _static.board(batches.finished(200), whole=True) + _static.results(some_cards() * 10, whole=True)
    assert dangers(long) == []


def test_the_timeline_is_drawn_and_its_signs_are_under_the_bars() -> None:
    """Each kind has a form of its own, whose signs have its colour; the curve below is as high as it says."""
    html = _static.timeline(batches.finished(6))
    drawn = re.findall(r'<span style="([^"]*height:[^"]*)">([▇▄░╌─·▁▂▃▅▆█]+)</span>', html)
    forms = {sign: style.partition(";overflow")[2] for style, words in drawn for sign in set(words)}
    assert len(set(forms.values())) == len(forms) >= 7
    for style, _ in drawn:
        filled = re.search("background-color:(#[0-9a-f]{6})", style)
        assert filled is None or style.endswith(f";color:{filled[1]}")
    assert "height:1em" in forms["█"]
    assert "▇▇▇" in words(on_github(html))


def test_a_restless_timeline_stays_small() -> None:
    """Lanes that change in every column are left out and counted beyond the room that there is."""
    spans = tuple(Span(kind=("llm", "tool")[n % 2], start=float(n), end=n + 1.0) for n in range(80))
    lanes = tuple(Lane(label=f"run {n}", status="done", spans=spans) for n in range(60))
    html = _static._lanes(Timeline(length=80.0, lanes=lanes, task_lanes=((),) * 60), None, whole=False)
    assert len(html.encode()) < 100_000
    assert "more lanes not shown here" in words(html)


def test_the_marks_of_a_short_timeline_differ() -> None:
    """Seconds with decimals below ten; kinds of time that took none are left out of the legend."""
    said = words(_static.board(batches.finished(3)))
    assert "0.0 s 3.1 s 6.3 s" in said
    assert "retry" not in said
    assert "rate limit 4.0 s" in said
    assert "┅ retry" in words(_static.board(batches.live()))
    assert "0:00" in words(_static.board(batches.finished(40)))


def test_lanes_of_runs_without_names_are_numbered() -> None:
    """As those of a benchmark are: all have the factory's name."""
    state = batches.finished(3)
    same = dataclasses.replace(state, runs=tuple(dataclasses.replace(r, label="<lambda>") for r in state.runs))
    said = words(_static.timeline(same))
    assert "run 0" in said
    assert "run 2" in said
    assert "lambda" not in said
    assert "one by one" not in said


def test_what_is_kept_is_a_table_and_lines() -> None:
    """`cnb.runs()` is a list that reads well, in a cell and as text."""
    one = BatchInfo(
        key="ab12", name="a <b>", created=0.0, runs=4, done=2, failed=1, cancelled=0, total_tokens=1500, cost=0.2
    )
    kept = Kept([one] * 60)
    assert kept == [one] * 60
    lines = repr(kept).splitlines()
    assert lines[0].startswith("<a <b>, 19")
    assert lines[0].endswith(", 4 runs: 2 done, 1 failed, 1 missing, 1,500 tokens, $0.20, ab12>")
    assert lines[-1] == "… and 10 more"
    html = kept._repr_html_()
    assert "a &lt;b&gt;" in html
    assert "4 runs: 2 done, 1 failed, 1 missing" in words(html)
    assert dangers(html) == []
    assert "Nothing is kept yet." in repr(Kept()) + Kept()._repr_html_()


def test_no_runs_is_no_error() -> None:
    """An empty batch and no results can be shown."""
    assert "0 done" in words(_static.board(BatchState(key="k", name="", runs=(), created=0.0)))
    assert "0 results" in words(_static.results([]))


def test_results_are_cards_in_input_order() -> None:
    """Markdown, tables for data, and the error of a failed run."""
    html = _static.results(some_cards())
    said = words(html)
    assert said.index("0 topic=AI") < said.index("1 topic=ML") < said.index("2 topic=R")
    assert "<strong>Costs</strong>" in html
    assert "✓ done · 0:12 · $0.02 · offline LLM" in said
    assert "ValueError: no such topic" in said
    assert "What to do: give a topic" in said
    assert "claim year cheap 2025 fast" in said


def test_compare_marks_words() -> None:
    """Only what differs is marked, and long stretches that are the same are folded."""
    same = " ".join(f"w{i}" for i in range(100))
    html = _static.compare("a", f"{same} half of it {same}", "b", f"{same} a third of it {same}")
    said = words(html)
    assert ">half</del> <ins" in html
    assert ">a third</ins>" in html
    assert "words the same …]" in said
    assert "w50" in said.split("The whole text")[1]
    assert "w50" not in said.split("The whole text")[0]
    assert "the same words" in words(_static.compare("a", "x  y", "b", "x y"))


@pytest.mark.parametrize("a", ["a " * 1900, "x" * 1_000_000, "x\n" * 300_000, "a b\n" * 9000], ids=len)
def test_words_said_over_and_over_are_compared_too(a: str) -> None:
    """Texts on which a comparison explodes are compared coarsely, and none is left out in silence."""
    b = a.replace("a", "b a", 900)[:-1] + "y"
    pieces = _diff.words(a, b)
    assert "".join(p.text for p in pieces if p.kind != "removed").split() == b.split()
    html = _static.compare("a", a, "b", b)
    assert len(html.encode()) < 400_000
    assert ("not compared here" in html) == (len(a) > 50_000)


def test_github_shows_it_too() -> None:
    """With class and style stripped, the summary, the rows, the timeline and the results are all still there."""
    board, results = _static.board(batches.finished(4)), _static.results(some_cards())
    for html in (board, results):
        left = on_github(html)
        assert words(left) == words(html)
        assert "style=" not in left
        assert "class=" not in left
        for tag in ("<table>", "<details", "<summary>", "<strong>"):
            assert left.count(tag) == html.count(tag)


def test_nbconvert_shows_it() -> None:
    """A notebook that holds the board and the results is converted whole."""
    outputs = [
        nbformat.v4.new_output("display_data", data={"text/html": html, "text/plain": "text"})
        for html in (_static.board(batches.finished(4)), _static.results(some_cards()))
    ]
    cell = nbformat.v4.new_code_cell("await batch", outputs=outputs)
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    said = words(html)
    assert "research sweep — 3 done 1 failed" in said
    assert "2 topic 2 ✗ failed" in said
    assert "ValueError: no such topic" in said


def test_the_page_needs_and_allows_nothing_else() -> None:
    """One file with a policy that forbids scripts and remote loads."""
    page = _static.page("my sweep", _static.board(batches.finished(4)))
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "<script" not in page
    assert "<h1>my sweep</h1>" in page
    assert dangers(page) == []


def test_two_prices_are_not_mathematics() -> None:
    """A dollar sign stands alone in its element, so that notebooks do not typeset what is between two of them."""
    assert "$0" not in _static.board(batches.finished(4))
    assert "<span>$</span>0.03" in _static.board(batches.finished(4))


def test_the_builder_makes_nothing_that_runs() -> None:
    """Tags, handlers and links that could run are refused."""
    for tag in ("script", "img", "a", "style"):
        with pytest.raises(ValueError, match="not one of the tags"):
            _html.el(tag)
    with pytest.raises(ValueError, match="not one of the attributes"):
        _html.el("p", onclick="x")
    assert _html.el("p", "<b>", title='"><i>') == '<p title="&quot;&gt;&lt;i&gt;">&lt;b&gt;</p>'


def test_numbers_are_true() -> None:
    """Speed-up leaves waits out; the rest is learned from the runs that are done."""
    state = batches.live()
    numbers = _summary.summarize(state, batches.ZERO + 20)
    assert numbers.elapsed == 20
    worked = 9 * 8.0 + (6 - 4) + (3 + 2.9 + 2.8) + 2 * 1
    assert numbers.speedup == pytest.approx(worked / 20)
    # five queued and five under way, six at once, 8 s each; two of them have worked for 1 s and wait 6 s more
    assert numbers.eta == pytest.approx((5 * 8 + (5 + 5.1 + 5.2) + 2 * (7 + 6)) / 6)
    assert numbers.projected_cost == pytest.approx(19 * 0.0084)
    assert _summary.summarize(dataclasses.replace(state, paused=True), batches.ZERO + 20).eta is None


def test_lanes_tell_kinds_apart() -> None:
    """Each kind of time has its own columns and its own sum."""
    state = batches.finished(3)
    lines = _timeline.build(state)
    assert lines.length == pytest.approx(6.3)
    painted = _timeline.paint(lines.task_lanes[0][0].spans, lines.length, 60)
    assert {"llm", "tool"} <= set(painted)
    assert "limit" in _timeline.paint(lines.lanes[2].spans, lines.length, 60)
    assert _timeline.totals(lines)["limit"] == pytest.approx(4)
    assert max(_timeline.at_once(lines, 60)) == 3
    assert _timeline.most_at_once(lines) == 3


def test_runs_one_after_another_are_one_at_once() -> None:
    """A run that begins in the moment, or in the column, in which another ends does not run beside it."""
    runs = [Span(kind="run", start=float(n), end=n + 1.0) for n in range(7)]
    lanes = tuple(Lane(label=f"run {n}", status="done", spans=(span,)) for n, span in enumerate(runs))
    lines = Timeline(length=7.0, lanes=lanes, task_lanes=((),) * 7)
    assert _timeline.most_at_once(lines) == 1


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector: str) -> None:
    """Through output, task names, inputs, errors and names: nothing outside of the allow-list is left."""
    for name, html in renderings(vector).items():
        assert dangers(html) == [], name
