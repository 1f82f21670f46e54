"""The cell that the launcher shows."""

from __future__ import annotations

import ast
import datetime
import enum
from pathlib import Path

from crew_nb._cells import code as _code
from tests.support import crews


class Tone(enum.Enum):
    PLAIN = "plain words"
    FORMAL = "formal words"


def test_the_code_means_the_same_inputs() -> None:
    """Read back by Python, it has the very inputs and options, whatever quotes and lines they hold."""
    inputs = [{"topic": 'a "quoted"\nline \\ {x}', "n": 1, "f": 0.5, "on": True, "tags": ["a", {"b": None}]}, {}]
    text = _code.cell("build", inputs, {"max_concurrency": 4, "name": "a\u2028b"})
    tree = ast.parse(text.replace("await ", ""))
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
    given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert given == {"inputs": inputs, "max_concurrency": 4, "name": "a\u2028b"}


def test_the_code_imports_what_it_names() -> None:
    """Paths, enums, dates and a factory from a module."""
    row = {"p": Path("a.txt"), "mood": Tone.FORMAL, "day": datetime.date(2026, 1, 31)}
    row["at"] = datetime.datetime(2026, 1, 31, 9, 30, tzinfo=datetime.UTC)
    text = _code.cell("build", [row], {}, ["from lab import build"])
    head = text.split("\n\n")[0].split("\n")
    assert set(head) == {
        "import crew_nb as cnb",
        "from lab import build",
        "from pathlib import Path",
        "import datetime as dt",
        f"from {__name__} import Tone",
    }
    names = {"Path": Path, "Tone": Tone, "dt": datetime}
    assert eval(text.partition("inputs=[")[2].partition("],")[0].strip(" ,\n"), names) == row


def test_a_crew_is_named_as_a_cell_can_name_it() -> None:
    """By its variable, its owner, its module, or the form itself."""

    class Research:
        def crew(self) -> None: ...

    owner = Research()
    of = object()
    named = _code.expression
    assert named(owner.crew, {"research": owner}, of) == ("research.crew", [])
    assert named(owner.crew, {"Research": Research}, of) == ("Research().crew", [])
    assert named(crews.one, {}, of) == ("one", ["from tests.support.crews import one"])
    assert named(lambda: None, {"Out": {7: of}, "_": of}, of) == ("Out[7].crew", [])
    name, lines = named(lambda: None, {}, of)
    assert ast.parse(_code.cell(name, [{}], {}, lines).replace("await ", ""))


def test_no_secret_is_written_into_the_cell() -> None:
    """A notebook is kept and shared: what is secret comes from the environment, at any depth, and in options too."""
    key = "sk-proj-Ab12cd34EF56gh78IJ90kl12MN34op56"
    row = {
        "topic": "AI",
        "api_key": key,
        "auth": [{"db password": "hunter2-hunter2"}],
        "note": f"use {key}",
        "token": "AI",
    }
    text = _code.cell("build", [row], {"name": f"with {key}"})
    assert key not in text
    assert "hunter2" not in text
    assert "import os\n" in text
    for part in (
        '"topic": "AI"',
        '"api_key": os.environ["API_KEY"]',
        '"auth": [{"db password": os.environ["DB_PASSWORD"]}]',
        '"note": os.environ["NOTE"]',
        'name=os.environ["NAME"]',
    ):
        assert part in text
    ast.parse(text.replace("await ", ""))
