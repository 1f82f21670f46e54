"""The board and the results as HTML without script: for saved notebooks, nbconvert, GitHub and files.

It must read well when class and style are stripped, so a status is a sign with a word and a timeline is text. It is
bounded: what does not fit is counted and named. No word of an LLM becomes markup that runs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from crew_nb._board import diff as _diff
from crew_nb._board import markdown as _markdown
from crew_nb._board import summary as _summary
from crew_nb._board import timeline as _timeline
from crew_nb._board.markdown import markdown
from crew_nb._board.page import document
from crew_nb._board.summary import SIGNS
from crew_nb._state import words as _words
from crew_nb._state.html import Html, Node, el, join, prose
from crew_nb._state.usage import Usage
from crew_nb._state.words import clock, money

if TYPE_CHECKING:
    from crew_nb._board.timeline import Kind, Lane, Timeline
    from crew_nb._state.events import ErrorInfo
    from crew_nb._state.state import BatchState, RunState

T = TypeVar("T")

ROWS_BYTES, ERRORS_BYTES, OUTPUTS_BYTES, CARDS_BYTES, LANES_BYTES = 150_000, 60_000, 110_000, 330_000, 80_000
LANES = 60
"""Lanes of the timeline drawn in a notebook."""
WIDTH = 80
"""Columns of the timeline."""
OUTPUT_CHARS, TRACEBACK_CHARS, LABEL_CHARS, MESSAGE_CHARS = 6_000, 4_000, 160, 400
COLUMNS, NAME_CHARS = 5, 60
"""Columns of inputs at most, and characters of the name of each."""
INSIDE = 40
"""Tasks of a row that its own tasks have begun, as many as are listed."""
OPEN_CARDS = 6
"""Up to so many results stand open."""
TABLE_ROWS, TABLE_COLUMNS, TABLE_DEPTH = 50, 12, 3
TALL = 30
"""From so many rows, a table or list scrolls in a box: a static board is about as high as the live one was."""

# Seen on white and on black; only signs and bars have them, words keep the colour of the page.
_COLOURS = {
    "done": "#2b8a3e",
    "running": "#1c7ed6",
    "waiting": "#b56a00",
    "failed": "#e03131",
    "cancelling": "#757d85",
    "cancelled": "#757d85",
    "queued": "#757d85",
    "skipped": "#757d85",
}
_BAR = "overflow:hidden;vertical-align:middle"
_BARS: dict[Kind, str] = {
    "llm": f"{_BAR};height:.9em;background-color:#1c7ed6;color:#1c7ed6",
    "tool": f"{_BAR};height:.5em;background-color:#ae5bd0;color:#ae5bd0",
    "limit": f"{_BAR};height:.25em;background-color:#b56a00;color:#b56a00",
    "retry": f"{_BAR};height:0;border-top:2px dashed #d9480f;color:#d9480f",
    "person": f"{_BAR};height:0;border-top:2px solid #c2255c;color:#c2255c",
    "pause": f"{_BAR};height:0;border-top:2px dotted #b56a00;color:#b56a00",
    "run": f"{_BAR};height:0;border-top:1px solid #757d85;color:#757d85",
    "queue": f"{_BAR};height:0;border-top:1px dotted",
}
"""A bar hides the signs in it, which are what is left where styles are stripped; each has a form of its own."""
_BOX = "max-height:420px;overflow:auto"
_APART = "margin-top:12px"  # VS Code gives a table no room below it
_LEFT = "text-align:left"  # JupyterLab turns the cells of tables to the right


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCard:
    """One joined result, as much of it as a card shows."""

    index: int
    label: str
    status: str
    raw: str = ""
    structured: Any = None
    """The output as plain data (of `pydantic` or `json_dict`), or None."""
    error: ErrorInfo | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    seconds: float | None = None
    offline: bool = False


def board(state: BatchState, *, whole: bool = False) -> Html:
    """The board as it stands, as one `<div>`.

    Args:
        state: The batch.
        whole: Leave nothing out, for a file; otherwise it stays below some 400 kB.
    """
    summary = _summary.summarize(state)
    lines = _timeline.build(state)
    parts: list[Node] = [
        _header(state, summary),
        _runs(state, summary, whole=whole),
        _lanes(lines, summary, whole=whole),
    ]
    failed = [r for r in state.runs if r.error is not None]
    if failed:
        parts.append(_errors(failed, whole=whole))
    spoken = [r for r in state.runs if r.output]
    if spoken:
        parts.append(_outputs(spoken, whole=whole))
    return _block(*parts)


def timeline(state: BatchState) -> Html:
    """The timeline of the batch alone, as one `<div>`; what it was compared with is said beside it."""
    return _block(_lanes(_timeline.build(state), None, whole=False))


def under_way(state: BatchState, words: str) -> Html:
    """A batch in one line, as one `<div>`: its name, so many runs, and how far they are.

    Args:
        state: The batch.
        words: What follows; what is between two backticks as code.
    """
    return _block(el("p", el("strong", _label(state.name or "batch")), f" — {so_far(state)}", prose(words)))


def so_far(state: BatchState) -> str:
    """`3 runs: 1 done, 2 running`."""
    count = f"{len(state.runs):,} run" + ("" if len(state.runs) == 1 else "s")
    return f"{count}: " + _summary.counts_text(_summary.summarize(state)).replace("  ", ", ")


def results(cards: Sequence[ResultCard], *, whole: bool = False) -> Html:
    """The joined results as cards in the order given, as one `<div>`.

    Args:
        cards: One for each result.
        whole: Leave nothing out, for a file; otherwise it stays below some 400 kB.
    """
    counts = Counter(c.status for c in cards)
    tokens = sum(c.usage.total_tokens for c in cards)
    costs = [c.cost for c in cards if c.cost]
    facts = [f"{n:,} {status}" for status, n in counts.items()] + [f"{tokens:,} tokens"]
    if costs:
        facts.append(money(sum(costs)))
    head = el("p", el("strong", f"{len(cards):,} result" + ("" if len(cards) == 1 else "s")), " — ", " · ".join(facts))
    drawn, left = _fit(
        cards, lambda c: _card(c, is_open=len(cards) <= OPEN_CARDS, whole=whole), None if whole else CARDS_BYTES
    )
    if len(drawn) >= TALL and not whole:
        drawn = [_folded(el("strong", f"Results ({len(cards):,})"), *drawn, is_open=True, style=_BOX)]
    return _block(head, *drawn, _left_out(left, "result"))


def compare(label_a: str, text_a: str, label_b: str, text_b: str) -> Html:
    """Two texts word by word, as one `<div>`: only what differs, and below it the whole text.

    Args:
        label_a: What the first is called.
        text_a: The first text.
        label_b: What the second is called.
        text_b: The second text.
    """
    room = _markdown.LIMIT
    pieces = _diff.words(_words.readable(text_a[:room]), _words.readable(text_b[:room]))
    cut = max(0, len(text_a) - room) + max(0, len(text_b) - room)
    rest = el("p", el("em", f"… {cut:,} more characters are not compared here")) if cut else None
    head = el("p", el("strong", _label(label_a)), " → ", el("strong", _label(label_b)), ": ", _diff.share(pieces))
    if all(p.kind == "same" for p in pieces):
        return _block(head, rest)
    return _block(
        head,
        rest,
        el("p", _mark("removed", "only in the first"), " ", _mark("added", "only in the second")),
        _folded("Only differences", _prose(_differences(pieces)), is_open=True),
        _folded("The whole text", _prose([_piece(p) for p in pieces])),
    )


def page(title: str, *bodies: Node, pictures: bool = False) -> str:
    """One HTML file that needs nothing else: light and dark, no script, nothing loaded.

    Args:
        title: The heading of the page.
        *bodies: What `board`, `results` and `compare` gave.
        pictures: Whether there are some in them.
    """
    return document(_words.one_line(title, LABEL_CHARS) or "crew_nb", bodies, pictures=pictures)


def _block(*parts: Node) -> Html:
    """The two classes keep notebooks from typesetting what stands between dollar signs, where classes are kept."""
    return el("div", *parts, class_="crew-nb mathjax_ignore tex2jax_ignore", dir="auto")


def _fit(items: Sequence[T], draw: Callable[[T], Html], room: int | None) -> tuple[list[Html], int]:
    """The items that fit into `room` bytes, and how many were left out."""
    drawn: list[Html] = []
    used = 0
    for place, item in enumerate(items):
        html = draw(item)
        used += len(html.encode())
        if room is not None and used > room:
            return drawn, len(items) - place
        drawn.append(html)
    return drawn, 0


def _left_out(count: int, what: str) -> Html | None:
    if not count:
        return None
    words = f"… {count:,} more {what}{'' if count == 1 else 's'} not shown here: "
    return el(
        "p", el("em", words), el("code", "results[i]"), " has each, ", el("code", "results.to_html()"), " has all."
    )


def _folded(title: Node, *body: Node, is_open: bool = False, style: str | None = None) -> Html:
    """A part that is opened and shut; with `_BOX` it scrolls, also by keys, as its title takes the focus."""
    return el("details", el("summary", title), *body, open=is_open, style=style)


def _took(seconds: float) -> str:
    """`4.2 s`, from ten seconds on `0:42`."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 9.95 else clock(seconds)


