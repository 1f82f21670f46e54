"""The options as the form has them: which there are, and their words."""

from __future__ import annotations

from typing import Any

from crew_nb._state.options import DEFAULT_CONCURRENCY, DEFAULT_RETRIES

CONTROLS = (
    # name, label, what stands there while it is empty, kind, shown at once
    ("max_concurrency", "Runs at once", str(DEFAULT_CONCURRENCY), "text", True),
    ("timeout", "Seconds per run", "no limit", "text", True),
    ("max_retries", "Retries per call", str(DEFAULT_RETRIES), "text", True),
    ("max_rpm", "Calls per minute", "no limit", "text", True),
    ("max_cost", "Budget in US$", "no limit", "text", True),
    ("name", "Name of the batch", "", "text", False),
    ("max_total_tokens", "Budget in tokens", "no limit", "text", False),
    ("max_tpm", "Tokens per minute", "no limit", "text", False),
    ("idle_timeout", "Seconds without a sign", "no limit", "text", False),
    ("max_errors", "Failures allowed", "no limit", "text", False),
    ("fail_fast", "Stop at the first failure", "", "switch", False),
    ("resume", "Skip what is on record", "", "switch", False),
    ("keep_replay", "Keep outputs for replay", "", "switch", False),
)
HELD = {name: kind for name, _, _, kind, _ in CONTROLS}


def holds(name: str, value: Any) -> bool:
    """Whether the form has a control for the option that can hold the value."""
    return name in HELD and (HELD[name] == "text" or isinstance(value, bool))


def words_for(value: Any) -> str:
    """What stands in the control for the value."""
    if value is None or value is False:
        return ""
    return "true" if value is True else str(value)


def value_of(name: str, words: str) -> Any:
    """What the words of an option mean; words that are no number stay words, for `Options` to refuse."""
    words = words.strip()
    if HELD[name] == "switch":
        return words == "true"
    if name == "name" or words == "auto":
        return words
    if words == "None":  # as in a cell
        return None
    for kind in (int, float):
        try:
            return kind(words)
        except ValueError:
            continue
    return words


def in_a_form(name: str, said: str) -> str:
    """An OptionError's advice for who has a box before them and no cell."""
    return said.replace(f"{name}=", "").replace("or None for", "or leave it empty for")
