"""A blueprint and its inputs have one key in every kernel, and another one when their content changes."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import operator
import os
import re
import string
import subprocess
import sys
import threading
import uuid
import warnings
from array import array
from collections import UserDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crew_nb._record.fingerprint import fingerprint, run_key

FACTORY = """
MODEL = "{model}"
CONFIG = {{"role": "{role}", "tags": {{"a", "b", "c"}}}}
calls = []
def agent(topic):
    return (CONFIG["role"], topic, MODEL)
class Builder:
    tone = "{tone}"
    def build(self, topic):
        return agent(topic), self.tone
def build(topic, style="{style}"):
    calls.append(topic){comment}
    return Builder().build(topic), style, {{"x", "y", "z"}}
def make(depth):
    def inner(topic):
        return topic * depth
    return inner
"""
PLAIN = {"model": "gpt", "role": "writer", "tone": "dry", "style": "short", "comment": ""}


def namespace(**change: str) -> dict[str, Any]:
    """The factory's cell, run as a kernel runs it: without a file."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(FACTORY.format(**{**PLAIN, **change}), names)
    return names


def in_a_new_process(code: str, seed: str) -> str:
    """What another kernel prints."""
    env = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout


def test_a_factory_has_one_fingerprint_in_every_kernel(tmp_path: Path) -> None:
    """Hash seeds and processes make no difference, with source at hand and without."""
    module = tmp_path / "factories_of_a_test.py"
    module.write_text(FACTORY.format(**PLAIN))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import factories_of_a_test as f\n"
        "from crew_nb._record.fingerprint import *\n"
        f"names = {{'__name__': '__main__'}}; exec({FACTORY.format(**PLAIN)!r}, names)\n"
        "print(fingerprint(f.build), fingerprint(names['build']), fingerprint(names['Builder']().build),\n"
        "      fingerprint(lambda topic: names), run_key('b', {'s': {'a', 'b', 'c'}, 'd': {'x': 1, 'y': 2}}))"
    )
    first, second = in_a_new_process(code, "1"), in_a_new_process(code, "2")
    assert first == second
    assert len(set(first.split())) == 5


def test_running_a_cell_again_with_the_same_text_changes_nothing() -> None:
    """Neither does having been called, nor a comment where the source is known."""
    names = namespace()
    before = fingerprint(names["build"])
    names["build"]("AI")
    assert names["calls"] == ["AI"]
    assert fingerprint(namespace()["build"]) == before


@pytest.mark.parametrize("change", ["model", "role", "tone", "style"])
def test_what_a_factory_reaches_is_part_of_it(change: str) -> None:
    """Globals, functions, classes and default arguments of the user count."""
    assert fingerprint(namespace(**{change: "other"})["build"]) != fingerprint(namespace()["build"])


