"""HTML as values: text is escaped by default, and no tag or attribute that could run or load anything can be made."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from crew_nb._state import words as _words

# fmt: off
_TAGS = frozenset({
    "br", "code", "del", "details", "div", "em", "hr", "ins", "li", "p", "pre", "section", "small", "span", "strong",
    "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
})
_ATTRIBUTES = frozenset({"aria-hidden", "class", "colspan", "dir", "open", "scope", "style", "title", "valign"})
# fmt: on
_EMPTY = frozenset({"br", "hr"})


class Html(str):
    """HTML that is safe to put into a page; made by what stands here and by `_board.markdown` only.

    Front ends are given it as a plain `str`: marimo cannot write any other.
    """

    __slots__ = ()


Node = Html | str | int | None | Iterable["Node"]
"""A child of an element: HTML, text to be escaped, nothing, or several of them."""


def el(tag: str, *children: Node, **attributes: str | bool | None) -> Html:
    """An element with its children; `class_` and `aria_hidden` stand for `class` and `aria-hidden`.

    Args:
        tag: One of the tags that are allowed here.
        *children: Strings are escaped, `Html` is kept, None is left out.
        **attributes: False and None are left out, True stands without a value.

    Raises:
        ValueError: The tag or an attribute is not allowed.
    """
    if tag not in _TAGS:
        raise ValueError(f"<{tag}> is not one of the tags that static HTML here may use")
    written = "".join(_attribute(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    if tag in _EMPTY:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def join(children: Iterable[Node]) -> Html:
    """The children one after another."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int):
            parts.append(text(str(child)))
        elif child is not None:
            parts.append(join(child))
    return Html("".join(parts))


def text(words: str) -> Html:
    """The words, escaped.

    A dollar sign stands in an element of its own: notebooks typeset what is between two of them as mathematics.
    """
    return Html(escape(_words.readable(words)).replace("$", "<span>$</span>"))


def picture(png: bytes) -> Html:
    """The picture, within the page."""
    return Html(f'<img alt="" style="max-width:100%" src="data:image/png;base64,{b64encode(png).decode()}">')


def prose(words: str) -> Html:
    """The words, escaped; what is between two backticks as code."""
    return join(el("code", part) if place % 2 else part for place, part in enumerate(words.split("`")))


def _attribute(name: str, value: str | bool | None) -> str:
    if name not in _ATTRIBUTES:
        raise ValueError(f"{name}= is not one of the attributes that static HTML here may use")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(_words.readable(value))}"'