def _sign(status: str) -> Html:
    return el("span", SIGNS.get(status, "?"), style=f"color:{_COLOURS.get(status, '#757d85')}")


def _label(words: str, limit: int = LABEL_CHARS) -> Html:
    """Words that came from outside, on one line, their direction kept to themselves."""
    return el("span", _words.one_line(words, limit), dir="auto")


def _header(state: BatchState, summary: _summary.Summary) -> Html:
    bar = el("code", *(el("span", sign, style=f"color:{_COLOURS[of]}") for sign, of in _summary.bar(summary, 30)))
    return join(
        [
            el(
                "p",
                el("strong", _label(state.name or "batch")),
                " — ",
                _summary.counts_text(summary),
            ),
            el("p", bar, f" {summary.percent}% · ", " · ".join(_summary.facts(summary))),
            *(el("p", el("em", _label(note, MESSAGE_CHARS))) for note in state.notes),
        ]
    )


def _runs(state: BatchState, summary: _summary.Summary, *, whole: bool) -> Html:
    now = max((r.last_event for r in state.runs), default=state.created)
    told = _summary.columns(state.runs, COLUMNS)
    words = [_label(name, NAME_CHARS) for name in told or ("inputs",)]
    heads = [el("th", word, scope="col", style=_LEFT) for word in (*words, "status", "tasks")]
    numbers = [el("th", name, scope="col") for name in ("time", "tokens", *(("cost",) if summary.cost else ()))]
    head = el("tr", el("th", "#", scope="col"), *heads, *numbers)
    mixed = summary.offline_words == "some"
    rows, left = _fit(
        state.runs, lambda r: _row(r, now, told, mixed=mixed, costs=bool(summary.cost)), None if whole else ROWS_BYTES
    )
    table: Html = el("table", el("thead", head), el("tbody", *rows))
    if len(rows) >= TALL and not whole:
        table = _folded(el("strong", f"Runs ({len(state.runs):,})"), table, is_open=True, style=_BOX)
    return join([table, _left_out(left, "run")])