def test_what_a_factory_logs_and_a_comment_are_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that the factory appends to may grow, and comments may come and go."""
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))
    prints = []
    for name, comment in (("factory_one", ""), ("factory_two", "  # a comment")):
        (tmp_path / f"{name}.py").write_text(FACTORY.format(**{**PLAIN, "comment": comment}))
        module = importlib.import_module(name)
        prints.append(fingerprint(module.build))
        module.build("AI")
        prints.append(fingerprint(module.build))
    assert len(set(prints)) == 1


def test_closures_and_partials_carry_their_values() -> None:
    """The same function around another value is another blueprint."""
    make = namespace()["make"]
    assert fingerprint(make(1)) == fingerprint(make(1)) != fingerprint(make(2))
    assert fingerprint(partial(make, 1)) == fingerprint(partial(make, 1)) != fingerprint(partial(make, 2))


def test_a_lambda_is_known_by_itself() -> None:
    """The statement around it, with its options, may change."""
    build = namespace()["build"]
    first = [lambda topic: build(topic, "long"), "max_concurrency=4"][0]
    second = [lambda topic: build(topic, "long"), "max_concurrency=8, resume=True"][0]
    other = [lambda topic: build(topic, "brief"), "max_concurrency=4"][0]
    assert fingerprint(first) == fingerprint(second) != fingerprint(other)


def crew(**change: Any) -> Any:
    """A crew of two agents and two tasks, fresh each time."""
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool
    from pydantic import BaseModel, create_model

    marks = change.get("marks", 1)

    @tool("look")
    def look(q: str) -> str:
        """Looks."""
        return q * marks

    report = create_model("Report", title=(change.get("field", str), ...), __base__=BaseModel)
    llm = LLM(
        model=change.get("model", "openai/gpt-4o"),
        api_key=change.get("api_key", "sk-one-one-one-one-11"),
        temperature=change.get("temperature", 0.1),
    )
    agents = [
        Agent(role=change.get("role", "r {topic}"), goal="g", backstory="b", llm=llm, tools=[look]),
        Agent(role="second", goal="g", backstory="b", llm=llm),
    ]
    first = Task(description=change.get("task", "about {topic}"), expected_output="e", agent=agents[0])
    context = {"context": [first]} if change.get("context", True) else {}
    second = Task(description="d", expected_output="e", agent=agents[1], output_pydantic=report, **context)
    return Crew(
        agents=agents, tasks=[first, second], name=change.get("name", "crew"), verbose=change.get("verbose", False)
    )


def test_a_crew_is_known_by_its_content() -> None:
    """Built twice it is the same; keys, names and verbosity are no content."""
    before = fingerprint(crew())
    assert fingerprint(crew()) == before
    assert fingerprint(crew(api_key="sk-two-two-two-two-22", name="other", verbose=True)) == before


@pytest.mark.parametrize(
    "change",
    [
        *({"role": "x"}, {"task": "x"}, {"model": "openai/gpt-5"}, {"temperature": 0.9}),
        *({"context": False}, {"field": int}, {"marks": 2}),
    ],
)
def test_what_changes_the_answer_changes_the_fingerprint(change: dict[str, Any]) -> None:
    """Texts, LLM settings, context links, output types and the code of tools count."""
    assert fingerprint(crew(**change)) != fingerprint(crew())


async def test_a_crew_that_was_run_keeps_its_fingerprint() -> None:
    """CrewAI writes the inputs and its own state into the crew; the templates count."""
    from crewai import Agent, Crew, Task

    from crew_nb._crewai.offline import OfflineLLM

    agent = Agent(role="on {topic}", goal="g {topic}", backstory="b", llm=OfflineLLM(seed=1))
    ran = Crew(agents=[agent], tasks=[Task(description="about {topic}", expected_output="e {topic}", agent=agent)])
    before = fingerprint(ran)
    await ran.akickoff(inputs={"topic": "AI"})
    assert ran.agents[0].role == "on AI"
    assert fingerprint(ran) == before


def test_a_crew_class_keeps_its_fingerprint_when_it_is_used(tmp_path: Path) -> None:
    """`@CrewBase` keeps what it built in itself; the bound `crew` method is the same factory before and after."""
    from crewai import Agent, Crew, Task
    from crewai.project import CrewBase, agent, task
    from crewai.project import crew as a_crew

    from crew_nb._crewai.offline import OfflineLLM

    def define(goal: str) -> Any:
        @CrewBase
        class Research:
            agents: list[Any]
            tasks: list[Any]

            @agent
            def writer(self) -> Agent:
                return Agent(role="writer", goal=goal, backstory="b", llm=OfflineLLM(seed=1))

            @task
            def write(self) -> Task:
                return Task(description="about {topic}", expected_output="e", agent=self.writer())

            @a_crew
            def crew(self) -> Crew:
                return Crew(agents=self.agents, tasks=self.tasks)

        return Research

    used = define("g")()
    before = fingerprint(used.crew)
    used.crew()
    assert fingerprint(used.crew) == before == fingerprint(define("g")().crew)
    assert fingerprint(define("other")().crew) != before


def test_keys_follow_the_content_of_the_inputs() -> None:
    """The order of names makes no difference; types and values do, whatever the type; so does the repeat."""
    import numpy as np

    class Odd:
        __slots__ = ("lock",)

        def __init__(self) -> None:
            import threading

            self.lock = threading.Lock()

    assert run_key("b", {"a": 1, "b": 2}) == run_key("b", {"b": 2, "a": 1})
    values: list[Any] = [
        *(
            1,
            1.0,
            True,
            None,
            "1",
            "\ud800",
            b"1",
            (1,),
            [1],
            {1},
            {"1": 1},
            {1: 1},
            float("nan"),
            Decimal(1),
            Path("1"),
        ),
        *(dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), np.arange(3), np.arange(2000), np.arange(2000) * 2),
    ]
    keys = [run_key("b", {"x": value}) for value in values]
    assert len(set(keys)) == len(keys)
    assert keys == [run_key("b", {"x": value}) for value in values]
    assert run_key("b", {}, 0) != run_key("b", {}, 1) != run_key("c", {}, 1)
    # No content to compare: never taken for something that was run before.
    assert run_key("b", {"x": Odd()}) != run_key("b", {"x": Odd()})


def test_how_fast_an_offline_llm_is_and_what_it_refuses_is_no_content() -> None:
    """The run that failed because its LLM was told to refuse it is the same run once it is not; another seed is not."""

    def key(**options: Any) -> str:
        from crew_nb import OfflineLLM
        from tests.support import crews

        return fingerprint(crews.one(OfflineLLM(**options)))

    assert key() == key(latency=2.0, tokens_per_second=None, errors={"Mars": 401}, fail_rate=0.5, retry_after=2.0)
    assert key() != key(seed=1)


class Writer:
    """A factory's object as notebooks have them: settings, constants, a lock, an id, counters and caches."""

    _PROMPT = "plain"
    FORMS: Any = frozenset({"short"})

    def __init__(self, style: str, token_style: str = "dry", key: str = "sk-one-one-one-one-11") -> None:
        self._style = style
        self.token_style = token_style
        self.api_key = key
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._built = 0
        self._seen: list[str] = []
        self._cache: dict[str, str] = {}
        self._llm: Any = None

    @functools.cached_property
    def opening(self) -> str:
        return f"{self._style}!"

    def _count(self) -> None:
        self._built += 1

    def build(self, topic: str) -> Any:
        self._count()
        self._seen.append(topic)
        if topic not in self._cache:
            self._cache[topic] = topic.upper()
        self._llm = self._llm or object()
        return self._cache[topic], self._style, self.token_style, self._PROMPT, self.FORMS, self.opening

    __call__ = build


