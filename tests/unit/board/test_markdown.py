"""What an LLM says becomes HTML that does nothing, or text that steers nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_nb._board import markdown as _markdown
from crew_nb._state import words as _words
from tests.support.safety import VECTORS, dangers, words


@given(st.text(st.characters(codec=None), max_size=400))
@settings(max_examples=150)
def test_any_string_is_taken(text: str) -> None:
    """Control characters, half characters, anything: it renders, and nothing in it is dangerous."""
    assert dangers(_markdown.render(text)) == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]", _words.plain(text))


PARTS = [*"<>&\"'`[]()!*_#|-~:\\/= \n\tabj", "javascript:", "onerror=", "<script>", "](", "![", "```"]


@given(st.lists(st.sampled_from(PARTS), max_size=60).map("".join))
@settings(max_examples=150)
def test_marks_and_tags_in_any_order_are_harmless(text: str) -> None:
    """Markup characters in any order leave nothing outside of the allow-list."""
    assert dangers(_markdown.render(text)) == []


def test_markdown_is_rendered() -> None:
    """Headings, emphasis, lists, code and tables come out as such."""
    html = _markdown.render("# A\n\n**b** ~~c~~\n\n3. x\n\n| l | r |\n|---|--:|\n| 1 | 2 |\n\n```py\nx < 1\n```")
    assert '<h5 dir="auto">A</h5>' in html
    assert "<strong>b</strong> <s>c</s>" in html
    assert re.search('<ol (start="3" dir="ltr"|dir="ltr" start="3")>', html)
    assert re.search(r'<td [^>]*align="right"[^>]*>2</td>', html)
    assert "<pre><code>x &lt; 1\n</code></pre>" in html


def test_html_is_shown_not_obeyed() -> None:
    """Tags that an LLM writes are words."""
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in _markdown.render("<script>alert(1)</script>")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///x", "/api", "//h/x", "x"]
)
def test_only_whole_web_and_mail_links_are_links(url: str) -> None:
    """Other schemes and relative links stay words."""
    html = _markdown.render(f"[click]({url})")
    assert "<a" not in html
    assert "click" in html


def test_links_say_nothing_of_where_they_were_clicked() -> None:
    """A link opens elsewhere, without opener and referrer."""
    html = _markdown.render("[x](https://example.org)")
    assert 'href="https://example.org" target="_blank" rel="noopener noreferrer nofollow"' in html


def test_images_are_links() -> None:
    """Nothing is loaded until somebody clicks; inside a link an image is its description."""
    html = _markdown.render("![a *map*](https://e.org/m.png) [![in](https://e.org/i.png)](https://e.org)")
    assert "<img" not in html
    assert 'href="https://e.org/m.png"' in html
    assert ">[image: a map]</a>" in html
    assert "i.png" not in html


def test_a_long_text_says_what_is_left_out() -> None:
    """A megabyte on one line is cut, and counted."""
    html = _markdown.render("x" * 1_000_000)
    assert len(html) < _markdown.LIMIT + 300
    assert "950,000 more characters" in html


@pytest.mark.parametrize(
    "text", ["|a" * 8000 + "\n" + "|-" * 8000 + "\n" + "a\n" * 2000, "&" * 50_000, ">" * 50_000, "[" * 5_000]
)
def test_a_short_text_cannot_ask_for_a_huge_page(text: str) -> None:
    """Tables, entities and nesting that blow up stay bounded."""
    assert len(_markdown.render(text)) < 8 * _markdown.LIMIT + 1_000


def test_colour_codes_go_and_half_characters_are_marked() -> None:
    """ANSI is removed, a lone surrogate is replaced, and the words stay."""
    assert words(_markdown.render("\x1b[1;31mred\x1b[0m \x1b]0;title\x07\ud83d end")) == "red \ufffd end"
    assert _words.plain("\x1b]8;;http://x\x07a\x1b]8;;\x07\x9b2Jb\rc\x00") == "ab\nc"


def test_each_block_has_its_own_direction() -> None:
    """A right-to-left paragraph does not turn its neighbours."""
    assert _markdown.render("שלום\n\nhello").count('<p dir="auto">') == 2
    assert _words.plain("\u202eabc") == "abc"


def test_a_list_has_one_direction_and_its_items_no_other() -> None:
    """That of its first word: an item of another direction would have its bullet outside of the list."""
    html = _markdown.render("- 1. *אחת*\n- two\n\n1. one\n   - שלום")
    assert re.findall("<(?:ul|ol|li)[^>]*>", html) == [
        *('<ul dir="rtl">', "<li>", '<ol dir="rtl">', "<li>", "<li>"),
        *('<ol dir="ltr">', "<li>", '<ul dir="rtl">', "<li>"),
    ]


def test_one_line_is_bounded() -> None:
    """It keeps the beginning."""
    assert _words.one_line("a\n b\tc", 10) == "a b c"
    assert _words.one_line("abcdef" * 10_000, 6) == "abcde…"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Use `pip install`, **now**, _then_ __go__.", "Use pip install, now, then go."),
        ("Half a **mark and `code", "Half a mark and code"),
        ("It ends in **", "It ends in"),
        ("- one\n* two\n> ## three\n1. four", "one two three 1. four"),
        ("2 * 3 = 6, 2*3, a_name, a - b, [1]", "2 * 3 = 6, 2*3, a_name, a - b, [1]"),
        ("See [the page](https://a.example/x_y) and ![a picture](https://a.ex", "See the page and a picture"),
        ("Read [the pa", "Read the pa"),
        ("```python\nx = 1\n```\nand `a_b * c`", "x = 1 and a_b * c"),
        ("Title\n=====\n| a | b |\n|---|---|\n| 1 | 2 |", "Title a | b 1 | 2"),
        (r"\*not\* a mark", "*not* a mark"),
    ],
)
def test_a_line_of_markdown_is_as_it_will_be_read(said: str, read: str) -> None:
    """Without marks, whole and half; what is no mark stays."""
    assert _markdown.in_a_line(said, 160) == read


def test_a_line_of_markdown_is_cut_at_its_end_alone() -> None:
    """With an ellipsis, also where what was cut is mostly marks."""
    assert _markdown.in_a_line("abcdef" * 10_000, 6) == "abcde…"
    assert _markdown.in_a_line("a" + "*" * 10_000 + "b", 6) == "a…"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("It was so. Then **it was", "Then it was"),
        ("It was so.", "It was so."),
        ("It was so. ", "It was so."),
        ("# Report\n\nThe market doubles", "The market doubles"),
        ("The market doubles\n\n- ", "The market doubles"),
        ("“Why?” He asked", "He asked"),
        ("It was so. See e.g. the market at 2.5 percent", "See e.g. the market at 2.5 percent"),
        ("words " * 1_000 + "end", ("words " * 200)[:159] + "…"),
    ],
)
def test_what_is_being_said_is_a_sentence_from_its_beginning(said: str, read: str) -> None:
    """The newest; where one has no end, whole words of it."""
    assert _markdown.being_said(said, 160) == read


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector: str) -> None:
    """No vector leaves an element, an attribute or a scheme outside of the allow-list."""
    assert dangers(_markdown.render(vector)) == []
    assert "\x1b" not in _words.plain(vector)


ANSWER = """## Robotics