def _row(run: RunState, now: float, told: Sequence[str], *, mixed: bool, costs: bool) -> Html:
    spent = _summary.seconds(run, now)
    marks = [
        f"try {run.attempt}" if run.attempt > 1 else "",
        "from the record" if run.from_record else "",
        "recorded" if run.recorded_calls else "",
        "offline LLM" if run.offline and mixed else "",
        run.worker,
        f"{_summary.calls(run.dropped_calls)} could not be stopped" if run.dropped_calls else "",
    ]
    notes = ", ".join(m for m in marks if m)
    tasks: list[Node] = []
    for place, task in enumerate(run.own_tasks):
        words = [_words.one_line(task.spec.name, 60), _summary.rounds(task), _summary.edge_text(run, place)]
        tasks += ["\u2002" if place else None, _sign(task.status), " " + " ".join(filter(None, words))]
    said = _error_line(run.error) if run.error else _summary.now_text(run, now)
    return el(
        "tr",
        el("td", run.index),
        *_inputs(run, told),
        el("td", _sign(run.status), f" {run.status}", el("small", f" ({notes})") if notes else None, style=_LEFT),
        el(
            "td",
            *tasks,
            el("br") if tasks and said else None,
            _label(said, MESSAGE_CHARS) if said else None,
            _inside(run),
            style=_LEFT,
        ),
        el("td", "" if spent is None else _took(spent)),
        el("td", f"{run.usage.total_tokens:,}" if run.usage.total_tokens else ""),
        el("td", money(run.cost) if run.cost else "") if costs else None,
    )