def test_all_that_an_objects_method_reads_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Private attributes and constants count, and those whose name only looks secret; keys, locks and ids do not."""
    for factory in (lambda w: w, lambda w: w.build):
        before = fingerprint(factory(Writer("a")))
        assert fingerprint(factory(Writer("a", key="sk-two-two-two-two-22"))) == before
        assert fingerprint(factory(Writer("b"))) != before
        assert fingerprint(factory(Writer("a", token_style="warm"))) != before
        for name, value in (("_PROMPT", "other"), ("FORMS", frozenset({"long"}))):
            with monkeypatch.context() as patch:
                patch.setattr(Writer, name, value)
                assert fingerprint(factory(Writer("a"))) != before


def test_an_object_that_has_built_keeps_its_fingerprint() -> None:
    """What its methods count, log, keep for the next time and work out late changes no answer."""
    used = Writer("a")
    before = fingerprint(used.build)
    used.build("AI")
    assert used.opening == "a!"
    assert fingerprint(used.build) == before


@dataclass
class Settings:
    style: str = "dry"
    n: int = 0


CONFIG: dict[str, Any] = {"tone": "mild", "deep": {"voice": "low"}}
SETTINGS = Settings()
RULES = ["be brief"]
KNOWN_CACHE: dict[str, str] = {}
STYLE = "dry"


def note(topic: str) -> None:
    CONFIG["topic"] = topic
    CONFIG["deep"]["about"] = topic
    CONFIG.update(last=topic)


def build_from_what_it_writes_to(topic: str) -> Any:
    global STYLE  # as beginners write it to read one
    note(topic)
    SETTINGS.n += 1
    KNOWN_CACHE[topic] = topic
    return CONFIG["topic"], CONFIG["tone"], CONFIG["deep"]["voice"], SETTINGS.style, RULES[0], KNOWN_CACHE[topic], STYLE


def test_a_factory_that_has_built_keeps_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys and attributes that it and its helpers write are no content."""
    monkeypatch.setitem(CONFIG, "deep", {"voice": "low"})
    before = fingerprint(build_from_what_it_writes_to)
    for topic in ("AI", "ML"):
        build_from_what_it_writes_to(topic)
        assert fingerprint(build_from_what_it_writes_to) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setitem(CONFIG, "tone", "wild"),
        lambda patch: patch.setitem(CONFIG["deep"], "voice", "high"),
        lambda patch: patch.setattr(SETTINGS, "style", "lush"),
        lambda patch: patch.setitem(globals(), "RULES", ["be long"]),
        lambda patch: patch.setitem(globals(), "STYLE", "lush"),
    ],
)
def test_what_stands_beside_a_written_entry_counts(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old answer is not given for a new prompt, because a counter is kept in the same object."""
    before = fingerprint(build_from_what_it_writes_to)
    change(monkeypatch)
    assert fingerprint(build_from_what_it_writes_to) != before


def test_a_written_container_counts_where_its_entries_cannot_be_told() -> None:
    """One run too many is paid for, rather than an old answer taken for a new one."""

    def make(rules: list[str], options: dict[str, str]) -> Any:
        def build(topic: str) -> Any:
            rules.append(topic)
            options[topic] = topic
            return rules, options

        return build

    before = fingerprint(make(["a"], {"b": "c"}))
    assert fingerprint(make(["a"], {"b": "c"})) == before
    assert fingerprint(make(["x"], {"b": "c"})) != before
    assert fingerprint(make(["a"], {"b": "x"})) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (string.Template("Say $topic"), string.Template("Shout $topic")),
        (re.compile("a"), re.compile("b")),
        ("Say {}".format, "Shout {}".format),
        (UserDict(a=1), UserDict(a=2)),
        (deque([1]), deque([2])),
        (list[int], list[str]),
        (range(3), range(5)),
        (slice(3), slice(5)),
        (3j, 5j),
        (array("d", [3]), array("d", [5])),
        (operator.itemgetter("old"), operator.itemgetter("new")),
        (operator.methodcaller("upper"), operator.methodcaller("lower")),
        (itertools.repeat("old"), itertools.repeat("new")),
        (SimpleNamespace(a=SimpleNamespace(b="old")), SimpleNamespace(a=SimpleNamespace(b="new"))),
        (max, min),
        (str.upper, str.lower),
        (defaultdict(lambda: "old"), defaultdict(lambda: "new")),
        (deque([1], maxlen=1), deque([1], maxlen=2)),
        ({"old": 1, "new": 2}, {"new": 2, "old": 1}),
        ({"old": 1}.keys(), {"new": 1}.keys()),
    ],
)
def test_objects_of_libraries_count_by_what_they_hold(one: Any, other: Any) -> None:
    """A prompt may be a template object, too."""

    def using(thing: Any) -> Any:
        return lambda topic: (thing, topic)

    assert fingerprint(using(one)) == fingerprint(using(one)) != fingerprint(using(other))


def test_a_users_model_counts_whatever_its_fields_are_called() -> None:
    """`name`, `output` and `timeout` say nothing of a crew, but they may be words of a prompt."""
    from pydantic import BaseModel, PrivateAttr

    class Options(BaseModel):
        name: str = "a"
        output: str = "b"
        token_style: str = "c"
        _tone: str = PrivateAttr(default="d")

    def using(**change: str) -> str:
        private = change.pop("_tone", "d")
        options = Options(**change)
        options._tone = private
        return fingerprint(lambda topic: (options, topic))

    before = using()
    assert using() == before
    assert len({before, *(using(**{name: "x"}) for name in ("name", "output", "token_style", "_tone"))}) == 5


def look_up_crew(name: str = "look up", hidden: str = "p", kept: Any = None) -> Any:
    """A crew with a tool of the user's class, which counts, logs and keeps what it has found."""
    from crewai import Agent, Crew, Task
    from crewai.tools import BaseTool
    from pydantic import PrivateAttr

    from tests.support.scripted_llm import ScriptedLLM, tool_call

    class LookUp(BaseTool):
        description: str = "Looks up"
        _hidden: str = PrivateAttr(default="p")
        _uses: int = PrivateAttr(default=0)
        _cache: dict[str, str] = PrivateAttr(default_factory=dict)
        _lock: Any = PrivateAttr(default_factory=threading.Lock)

        def _run(self, q: str) -> str:
            self._uses += 1
            if q not in self._cache:
                self._cache[q] = q + self._hidden
            return self._cache[q]

    tool = LookUp(name=name)
    tool._hidden = hidden
    llm = ScriptedLLM([[tool_call("look_up", '{"q": "x"}')], "done"], native_tools=True)
    agent = Agent(role="r", goal="g", backstory="b", llm=llm, tools=[tool])
    return Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent, guardrail=kept)])