Its **first _real_ customers** pay for `grip*` and ~~speed~~ [trust](https://example.com/a_b).

1. **Scope** comes first
2. a_name is no *mark*, 5 * 3 is none

| l | **r** |
|---|---|
| 1 | **2** |

```py
x = "**" ** 2
```
The end."""


def test_what_streams_is_read_without_marks_that_flicker() -> None:
    """Cut anywhere, an answer shows no mark that is not in what is read at its end, and its words come in order."""
    whole = words(_markdown.render(ANSWER))
    for end in range(len(ANSWER) + 1):
        seen = words(_markdown.render(_markdown.so_far(ANSWER[:end])))
        assert "".join(whole.split()).startswith("".join(seen.split())), ANSWER[:end][-30:]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("a **b", "<strong>b</strong>"),
        ("a **b *c", "<strong>b <em>c</em></strong>"),
        ("a **b*", "<strong>b</strong>"),
        ("* **b", "<strong>b</strong>"),
        ("see `x*", "<code>x</code>"),
        ("# **A", "<strong>A</strong>"),
    ],
)
def test_what_is_open_is_closed(said: str, read: str) -> None:
    """Words stand as they will once their marks are closed."""
    html = _markdown.render(_markdown.so_far(said))
    assert read in html
    assert "*" not in html


@given(st.lists(st.sampled_from(PARTS), max_size=60).map("".join))
@settings(max_examples=150)
def test_any_beginning_is_taken(text: str) -> None:
    """Markup characters in any order, cut anywhere, are closed without an error, and stay harmless."""
    assert dangers(_markdown.render(_markdown.so_far(text))) == []