def _inputs(run: RunState, told: Sequence[str]) -> list[Html]:
    """The cells of what tells it from other rows; where a record does not know, its label over all of them."""
    if not run.columns:
        return [el("td", _label(run.label), style=_LEFT, colspan=str(len(told)) if len(told) > 1 else None)]
    values = {column.name: column.value for column in run.columns}
    return [el("td", _label(values.get(name, "")), style=_LEFT) for name in told]


def _inside(run: RunState) -> Html | None:
    """What its tasks and steps have begun: crews, agents, flows, and runs that its own code has launched."""
    found = [(place, task) for place, task in enumerate(run.tasks) if task.spec.parent is not None]
    if not found:
        return None
    items: list[Node] = []
    for place, task in found[:INSIDE]:
        step = run.tasks[run.own_place(place) or 0].spec.name
        items.append(el("li", _sign(task.status), " ", _label(f"{step} › {task.spec.name}", MESSAGE_CHARS)))
    if len(found) > INSIDE:
        items.append(el("li", f"… {len(found) - INSIDE:,} more"))
    return _folded(el("small", f"{len(found):,} inside"), el("ul", *items))


def _error_line(error: ErrorInfo) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


def _lanes(lines: Timeline, summary: _summary.Summary | None, *, whole: bool) -> Html:
    with_tasks = len(lines.lanes) + sum(map(len, lines.task_lanes)) <= LANES
    lanes: list[Lane] = []
    for lane, tasks in zip(lines.lanes, lines.task_lanes, strict=True):
        lanes += [lane, *tasks] if with_tasks or whole else [lane]
    shown = lanes if whole else lanes[:LANES]
    wide = max((_columns(x) for x in shown), default=0)
    marks = [_mark_of_time(lines.length * part, lines.length) for part in (0.0, 0.5, 1.0)]
    axis = marks[0] + f"{marks[1]:>{WIDTH // 2 + len(marks[1]) // 2 - len(marks[0])}}"
    rows: list[Node] = [f"{'':{wide}} {axis}{marks[2]:>{WIDTH - len(axis)}}", "\n"]
    drawn, _ = _fit(shown, lambda x: _lane(x, wide, lines.length), None if whole else LANES_BYTES)
    rows += drawn
    counts = _timeline.at_once(lines, WIDTH)
    if wide >= len("at once"):
        rows += [_columns_of(f"{'at once':{wide}}", wide + 1), *_curve(counts)]
    spent = _timeline.totals(lines)
    legend: list[Node] = []
    for kind, (sign, word) in _timeline.KINDS.items():
        if spent[kind] >= 0.05:
            legend += [_columns_of(sign, 2, _BARS[kind]), f" {word} {_took(spent[kind])}\u2003"]
    legend.append(f"at most {_timeline.most_at_once(lines):,} at once")
    speedup = summary.speedup if summary is not None and summary.speedup is not None else 0.0
    faster = f" — {speedup:.1f}x faster than one by one" if speedup >= 1.05 else ""
    return _folded(
        join([el("strong", "Timeline"), faster]),
        el("pre", *rows, style="font-size:12px;line-height:1.25;overflow-x:auto;white-space:pre"),
        el("p", el("small", *legend)),
        _left_out(len(lanes) - len(drawn), "lane"),
        is_open=True,
        style=f"{_APART};{_BOX}" if len(drawn) >= TALL and not whole else _APART,
    )