async def test_a_tool_counts_with_its_private_attributes_and_keeps_its_fingerprint_when_it_is_used() -> None:
    """Nothing of CrewAI's or pydantic's own counts, nor the counters and caches of the tool."""
    crew = look_up_crew()
    before = fingerprint(crew)
    assert fingerprint(look_up_crew()) == before
    assert len({before, fingerprint(look_up_crew(hidden="q")), fingerprint(look_up_crew(name="find"))}) == 3
    await crew.akickoff()
    assert crew.agents[0].tools[0]._cache == {"x": "xp"}
    assert fingerprint(crew) == before


def test_a_guardrail_object_counts_by_what_it_asks_for() -> None:
    """CrewAI's own guardrail is no model, and its sentence is a prompt."""
    from crewai.tasks.llm_guardrail import LLMGuardrail

    from crew_nb._crewai.offline import OfflineLLM

    kind, rude = (fingerprint(look_up_crew(kept=LLMGuardrail(f"Be {how}", OfflineLLM()))) for how in ("kind", "rude"))
    assert kind == fingerprint(look_up_crew(kept=LLMGuardrail("Be kind", OfflineLLM()))) != rude


def test_nothing_is_said_while_a_fingerprint_is_taken() -> None:
    """Pydantic's warnings of what a JSON schema cannot hold would stand in the user's cell."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fingerprint(look_up_crew())
    assert [str(warning.message) for warning in said if "JSON" in str(warning.message)] == []


def test_every_shape_of_crew_has_one_fingerprint_in_every_kernel() -> None:
    """Those of the conformance tests, as Crews and as factories; built twice, in two processes."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from crew_nb._record.fingerprint import fingerprint\n"
        "from tests.conformance.paths import Stage\n"
        "from tests.conformance.shapes import SHAPES\n"
        "for shape in SHAPES:\n"
        "    stages = [Stage(), Stage()]\n"
        "    print(shape.name, *[fingerprint(shape.build(stage)) for stage in stages], fingerprint(shape.build))\n"
        "    [close() for stage in stages for close in stage.closing]\n"
    )
    first, second = in_a_new_process(code, "1"), in_a_new_process(code, "2")
    assert first == second
    assert first.count("\n") > 60
    assert all(one == other for _, one, other, _ in map(str.split, first.splitlines()))


