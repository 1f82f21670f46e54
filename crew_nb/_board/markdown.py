"""What an LLM says, made fit to be shown: as sanitized HTML, or as plain text for a terminal.

Any string is taken, none raises, and nothing that comes out runs, loads or restyles anything.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING
from unicodedata import bidirectional
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from crew_nb._state.html import Html
from crew_nb._state.words import one_line, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.rules_core import StateCore

LIMIT = 50_000
"""Characters of Markdown that are rendered; the rest is counted and left out."""

_SCHEMES = {"http", "https", "mailto"}
_BLOCKS = ("p", "h5", "h6", "blockquote", "td", "th")
_LISTS = ("ul", "ol")
_TAGS = {*_BLOCKS, *_LISTS, "li", "a", "br", "code", "del", "div", "em", "hr", "pre", "s", "strong"}
_TAGS |= {"table", "thead", "tbody", "tr"}


def render(text: str, *, limit: int = LIMIT) -> str:
    """The Markdown as sanitized HTML in one `<div dir="auto">`.

    HTML in it is shown as text. Only http, https and mailto links are kept, and images become links, so that
    nothing is requested before somebody clicks. Headings start at `h5`: deeper ones than JupyterLab
    lists in its table of contents.

    Args:
        text: What an LLM said; any string.
        limit: Characters that are rendered.
    """
    clean = readable(text[:limit])
    cut = len(text) - limit
    try:
        html = _parser().render(clean)
    except (RecursionError, ValueError, IndexError):  # a parser's fault must not cost the user the words
        html = f"<pre>{escape(clean)}</pre>"
    if len(html) > 8 * limit:  # a few characters of Markdown can ask for thousands of table cells
        html = f"<pre>{escape(clean)}</pre>"
    if cut > 0:
        html += f"<p><em>… {cut:,} more characters are not shown here</em></p>"
    return _sanitize(f"<div>{html}</div>")


def markdown(words: str, *, limit: int = LIMIT) -> Html:
    """The words as sanitized Markdown."""
    return Html(render(words, limit=limit))


def so_far(text: str) -> str:
    """Markdown that is still being written, as it will be read: without marks that only later words will explain.

    What is open at the end is closed, and a mark that nothing follows yet is left out, as is a table before its rows.
    """
    lines = text.split("\n")
    while lines and _says_nothing(lines[-1]):
        lines.pop()
    if not lines or open_fence("\n".join(lines)):
        return "\n".join(lines)
    table = first = len(lines)
    while table and lines[table - 1].lstrip().startswith("|"):
        table -= 1
    if len(lines) - table in (1, 2):
        return "\n".join(lines[:table])
    first -= 1
    while first and lines[first - 1].strip() and not _BEGINS.match(lines[first].lstrip()):
        first -= 1
    return "\n".join([*lines[:first], _closed("\n".join(lines[first:]))])


def _says_nothing(line: str) -> bool:
    """Whether there are marks alone in it, or the number of an item: what follows will tell what they are."""
    return not line.strip(_MARKS_OF_LINES) or _NUMBER.fullmatch(line.strip()) is not None


def open_fence(text: str) -> str:
    """The line that opened the block of code in which the text ends; empty where it ends in none."""
    fence = ""
    for found in _FENCE.finditer(text):
        mark = fence.strip()[:3]
        if not fence:
            fence = found[0]
        elif found[1].startswith(mark) and not found[2].strip():
            fence = ""
    return fence


def in_a_line(text: str, limit: int) -> str:
    """Markdown on one line of at most `limit` characters, as it will be read: the words without their marks."""
    kept = text[: 8 * limit]
    line = one_line(_INLINE.sub(_read, _OF_LINES.sub("", kept)), limit)
    return line if len(kept) == len(text) or line.endswith("…") else f"{line}…"


def being_said(text: str, limit: int) -> str:
    """The sentence that an LLM is at, from its beginning and as it will be read, cut at its end alone."""
    kept = text[-8 * limit :].rstrip()
    lines = kept.split("\n")
    while len(lines) > 1 and _says_nothing(lines[-1]):
        lines.pop()
    line = lines[-1].rstrip()
    begins = [found.end() for found in _SENTENCE.finditer(line)]
    if not begins and len(lines) == 1 and len(kept) < len(text.rstrip()):  # a sentence without an end: whole words
        begins = [line.find(" ") + 1]
    return in_a_line(line[begins[-1] if begins else 0 :], limit)


def _read(found: re.Match[str]) -> str:
    """What is read of code, a link and an escaped sign; nothing of a mark."""
    return found["code"] or found["link"] or found["sign"] or ""


_OF_LINES = re.compile(
    r"^[ \t]*[|:*_=-][ \t|:*_=-]{2,}$"  # a rule, also below a heading or in a table
    r"|^[ \t]*(?:`{3,}|~{3,}).*$"
    r"|^[ \t]*(?:(?:>|[-*+]|#{1,6})(?:[ \t]+|$))+"
    r"|^[ \t]*\|[ \t]*|\|[ \t]*$",
    flags=re.MULTILINE,
)
_INLINE = re.compile(
    r"(?P<ticks>`+)(?P<code>[^`]+)(?P=ticks)(?!`)|`+"
    r"|!?\[(?P<link>[^\[\]\n]*)\]\([^()\s]*(?:\)|$)|!?\[(?=[^\[\]]{0,80}$)"
    r"|\\(?P<sign>[!-/:-@\[-`{-~])"
    r"|(?<!\d)\*+(?=\S)|(?<=\S)\*+(?!\d)|\*+$|~~"  # 2 * 3 and 2*3 are read as they stand
    r"|(?<!\w)_+(?=\w)|(?<=\S)_+(?!\w)"  # and so is a_name
)
# Two letters before it: "e.g." ends no sentence, and neither does the number of an item.
_SENTENCE = re.compile(r"(?<=[\w)”*_`]{2})[.!?…][\"'”’)*_`]*\s+(?=\S)")

_MARKS_OF_LINES = " \t#>*+-=_~`|:"
_NUMBER = re.compile(r"\d{1,9}[.)]?")
_BEGINS = re.compile(r"#{1,6}\s|[-*+>|]|\d{1,9}[.)]\s")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)", flags=re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)(?:\](?:\([^()\s]*)?)?$")
_RUNS = re.compile(r"\\.|(`+)|(\*+|_+|~~)", flags=re.DOTALL)


def _closed(block: str) -> str:
    """A paragraph, heading or item with what is open in it closed."""
    at = len(block) - len(block.lstrip())
    begun = _BEGINS.match(block, at)
    at = begun.end() if begun else at
    words = _LINK.sub(r"\1", block[at:]).rstrip("*_~` \t\\")
    opened: list[str] = []
    code = ""
    for found in _RUNS.finditer(words):
        before, after = words[found.start() - 1 : found.start()], words[found.end() : found.end() + 1]
        if found[1]:
            code = "" if found[1] == code else code or found[1]
        elif found[2] and not code:
            _match(opened, found[2], before, after)
    return block[:at] + words + code + "".join(reversed(opened))


def _match(opened: list[str], run: str, before: str, after: str) -> None:
    """Take marks of emphasis as closing or opening some."""
    if run[0] == "_" and before.isalnum() and after.isalnum():  # a_name
        return
    while run:
        top = opened[-1] if opened else ""
        if top and run.startswith(top) and before.strip():
            run = run.removeprefix(opened.pop())
        elif after.strip():
            opened.append(run[:2])
            run = run[2:]
        else:
            return


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": False, "maxNesting": 20})
    parser.enable(["table", "strikethrough"])
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]
    parser.core.ruler.push("crew_nb", _tame)
    return parser


def _is_safe_link(url: str) -> bool:
    """Relative links are refused too: in a notebook they point into the server that holds it."""
    try:
        return urlsplit(url).scheme.lower() in _SCHEMES
    except ValueError:
        return False


def _tame(state: StateCore) -> None:
    """Headings below the page's own, alignment without a style, no image, lists that know their direction."""
    for place, token in enumerate(state.tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 4)}"
        elif token.type in ("td_open", "th_open"):
            # Both: GitHub strips the style, and JupyterLab's own rule for cells outweighs the attribute.
            style = str(token.attrs.setdefault("style", "text-align:left"))
            token.attrs["align"] = style.removeprefix("text-align:")
        elif token.tag in _LISTS and token.nesting == 1:
            # Not `auto`, which does not look into items that have a direction of their own; and an item that had
            # another one than its list would have its sign outside of it.
            token.attrs["dir"] = "rtl" if _is_rtl(state.tokens[place : place + 50]) else "ltr"
        elif token.type == "inline" and token.children:
            token.children = _without_images(token.children)