def _lane(lane: Lane, wide: int, length: float) -> Html:
    return join([_columns_of(_lane_name(lane, wide), wide + 1), *_bars(lane, length), "\n"])


def _curve(counts: Sequence[int]) -> list[Node]:
    """How many ran at once, as columns of up to eight eighths."""
    highest = max(counts, default=0)
    drawn: list[Node] = []
    for count, group in groupby(counts):
        eighths = max(1, round(8 * count / highest)) if count else 0
        wide = len(list(group))
        style = f"overflow:hidden;height:{eighths / 8:.3g}em;background-color:#757d85;color:#757d85" if count else ""
        drawn.append(_columns_of(" ▁▂▃▄▅▆▇█"[eighths] * wide, wide, style))
    return drawn


def _mark_of_time(seconds: float, length: float) -> str:
    """A time on an axis of this length, so exact that its marks differ."""
    if length < 9.95:
        return f"{seconds:.{1 if length >= 1.95 else 2}f} s"
    return clock(seconds)


def _lane_name(lane: Lane, wide: int) -> Html:
    name = _words.one_line(lane.label, 26)
    gap = "  " if lane.is_task else ""
    return join([gap, _sign(lane.status), f" {name:{max(0, wide - len(gap) - 2)}}"])


def _columns(lane: Lane) -> int:
    return len(_words.one_line(lane.label, 26)) + (4 if lane.is_task else 2)


def _bars(lane: Lane, length: float) -> list[Node]:
    bars: list[Node] = []
    for kind, group in groupby(_timeline.paint(lane.spans, length, WIDTH)):
        count = len(list(group))
        sign, style = (" ", "") if kind is None else (_timeline.KINDS[kind][0], _BARS[kind])
        bars.append(_columns_of(sign * count, count, style))
    return bars


def _columns_of(text: Node, count: int, style: str = "") -> Html:
    """Text in so many columns, also where the font takes a sign from another one, of another width."""
    return el("span", text, style=f"display:inline-block;width:{count}ch" + (style and f";{style}"))


def _errors(failed: Sequence[RunState], *, whole: bool) -> Html:
    drawn, left = _fit(failed, lambda r: _error(r, whole=whole), None if whole else ERRORS_BYTES)
    style = _BOX if len(drawn) >= TALL and not whole else None
    title = el("strong", f"Errors ({len(failed):,})")
    return _folded(title, *drawn, _left_out(left, "error"), is_open=True, style=style)


def _error(run: RunState, *, whole: bool) -> Html:
    error = run.error
    assert error is not None
    title = join(
        [_sign(run.status), f" {run.index} ", _label(run.label), " — ", _label(_error_line(error), MESSAGE_CHARS)]
    )
    return _folded(title, _error_body(error, None if whole else TRACEBACK_CHARS))


def _error_body(error: ErrorInfo, room: int | None) -> Html:
    said = error.message if room is None else error.message[:room]
    cut = len(error.message) - len(said)
    return join(
        [
            el(
                "p",
                el("strong", error.type),
                ": ",
                el("span", said, dir="auto"),
                f" … {cut:,} more characters" if cut else "",
            ),
            el("p", el("em", "What to do: "), _label(error.hint, 2 * MESSAGE_CHARS)) if error.hint else None,
            el("pre", _end_of(error.traceback, room), style="overflow-x:auto") if error.traceback else None,
        ]
    )


def _end_of(words: str, room: int | None) -> str:
    """The end of a traceback says most."""
    if room is None or len(words) <= room:
        return words
    return f"… {len(words) - room:,} more characters before this\n{words[-room:]}"


