"""Crews drawn at random: plain data that says what to build, a builder, and what can be seen of a run from outside."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import tempfile
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from crewai import LLM, Agent, Crew, Process, Task
from crewai.memory.unified_memory import Memory
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tasks.llm_guardrail import LLMGuardrail
from crewai.tools import BaseTool
from hypothesis import strategies as st
from pydantic import PrivateAttr

import crew_nb as cnb
from crew_nb._crewai import names as _crewai
from tests.conformance.paths import _plain
from tests.conformance.shapes import embed
from tests.support.crews import Report
from tests.support.drawn_replies import REFUSED, asked, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn

    from tests.support.server import Server

Way = Literal["kickoff", "akickoff", "crew_nb"]
TOOLS = ("search", "weigh", "fails", "slow", "async", "answer")
GUARDS = ("passes", "changes", "refuses once", "refuses", "raises", "LLM", "words", "two")


@dataclass(frozen=True, kw_only=True)
class DrawnAgent:
    """An agent to be built."""

    tools: tuple[str, ...] = ()
    as_text: bool = False
    """Whether its LLM takes no tools, so that they are in the prompt (ReAct)."""
    delegates: bool = False
    max_iter: int | None = None
    steps: bool = False
    plans: bool = False
    system_prompt: bool = True
    guarded: bool = False


@dataclass(frozen=True, kw_only=True)
class DrawnTask:
    """A task to be built."""

    agent: int
    in_background: bool = False
    context: tuple[int, ...] | None = None
    tools: tuple[str, ...] = ()
    output: str = ""
    guard: str = ""
    callback: str = ""
    condition: bool | None = None
    refused: bool = False
    markdown: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A crew to be built."""

    agents: tuple[DrawnAgent, ...]
    tasks: tuple[DrawnTask, ...]
    manager: str = ""
    """`LLM` or `agent`: a hierarchical crew."""
    planning: bool = False
    stream: bool = False
    cache: bool = True
    callbacks: tuple[str, ...] = ()
    one_llm: bool = False
    memory: bool = False
    topics: tuple[str, ...] = ("A",)
    as_object: bool = False
    """Whether crew_nb is given a crew, of which it makes copies, and no function that builds one."""

    @property
    def in_order(self) -> bool:
        """Whether requests come one after the other."""
        return len(self.topics) == 1 and not any(t.in_background for t in self.tasks) and not self.memory


@st.composite
def crews(draw: DrawFn) -> Drawn:
    """Crews that CrewAI takes."""
    rare = st.integers(0, 5).map(lambda n: n == 5)
    tools = st.lists(st.sampled_from(TOOLS), max_size=2, unique=True).map(tuple)
    agents = draw(
        st.lists(
            st.builds(
                DrawnAgent,
                tools=tools,
                as_text=rare,
                delegates=rare,
                max_iter=st.sampled_from((None, None, None, 1, 2)),
                steps=rare,
                plans=rare,
                system_prompt=st.sampled_from((True, True, True, False)),
                guarded=rare,
            ),
            min_size=1,
            max_size=3,
        )
    )
    tasks: list[DrawnTask] = []
    for place in range(draw(st.integers(1, 4))):
        earlier = [n for n in range(place) if not _side_by_side(tasks, n)]
        condition = draw(st.sampled_from((None, None, None, True, False))) if place else None
        in_background = condition is None and draw(st.sampled_from((False, False, True)))
        allowed = (
            st.lists(st.sampled_from(earlier if in_background else range(place)), unique=True)
            if earlier
            else st.just([])
        )
        tasks.append(
            DrawnTask(
                agent=draw(st.integers(0, len(agents) - 1)),
                in_background=in_background,
                condition=condition,
                context=draw(st.none() | allowed.map(lambda c: tuple(sorted(c)))),
                tools=draw(tools) if draw(rare) else (),
                output=draw(st.sampled_from(("", "", "", "pydantic", "json", "model"))),
                guard=draw(st.sampled_from(("",) * 8 + GUARDS)),
                callback=draw(st.sampled_from(("", "", "sync", "async"))),
                refused=draw(st.integers(0, 24)) == 24,
                markdown=draw(rare),
            )
        )
    manager = draw(st.sampled_from(("",) * 5 + ("LLM", "agent")))
    shared = manager or any(a.delegates for a in agents)
    for place, (before, task) in enumerate(pairwise(tasks), 1):
        # One agent in two tasks at once is an error of CrewAI's own (1.15.30), in crew_nb it is none.
        if before.in_background and task.in_background and (shared or task.agent == before.agent or place > 1):
            tasks[place] = replace(task, in_background=False)
    if len(tasks) > 1 and tasks[-1].in_background and tasks[-2].in_background:
        tasks.append(DrawnTask(agent=0))
    return Drawn(
        agents=tuple(agents),
        tasks=tuple(tasks),
        manager=manager,
        planning=draw(st.integers(0, 9)) == 9,
        stream=draw(st.booleans()),
        cache=draw(st.booleans()),
        callbacks=draw(
            st.lists(st.sampled_from(("before", "after", "task", "step")), max_size=2, unique=True).map(tuple)
        ),
        one_llm=not draw(rare),
        memory=draw(st.integers(0, 19)) == 19,
        as_object=draw(st.booleans()),
        topics=draw(st.sampled_from((("A",), ("A",), ("A",), ("A", "B", "C")))),
    )


