"""A whole page of static HTML, which forbids itself scripts and everything from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from crew_nb._state.html import Node, join, text

if TYPE_CHECKING:
    from collections.abc import Iterable


def document(title: str, body: Iterable[Node], *, pictures: bool = False) -> str:
    """A whole page that forbids itself scripts and everything from elsewhere."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    if pictures:  # those that are within it
        policy += "; img-src data:"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">',
        f"<title>{escape(title)}</title><style>{_style()}</style></head>",
        f"<body><main><h1>{text(title)}</h1>{join(body)}</main></body></html>\n",
    ]
    return "".join(parts)


@cache
def _style() -> str:
    return (Path(__file__).with_name("static") / "page.css").read_text(encoding="utf-8")
