"""Rows are told apart by what differs between them, and seen to be, however long their inputs are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crew_nb._state import labels

COMMON = {"opening": "A long text that all runs have in common. " * 4, "profile": "Another one. " * 9}


def said(rows: list[dict[str, str]]) -> list[str]:
    """The labels of such rows."""
    return [labels.label(parts, row) for parts, row in zip(labels.parts(rows), rows, strict=True)]


def test_inputs_that_vary_come_first() -> None:
    """In the order given; those that all rows have come after, if there is room."""
    rows = [{**COMMON, "link": f"https://example.org/page/{n}", "stars": str(n % 2)} for n in range(4)]
    assert labels.telling(rows) == ("link", "stars")
    for n, text in enumerate(said(rows)):
        assert text.startswith(f"link=…/page/{n}, stars={n % 2}, opening=A long text that all")
        assert "profile=Another one." in text
        assert len(text) <= labels.LABEL_KEPT
    assert said([{"topic": "AI", "words": "200"}]) == ["topic=AI, words=200"]
    assert said([{"topic": "AI"}, {"topic": "ML"}, {}]) == ["topic=AI", "topic=ML", ""]


def test_a_row_has_a_column_for_each_input_that_varies() -> None:
    """Shown as in its label; where none varies, for each input."""
    rows = [{"text": f"{COMMON['opening']}{n}", "shop": "Berlin", "stars": str(n % 5)} for n in range(6)]
    told = [labels.columns(part, row, labels.telling(rows)) for part, row in zip(labels.parts(rows), rows, strict=True)]
    assert told[3] == (labels.Column("text", "…in common. 3"), labels.Column("stars", "3"))
    assert labels.called(told[3], "") == "…in common. 3 · 3"
    one = {"topic": "AI", "words": "200"}
    assert labels.called(labels.columns(labels.parts([one])[0], one, ()), "") == "AI · 200"


def test_long_values_are_shown_from_where_they_differ() -> None:
    """What all have at the beginning is left out where it would fill a narrow column; groups stay apart."""
    rows = [{"text": f"Review 0: the lamp stands on the desk of {name}"} for name in ("Ann", "Bob")]
    assert said(rows) == ["text=…desk of Ann", "text=…desk of Bob"]
    assert said([{"topic": "The future of AI"}, {"topic": "The future of art"}])[0] == "topic=The future of AI"
    rows = [{"url": f"https://{host}.example.org/a/long/way/to/{n}"} for host in "ab" for n in range(2)]
    assert len(set(said(rows))) == 4


def test_a_long_value_takes_no_room_from_the_others() -> None:
    """Every input that varies is named, with its share."""
    rows = [{"text": str(n) + "x" * 900, "product": "y" * 900 + str(n), "stars": str(n)} for n in range(3)]
    for n, text in enumerate(said(rows)):
        assert text.startswith(f"text={n}xxx")
        assert f"y{n}, stars={n}" in text


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text("xy/ ", max_size=300)), min_size=1, max_size=6))
def test_labels_are_bounded_and_rows_that_differ_early_have_different_ones(rows: list[dict[str, str]]) -> None:
    """Whatever the values are."""
    made = said(rows)
    assert all(len(text) <= labels.LABEL_KEPT for text in made)
    for name in labels.telling(rows):
        assert len({row.get(name) for row in rows}) > 1
    short = [row for row in rows if all(len(value) < 20 for value in row.values())]
    assert len(set(said(short))) == len({tuple(sorted(row.items())) for row in short})