def test_an_iterator_counts_by_what_is_left_in_it() -> None:
    """It is not moved on."""

    def using(words: list[str]) -> Any:
        left = iter(words)
        return (lambda topic: next(left)), left

    build, left = using(["old", "new"])
    before = fingerprint(build)
    assert fingerprint(build) == fingerprint(using(["old", "new"])[0]) == before
    assert next(left) == "old"
    assert fingerprint(build) != before


class Words(dict[str, str]):
    """A user's own subclass of one of Python's types."""

    tone = "dry"


class Prompt(str):
    """The same of a text."""

    def __new__(cls, text: str, tone: str) -> Prompt:
        made = super().__new__(cls, text)
        made.tone = tone  # type: ignore[attr-defined]
        return made


def test_what_a_subclass_of_pythons_types_adds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict, or a text, with attributes and methods of the user's."""

    def using(thing: Any) -> str:
        return fingerprint(lambda topic: (thing, topic))

    assert using(Prompt("Say", "dry")) == using(Prompt("Say", "dry")) != using(Prompt("Say", "warm"))
    before = using(Words(a="b"))
    monkeypatch.setattr(Words, "tone", "warm")
    assert using(Words(a="b")) != before


MODULES = {
    "texts_of_a_test.py": "TEXT = 'old'\nother = 'old'\n",
    "pack_of_a_test/__init__.py": "from . import inner\n",
    "pack_of_a_test/inner.py": "TEXT = 'new'\ndef outer(): return deeper()\ndef deeper(): return 'old'\n",
    "late_of_a_test.py": "import texts_of_a_test as found\nTEXT = 'old'\ndef said(): return found.TEXT\n",
}
WAYS = """
import texts_of_a_test
import pack_of_a_test
def function_two_deep(topic): return pack_of_a_test.inner.outer()
def of_two_modules(topic): return texts_of_a_test.TEXT, pack_of_a_test.inner.TEXT
def imported(topic):
    import late_of_a_test
    return late_of_a_test.TEXT
def imported_under_another_name(topic):
    import pack_of_a_test.inner as found
    return found.outer()
def imported_from(topic):
    from pack_of_a_test import inner as found
    return [found.outer() for _ in topic]
def imported_function(topic):
    from late_of_a_test import said
    return said()
def imported_whole(topic):
    import texts_of_a_test as found
    return getattr(found, "TE" + "XT")
"""


