"""Words for people, fit to be shown: text without what steers a terminal, on one line, clocks and money."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC and strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufff9-\ufffb]")
_BIDI = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def plain(text: str) -> str:
    """The words with nothing in them that steers a terminal: no escape, control or direction characters."""
    return _BIDI.sub("", readable(text))


def one_line(text: str, limit: int) -> str:
    """The words as `plain` gives them, on one line of at most `limit` characters."""
    line = " ".join(plain(text[: 4 * limit]).split())
    cut = len(line) > limit or len(text) > 4 * limit
    return line[: limit - 1] + "…" if cut else line


def readable(text: str) -> str:
    """The words without terminal escapes and control characters, and with half characters replaced."""
    text = text.replace("\r\n", "\n")
    text = _ESCAPES.sub("", text).replace("\r", "\n")
    text = _CONTROLS.sub("", text)
    return _SURROGATES.sub("\ufffd", text)


def clock(span: float) -> str:
    """Seconds as `0:42`, `12:07` or `1:02:03`."""
    minutes, secs = divmod(max(0, round(span)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def money(dollars: float) -> str:
    """US dollars as `$0.11`, with more places where less than a cent must not look like nothing."""
    if dollars == 0 or dollars >= 0.01:
        return f"${dollars:,.2f}"
    return f"${dollars:.4f}" if dollars >= 0.0001 else "<$0.0001"
