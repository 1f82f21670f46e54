"""What untrusted words are tried with, and what may be left of them: parsed as browsers parse."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import html5lib

from crew_nb._board import markdown as _markdown
from crew_nb._board import static as _static
from crew_nb._state import events as ev
from crew_nb._state.state import BatchState, advance
from tests.support.batches import TASKS, ZERO, failed_run, finished_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

VECTORS: list[str] = json.loads((Path(__file__).parents[1] / "data" / "xss" / "vectors.json").read_text())

# fmt: off
TAGS = {
    "html", "head", "body", "main", "h1", "h5", "h6", "title", "meta", "style", "a", "blockquote", "br", "code",
    "del", "details", "div", "em", "hr", "ins", "li", "ol", "p", "pre", "s", "section", "small", "span", "strong",
    "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
# fmt: on
ATTRIBUTES = {
    "a": {"href", "target", "rel", "title"},
    "html": {"lang"},
    "meta": {"charset", "http-equiv", "content", "name"},
    "ol": {"start"},
    "td": {"align", "valign"},
    "th": {"align", "scope", "valign"},
    "details": {"open"},
}
EVERYWHERE = {"dir", "style", "class", "title", "lang"}
STYLES = re.compile(
    r"(?:(?:text-align:(?:left|right|center)|color:#[0-9a-f]{6}|background:rgba\([\d,.]+\)|display:inline-block|width:\d{1,3}ch|font-size:12px"
    r"|background-color:#[0-9a-f]{6}|height:(?:0|[\d.]+em)|border-top:[12]px (?:solid|dashed|dotted)(?: #[0-9a-f]{6})?"
    r"|overflow:hidden|vertical-align:middle|line-height:1.25|max-height:420px|margin-top:12px|overflow(?:-x)?:auto|white-space:pre(?:-wrap)?);?)*"
)


def dangers(html: str) -> list[str]:
    """Whatever in the HTML is not on the list of what may be there."""
    found: list[str] = []
    for element in html5lib.parse(html, namespaceHTMLElements=False).iter():
        if not isinstance(element.tag, str):
            found.append(f"a comment: {element.text}")
        elif element.tag not in TAGS:
            found.append(f"<{element.tag}>")
        else:
            found += _attributes(element)
    return found


def _attributes(element: Element) -> list[str]:
    found = []
    for name, value in element.attrib.items():
        if name not in EVERYWHERE | ATTRIBUTES.get(element.tag, set()):
            found.append(f"<{element.tag} {name}={value!r}>")
        if name == "href" and urlsplit(value).scheme not in ("http", "https", "mailto"):
            found.append(f"href={value!r}")
        if name == "style" and not STYLES.fullmatch(value):
            found.append(f"style={value!r}")
        if name == "class" and value.removeprefix("crew-nb ") != "mathjax_ignore tex2jax_ignore":
            found.append(f"class={value!r}")
    return found


def words(html: str) -> str:
    """The text of the HTML as it is read: blocks and cells apart, white space made one."""
    return " ".join("".join(_said(html5lib.parse(html, namespaceHTMLElements=False))).split())


def _said(element: Element) -> Iterator[str]:
    apart = "" if element.tag in ("a", "code", "del", "em", "ins", "small", "span", "strong") else " "
    yield apart + (element.text or "" if isinstance(element.tag, str) else "")
    for child in element:
        yield from _said(child)
        yield child.tail or ""
    yield apart


def tainted(vector: str) -> BatchState:
    """A batch in which everything that comes from outside is the vector."""
    error = ev.ErrorInfo(type=vector, message=vector, traceback=vector, hint=vector)
    tasks = tuple(replace(t, name=vector, agent=vector) for t in TASKS)
    runs = [finished_run(0, vector, 0.0, words=vector), failed_run(1, vector, 0.0, error=error)]
    named = [tuple(replace(t, spec=s) for t, s in zip(r.tasks, tasks, strict=True)) for r in runs]
    runs = [replace(r, label=vector, worker=vector, tasks=t) for r, t in zip(runs, named, strict=True)]
    live = ev.WaitStarted(run=2, at=ZERO + 1, key="w", reason="retry", task=0, detail=vector)
    waiting = replace(failed_run(2, vector, 0.0), status="running", finished=None, error=None)
    return BatchState(
        key="k", name=vector, runs=(*runs, advance(waiting, live)), created=ZERO, notes=(vector,), limit_reason=vector
    )


def cards(vector: str) -> list[_static.ResultCard]:
    """Results in which everything that comes from outside is the vector."""
    error = ev.ErrorInfo(type=vector, message=vector, traceback=vector, hint=vector)
    nested = {vector: vector, "list": [{vector: vector}, {"b": [vector]}], "plain": [vector, 1, None]}
    return [
        _static.ResultCard(index=0, label=vector, status="done", raw=vector),
        _static.ResultCard(index=1, label=vector, status="done", structured=nested),
        _static.ResultCard(index=2, label=vector, status="failed", error=error),
    ]


def renderings(vector: str) -> dict[str, str]:
    """Everything that can be made of the vector, by name."""
    state, made = tainted(vector), cards(vector)
    board, results = _static.board(state), _static.results(made)
    compared = _static.compare(vector, f"a {vector} b", vector, f"a b {vector}")
    return {
        "markdown": _markdown.render(vector),
        "markdown in a list": _markdown.render(f"- {vector}\n- {vector}"),
        "board": board,
        "results": results,
        "compare": compared,
        "timeline": _static.timeline(state),
        "page": _static.page(vector, board, results, compared),
    }