def test_what_is_reached_through_modules_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep, imported at the top or late, under whichever name; a late import is looked into."""
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))

    def keys(**changes: str) -> dict[str, Any]:
        for name, source in MODULES.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(changes.get(name.partition("_")[0], source))
            sys.modules.pop(name[:-3].replace("/", "."), None)
            sys.modules.pop(name.partition("/")[0], None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(WAYS, names)
        return {name: fingerprint(made) for name, made in names.items() if callable(made)}

    before = keys()
    assert keys() == before
    deeper = MODULES["pack_of_a_test/inner.py"].replace("return 'old'", "return 'now'")
    with monkeypatch.context() as patch:
        patch.setitem(MODULES, "pack_of_a_test/inner.py", deeper)
        changed = {name for name, key in keys().items() if key != before[name]}
    assert changed == {"function_two_deep", "imported_under_another_name", "imported_from"}
    changed = {name for name, key in keys(texts="TEXT = 'now'\nother = 'old'\n").items() if key != before[name]}
    assert changed == {"of_two_modules", "imported_function", "imported_whole"}
    changed = {
        name
        for name, key in keys(late=MODULES["late_of_a_test.py"].replace("'old'", "'now'")).items()
        if key != before[name]
    }
    assert changed == {"imported"}
    assert not any(key.unseen for key in before.values())


def test_values_of_one_name_in_two_modules_are_not_mixed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of two modules, one for the other, are another blueprint."""
    spaces: list[dict[str, Any]] = [{"__name__": "__main__", "TEXT": text} for text in ("a", "b")]
    for space in spaces:
        exec("def said(topic): return TEXT", space)
    first, second = (space["said"] for space in spaces)
    before = fingerprint(lambda topic: (first(topic), second(topic)))
    spaces[0]["TEXT"], spaces[1]["TEXT"] = "b", "a"
    assert fingerprint(lambda topic: (first(topic), second(topic))) != before