def _side_by_side(tasks: list[DrawnTask], place: int) -> bool:
    """Whether no task of the foreground stands between it and the next one."""
    return all(t.in_background for t in tasks[place:])


class Noted(BaseTool):
    """A tool that writes down how it was used."""

    name: str = "search"
    description: str = "Looks something up"
    how: str = "search"
    _note: Any = PrivateAttr()

    def _run(self, query: str) -> str:
        self._note(("tool", self.how, query))
        if self.how == "fails":
            raise ValueError(f"no network for {query}")
        return f"{self.how} has {query} in {{braces}}"


class NotedAsync(Noted):
    """The same with a coroutine."""

    async def _arun(self, query: str) -> str:
        await asyncio.sleep(0)
        return self._run(query)


@dataclass
class Seen:
    """One way's runs, from outside."""

    outputs: list[Any] = field(default_factory=list)
    """By topic: what came of it, or the error."""
    bodies: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tokens: tuple[int, ...] = ()
    """Requests and tokens as the server counted them."""
    told: tuple[int, ...] | None = None
    """The same as crew_nb counted them."""

    @property
    def failed(self) -> bool:
        """Whether a run did."""
        return any(isinstance(output, str) for output in self.outputs)

    def parts(self) -> dict[str, Any]:
        """What is compared."""
        return {"outputs": self.outputs, "bodies": self.bodies, "notes": self.notes}


def _llm(url: str, as_text: bool, stream: bool, way: str) -> LLM:
    model = "openai/o1-mini" if as_text else "openai/gpt-4o-mini"
    return LLM(model=model, base_url=url, api_key="test-key", stream=stream)


_lasting_llm = functools.cache(_llm)
"""One for all crews: what an LLM costs most is its clients."""
_loop = functools.cache(asyncio.Runner)
"""Of all that is run by `akickoff()`, as such an LLM is."""


def build(drawn: Drawn, server: Server, way: Way, notes: list[Any], closing: list[Callable[[], None]]) -> Crew:
    """The crew, new in all its parts."""

    def llm(as_text: bool = False) -> Any:
        make = _lasting_llm if drawn.one_llm else _llm
        return make(server.base_url, as_text, drawn.stream, way)

    def note(what: str) -> Callable[[Any], Any]:
        def callback(given: Any) -> Any:
            notes.append((what, type(given).__name__, getattr(given, "raw", None)))
            return given

        return callback

    def tools(names: tuple[str, ...]) -> list[BaseTool]:
        return [_tool(name, notes) for name in names]

    workers = [
        Agent(
            role=f"Worker {n} of {{topic}}",
            goal="Do topic={topic}",
            backstory="Long in the trade",
            llm=llm(a.as_text),
            tools=tools(a.tools),
            allow_delegation=a.delegates,
            use_system_prompt=a.system_prompt,
            step_callback=note(f"step of {n}") if a.steps else None,
            guardrail=_guard("changes", notes, llm) if a.guarded else None,
            cache=drawn.cache,
            **({"max_iter": a.max_iter} if a.max_iter else {}),
            **({"planning": True} if a.plans else {}),
        )
        for n, a in enumerate(drawn.agents)
    ]
    jobs: list[Task] = []
    for n, t in enumerate(drawn.tasks):
        by = None if drawn.manager and n % 2 else workers[t.agent]
        more: dict[str, Any] = {"pydantic": {"output_pydantic": Report}, "json": {"output_json": Report}}.get(
            t.output, {"response_model": Report} if t.output else {}
        )
        if t.guard == "two":
            more["guardrails"] = [_guard("changes", notes, llm), _guard("passes", notes, llm)]
        elif t.guard:
            # In words it is the agent's: CrewAI takes none of a task without one.
            more["guardrail"] = _guard("LLM" if t.guard == "words" and not by else t.guard, notes, llm)
        if t.condition is not None:
            more["condition"] = _condition(t.condition, n, notes)
        if t.callback:
            more["callback"] = note(f"task {n}") if t.callback == "sync" else _awaited(note(f"task {n}, async"))
        if t.context is not None:
            more["context"] = [jobs[c] for c in t.context]
        jobs.append(
            (ConditionalTask if t.condition is not None else Task)(
                description=f"Do part {n} of topic={{topic}}{f' {REFUSED}' if t.refused else ''}",
                expected_output="A note on {topic}",
                agent=by,
                name=f"part {n}",
                async_execution=t.in_background,
                tools=tools(t.tools),
                markdown=t.markdown,
                guardrail_max_retries=2,
                **more,
            )
        )
    around: dict[str, Any] = {
        {"before": "before_kickoff_callbacks", "after": "after_kickoff_callbacks"}.get(c, f"{c}_callback"): (
            [note(c)] if c in ("before", "after") else note(f"crew's {c}")
        )
        for c in drawn.callbacks
    }
    if drawn.manager == "LLM":
        around |= {"process": Process.hierarchical, "manager_llm": llm()}
    if drawn.manager == "agent":
        boss = Agent(role="Boss", goal="Lead topic={topic}", backstory="Was a worker", llm=llm())
        around |= {"process": Process.hierarchical, "manager_agent": boss}
    if drawn.planning:
        around |= {"planning": True, "planning_llm": llm()}
    if drawn.memory:
        memory = Memory(llm=llm(), embedder=embed, storage=tempfile.mkdtemp())
        closing.append(memory.close)
        around["memory"] = memory
    return Crew(agents=workers, tasks=jobs, cache=drawn.cache, **around)