def _outputs(spoken: Sequence[RunState], *, whole: bool) -> Html:
    def draw(run: RunState) -> Html:
        notes = f" — {len(run.output):,} characters" + (", offline LLM" if run.offline else "")
        title = join([_sign(run.status), f" {run.index} ", _label(run.label), notes])
        return _folded(title, markdown(run.output, limit=_markdown.LIMIT if whole else OUTPUT_CHARS))

    drawn, left = _fit(spoken, draw, None if whole else OUTPUTS_BYTES)
    style = _BOX if len(drawn) >= TALL and not whole else None
    return _folded(el("strong", f"Outputs ({len(spoken):,})"), *drawn, _left_out(left, "output"), style=style)


def _card(card: ResultCard, *, is_open: bool, whole: bool) -> Html:
    return _folded(_title(card), _output(card, None if whole else OUTPUT_CHARS), is_open=is_open)


def _title(card: ResultCard) -> Html:
    facts = [
        "" if card.seconds is None else _took(card.seconds),
        f"{card.usage.total_tokens:,} tokens" if card.usage.total_tokens else "",
        money(card.cost) if card.cost else "",
        "offline LLM" if card.offline else "",
    ]
    shown = [f for f in facts if f]
    status = join([_sign(card.status), f" {card.status}"])
    return join([el("strong", card.index, " ", _label(card.label)), "  ", status, *(f" · {f}" for f in shown)])


def _output(card: ResultCard, room: int | None) -> Html:
    if card.error is not None:
        return _error_body(card.error, TRACEBACK_CHARS if room is None else room)
    if card.structured is not None:
        return _data(card.structured, TABLE_DEPTH)
    if not card.raw:
        return el("p", el("em", "no output"))
    return markdown(card.raw, limit=_markdown.LIMIT if room is None else room)


def _data(value: Any, depth: int) -> Html:
    """Plain data as tables: a mapping by its keys, a list of mappings by their keys as columns."""
    if isinstance(value, Mapping) and value and depth:
        rows = [
            el("tr", el("th", _label(str(k)), scope="row", style=_LEFT), el("td", _data(v, depth - 1), style=_LEFT))
            for k, v in list(value.items())[:TABLE_ROWS]
        ]
        return join([el("table", el("tbody", *rows)), _left_out(len(value) - len(rows), "field")])
    if isinstance(value, list | tuple) and value and depth:
        items = list(value[:TABLE_ROWS])
        left = _left_out(len(value) - len(items), "item")
        columns = list(dict.fromkeys(k for i in items if isinstance(i, Mapping) for k in i))
        if all(isinstance(i, Mapping) for i in items) and 0 < len(columns) <= TABLE_COLUMNS:
            head = el("tr", *(el("th", _label(str(c)), scope="col", style=_LEFT) for c in columns))
            rows = [
                el("tr", *(el("td", _data(i[c], depth - 1) if c in i else None, style=_LEFT) for c in columns))
                for i in items
            ]
            return join([el("table", el("thead", head), el("tbody", *rows)), left])
        return join([el("ul", *(el("li", _data(i, depth - 1)) for i in items)), left])
    return _scalar(value)


def _scalar(value: Any) -> Html:
    if isinstance(value, str):
        words = value
    else:
        try:
            words = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):
            words = type(value).__name__
    cut = len(words) - OUTPUT_CHARS
    return el("span", words[:OUTPUT_CHARS], f" … {cut:,} more characters" if cut > 0 else "", dir="auto")


def _mark(kind: str, words: Node) -> Html:
    if kind == "removed":
        return el("del", words, style="background:rgba(224,49,49,.18)")
    return el("ins", words, style="background:rgba(47,158,68,.22)")


def _piece(piece: _diff.Piece) -> Html:
    return join([piece.text]) if piece.kind == "same" else _mark(piece.kind, piece.text)


def _differences(pieces: Sequence[_diff.Piece]) -> list[Node]:
    """The changes with a few words around each; what lies between is counted."""
    return [el("em", p.text) if p.kind == "folded" else _piece(p) for p in _diff.folded(pieces)]


def _prose(parts: Sequence[Node]) -> Html:
    return el("div", *parts, dir="auto", style="white-space:pre-wrap")