def test_what_cannot_be_looked_into_is_like_nothing_else() -> None:
    """A generator, nesting without end, code that is made of texts; and the key says what it was."""
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    generator = (n for n in range(3))
    blind = {
        "generator (generator)": lambda topic: (generator, topic),
        "deep (list)": lambda topic: (deep, topic),
        "eval (builtin_function_or_method)": lambda topic: eval(topic),
    }
    for words, build in blind.items():
        assert fingerprint(build).unseen == (words,)
        assert fingerprint(build) != fingerprint(build)
    key = run_key("b", {"rows": generator})
    assert key.unseen == ("the input rows (generator)",)
    assert key != run_key("b", {"rows": generator})
    lock, log = threading.Lock(), __import__("logging").getLogger("x")
    assert fingerprint(lambda topic: (lock, log)).unseen == ()


FILES = """
from pathlib import Path
HERE, NOTES = Path(__file__).parent, Path("notes.md")
class Project:
    agents_config = "config/agents.yaml"
def by_class(topic): return Project().agents_config
def joined(topic): return (HERE / "config" / "agents.yaml").read_text()
def opened(topic):
    with open("notes.md") as file:
        return file.read()
def by_global(topic): return NOTES.read_text()
def written(topic): return dict(output_file="notes.md")
"""


def test_files_that_are_read_count_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts in YAML, and what the function reads itself; not the file that a run writes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_of_a_test.py").write_text(FILES)
    (tmp_path / "config").mkdir()
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))
    project = importlib.import_module("project_of_a_test")
    ways = ["by_class", "joined", "opened", "by_global", "written"]

    def keys(prompt: str, notes: str) -> list[str]:
        (tmp_path / "config/agents.yaml").write_text(prompt)
        (tmp_path / "notes.md").write_text(notes)
        return [fingerprint(getattr(project, name)) for name in ways]

    def changed(prompt: str, notes: str) -> list[str]:
        return [name for name, a, b in zip(ways, keys("a", "b"), keys(prompt, notes), strict=True) if a != b]

    assert changed("a", "b") == []
    assert changed("x", "b") == ["by_class", "joined"]
    assert changed("a", "x") == ["opened", "by_global"]


def test_an_edited_yaml_of_a_crew_class_is_another_crew_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a lambda, too, where nothing has read the file yet."""
    (tmp_path / "config").mkdir()
    (tmp_path / "crew_of_a_test.py").write_text(
        "from crewai import Agent, Crew, Task\n"
        "from crewai.project import CrewBase, agent, crew, task\n"
        "@CrewBase\n"
        "class Demo:\n"
        "    @agent\n"
        "    def clerk(self): return Agent(config=self.agents_config['clerk'])\n"
        "    @task\n"
        "    def job(self): return Task(config=self.tasks_config['job'])\n"
        "    @crew\n"
        "    def crew(self): return Crew(agents=self.agents, tasks=self.tasks)\n"
    )
    (tmp_path / "config/agents.yaml").write_text("clerk: {role: r, goal: g, backstory: b}\n")
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))

    def keys(prompt: str) -> list[str]:
        text = f"job: {{description: {prompt}, expected_output: e, agent: clerk}}\n"
        (tmp_path / "config/tasks.yaml").write_text(text)
        demo = importlib.import_module("crew_of_a_test").Demo
        return [fingerprint(form) for form in (lambda: demo().crew(), demo().crew, demo().crew())]

    first, again, edited = keys("FIRST"), keys("FIRST"), keys("SECOND")
    assert first == again
    assert [a != b for a, b in zip(first, edited, strict=True)] == [True] * 3


def test_the_environment_counts_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that are read by name, and the model that CrewAI takes from there; no key."""

    def build(topic: str) -> Any:
        return os.environ["TONE_OF_A_TEST"], os.getenv("KEY_OF_A_TEST_API_KEY"), topic

    keys = [fingerprint(build)]
    for name in ("TONE_OF_A_TEST", "MODEL", "KEY_OF_A_TEST_API_KEY"):
        monkeypatch.setenv(name, "openai/gpt-x")
        keys.append(fingerprint(build))
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]