def _tool(name: str, notes: list[Any]) -> BaseTool:
    kind = NotedAsync if name == "async" else Noted
    about = {"answer": {"result_as_answer": True}, "slow": {"max_usage_count": 1}}.get(name, {})
    made = kind(name=name, description=f"Can {name}", how=name, **about)
    made._note = notes.append  # hidden, as a planner is told all that is not
    return made


def _condition(holds: bool, n: int, notes: list[Any]) -> Callable[[Any], bool]:
    def condition(output: Any) -> bool:
        notes.append(("condition", n, output.raw))
        return holds

    return condition


def _awaited(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def call(given: Any) -> Any:
        await asyncio.sleep(0)
        return callback(given)

    return call


def _guard(kind: str, notes: list[Any], llm: Callable[[], Any]) -> Any:
    if kind == "LLM":
        return LLMGuardrail("Be kind", llm())
    if kind == "words":
        return "Be kind"
    seen: list[str] = []

    def guard(output):  # type: ignore[no-untyped-def] # CrewAI checks the annotations of some forms only
        notes.append(("guard", kind, output.raw))
        seen.append(output.raw)
        if kind == "raises":
            raise RuntimeError("the guard fell over")
        if kind == "refuses" or (kind == "refuses once" and "refused" not in output.raw and len(output.raw) % 2):
            return False, "it is refused"
        return True, output.raw + " (seen)" if kind == "changes" else output.raw

    return guard


def watch(drawn: Drawn, way: Way, server: Server) -> Seen:
    """Run the crew that way, once per topic."""
    seen, notes, closing = Seen(), list[Any](), list[Any]()
    as_new(server)
    try:
        run = _with_crew_nb if way == "crew_nb" else _bare
        seen.outputs = contextvars.copy_context().run(run, drawn, way, server, notes, closing, seen)
    finally:
        for close in closing:
            close()
    gather_up(seen, server, notes, in_order=drawn.in_order)
    return seen


def as_new(server: Server) -> None:
    """Let it answer by what it is asked alone."""
    server.reset()
    server.configure(drawn=True, topic_pattern=r"topic=(\w)")


def gather_up(seen: Seen, server: Server, notes: list[Any], *, in_order: bool) -> None:
    """Add what the server and the crew's own functions have seen."""
    stats = server.stats(bodies=True)
    seen.bodies = [asked(r.body) for r in stats.requests]
    if seen.failed:
        seen.bodies = list(dict.fromkeys(seen.bodies))  # how often a failing call is tried is not compared
    seen.notes = sorted(settled(repr(n)) for n in notes)  # tools of one answer run side by side
    if not in_order:
        seen.bodies.sort()
    seen.tokens = (sum(r.completion_tokens > 0 for r in stats.requests), stats.total_tokens)


def _bare(drawn: Drawn, way: Way, server: Any, notes: Any, closing: Any, seen: Seen) -> list[Any]:
    _crewai.silence()
    outputs = []
    for topic in drawn.topics:
        try:
            crew = build(drawn, server, way, notes, closing)
            inputs = {"topic": topic}
            output = crew.kickoff(inputs) if way == "kickoff" else _loop().run(crew.akickoff(inputs))
            outputs.append(_output(output))
        except Exception as error:
            outputs.append(settled(f"{type(error).__name__}: {error}"))
    return outputs


def _with_crew_nb(drawn: Drawn, way: Way, server: Any, notes: Any, closing: Any, seen: Seen) -> list[Any]:
    def factory() -> Crew:
        return build(drawn, server, way, notes, closing)

    batch = cnb.kickoff_for_each(
        factory() if drawn.as_object else factory,
        [{"topic": topic} for topic in drawn.topics],
        max_retries=0,
        show=False,
    )
    results = batch.wait(120)
    usage = results.usage
    seen.told = (usage.successful_requests, usage.total_tokens)
    return [
        _output(r.output) if r.status == "done" else settled(f"{type(r.error).__name__}: {r.error}") for r in results
    ]


def _output(output: Any) -> Any:
    """All of it but the usage, which bare CrewAI counts by LLM, whoever else has used that."""
    *tasks, raw, json_dict, _ = _plain(output)
    return json.loads(settled(json.dumps([*tasks, raw, json_dict], default=str)))
