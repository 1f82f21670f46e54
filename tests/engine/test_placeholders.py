"""Which braces are filled in: what the user wrote as a placeholder, once; all else goes out as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Task

import crew_nb as cnb
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Callable


def _crew(*texts: str, role: str = "Clerk") -> Crew:
    by = Agent(role=role, goal="g", backstory="b", llm=ScriptedLLM(["said"]))
    return Crew(agents=[by], tasks=[Task(description=text, expected_output="e", agent=by) for text in texts])


def _asked(source: Any, inputs: dict[str, Any] | None = None) -> str:
    return cnb.kickoff(source, inputs, show=False).wait(60).tasks_output[0].description


@pytest.mark.parametrize(
    "inputs",
    [
        {"template": "Dear {name}, welcome", "name": "Ann"},
        {"template": "Use {template} and {other}", "name": "Bob"},
        {"template": "[{name}]", "name": "{template}"},
    ],
)
def test_values_are_data(inputs: dict[str, Any]) -> None:
    """Braces in a value stay, whether a factory wrote it or a placeholder was filled with it."""
    words = "Rate <<{}>> by {}".format(*inputs.values())
    assert _asked(lambda template, name: _crew(f"Rate <<{template}>> by {name}"), inputs) == words
    assert _asked(_crew("Rate <<{template}>> by {name}"), inputs) == words
    assert _asked(lambda template: _crew(f"Rate <<{template}>> by {{name}}"), inputs) == words


def test_what_a_factory_left_is_text() -> None:
    """Beside the value that it wrote there, and where all inputs went to it; a placeholder is filled as ever."""

    def greet(name: str) -> Crew:
        return _crew(f"Write a letter with {{name}} in it for {name}")

    assert _asked(greet, {"name": "Ann"}) == "Write a letter with {name} in it for Ann"
    assert _asked(lambda name: _crew("x_{i} of {name}"), {"name": "Ann"}) == "x_{i} of Ann"
    shout: Callable[[str, str], Crew] = lambda text, name: _crew(text.upper().lower())  # noqa: E731
    assert _asked(shout, {"text": "As {name}  says", "name": "Ann"}) == "as {name}  says"


@pytest.mark.parametrize("text", ["A template with {{name}}", "Dear {name}", "The sum $x_{i}$"])
def test_without_inputs_texts_go_out_as_they_are(text: str) -> None:
    """And the board's head names what stands in braces."""
    for source in (_crew(text), lambda: _crew(text)):
        batch = cnb.gather(source, show=False)
        assert batch.wait(60)[0].tasks_output[0].description == text
        (note,) = (note for note in batch.state().notes if "Nothing was filled in" in note)
        assert text[text.index("{") : text.rindex("}") + 1] in note


def test_a_missing_input_says_how_to_write_braces() -> None:
    """What the message says works where it is said."""
    with pytest.raises(cnb.BlueprintError, match=r'give them as the value: "name": "\{name\}"'):
        cnb.kickoff(_crew("{topic} for {name}"), {"topic": "tea"}, show=False)
    assert _asked(_crew("{topic} for {name}"), {"topic": "tea", "name": "{name}"}) == "tea for {name}"
    assert _asked(_crew("{topic} for {{name}}"), {"topic": "tea"}) == "tea for {{name}}"
    with pytest.raises(cnb.BlueprintError, match=r"a pair: \(crew, \{"):
        cnb.gather((_crew("{topic} for {name}"), {"topic": "tea"}), show=False)
    with pytest.raises(cnb.BlueprintError, match=r"cnb\.gather\(\(crew_a, \{"):
        cnb.gather(_crew("{topic}"), _crew("{topic}"), inputs={"topic": "tea"}, show=False)  # type: ignore[call-arg]


def test_notes_speak_of_what_is_so() -> None:
    """A trigger's payload reaches the first task; and one run alone shares its memory and its limit with none."""
    crew = _crew("Look at it")
    run = cnb.kickoff_for_each(crew, [{"crewai_trigger_payload": {"id": 7}}], show=False)
    run.wait(60)
    assert run.state().notes == ()
    limited = _crew("d")
    limited.max_rpm = 50
    alone = cnb.gather(limited, show=False)
    alone.wait(60)
    assert alone.state().notes == ()
    several = cnb.gather(limited, limited, show=False)
    several.wait(60)
    assert any("limiter of its own" in note for note in several.state().notes)