def _is_rtl(tokens: Sequence[Token]) -> bool:
    """Whether the first letter in them that has a direction is written from right to left."""
    for token in tokens:
        for letter in token.content:
            if (direction := bidirectional(letter)) in ("L", "R", "AL"):
                return direction != "L"
    return False


def _without_images(tokens: Sequence[Token]) -> list[Token]:
    kept: list[Token] = []
    links = 0
    for token in tokens:
        links += (token.type == "link_open") - (token.type == "link_close")
        if token.type != "image":
            kept.append(token)
            continue
        words = Token("text", "", 0, content=f"[image: {_alt(token) or 'no description'}]")
        if links:
            kept.append(words)
        else:
            opening = Token("link_open", "a", 1, attrs={"href": token.attrs["src"]})
            kept += [opening, words, Token("link_close", "a", -1)]
    return kept


def _alt(token: Token) -> str:
    return "".join(_alt(t) if t.children else t.content for t in token.children or ())


def _sanitize(html: str) -> str:
    """The second lock: whatever the parser let through, only these tags and attributes come out."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes={"a": {"href"}, "ol": {"start"}, "td": {"style"}, "th": {"style"}},
        filter_style_properties={"text-align"},
        tag_attribute_values={
            **{tag: {"align": {"left", "right", "center"}} for tag in ("td", "th")},
            **{tag: {"dir": {"ltr", "rtl"}} for tag in _LISTS},
        },
        set_tag_attribute_values={
            "a": {"target": "_blank"},
            **{block: {"dir": "auto"} for block in _BLOCKS},
            # Notebooks typeset what is between dollar signs as mathematics, whose macros are one more way to do harm.
            "div": {"dir": "auto", "class": "mathjax_ignore tex2jax_ignore"},
        },
        url_schemes=_SCHEMES,
        attribute_filter=lambda _tag, name, value: value if name != "href" or _is_safe_link(value) else None,
        link_rel="noopener noreferrer nofollow",
    )
