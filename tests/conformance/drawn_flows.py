"""Flows and single agents drawn at random, and what can be seen of them from outside."""

from __future__ import annotations

import contextvars
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from crewai.flow.flow import Flow, and_, listen, or_, router, start
from crewai.flow.persistence import FlowPersistence, persist
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import crew_nb as cnb
from crew_nb._crewai import names as _crewai
from tests.conformance.drawn import Seen, _guard, _lasting_llm, _llm, _loop, _tool, as_new, gather_up
from tests.support import crews
from tests.support.crews import Report
from tests.support.drawn_replies import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from crewai import Agent
    from hypothesis.strategies import DrawFn

    from tests.support.server import Server

Way = Literal["kickoff", "kickoff_async", "crew_nb"]


class State(BaseModel):
    """What a flow knows, where that is a model."""

    topic: str = ""
    rounds: int = 0
    done: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DrawnStep:
    """A method to be written."""

    after: tuple[int, ...]
    """The steps that it waits for; none for one that the flow begins with."""
    both: bool = False
    """Whether it waits for all of them."""
    on: str = ""
    """The word of a router that it waits for instead."""
    says: tuple[str, ...] = ()
    """The words that it says in turn, where it is a router."""
    awaits: bool = False
    does: str = ""
    fails: bool = False


@dataclass(frozen=True, kw_only=True)
class DrawnFlow:
    """A flow to be written."""

    steps: tuple[DrawnStep, ...]
    model: bool = False
    persists: str = ""
    """Its `class`, or its first `step`."""
    stream: bool = False
    topics: tuple[str, ...] = ("A",)
    given: str = "class"
    """What crew_nb is given: a class, an instance, or a function."""


@st.composite
def flows(draw: DrawFn) -> DrawnFlow:
    """Flows that come to an end."""
    rare = st.integers(0, 5).map(lambda n: n == 5)
    does = st.sampled_from(("", "", "LLM", "crew", "agent"))
    steps: list[DrawnStep] = []
    words: list[str] = []
    for place in range(draw(st.integers(2, 6))):
        begins = place == 0 or draw(st.integers(0, 7)) == 0
        on = draw(st.sampled_from(words)) if words and not begins and draw(st.booleans()) else ""
        earlier = range(place)
        after = () if begins or on else tuple(sorted(draw(st.sets(st.sampled_from(earlier), min_size=1, max_size=2))))
        says: tuple[str, ...] = ()
        if not begins and draw(rare):
            says = tuple(draw(st.lists(st.sampled_from((f"left {place}", f"right {place}")), min_size=1, max_size=2)))
            words += sorted(set(says))
        steps.append(
            DrawnStep(
                after=after,
                both=len(after) > 1 and (draw(st.booleans()) or not _follows(steps, *after)),
                on=on,
                says=says,
                awaits=draw(st.booleans()),
                does="" if says else draw(does),
                fails=draw(st.integers(0, 11)) == 11,
            )
        )
    if _together(steps):  # what has begun when one fails, nobody knows
        steps = [replace(step, fails=False) for step in steps]
    elif draw(rare):  # one that sends its flow back to its first listener, once
        steps.append(DrawnStep(after=(len(steps) - 1,), says=("again", "enough")))
        again = next((n for n, s in enumerate(steps[:-1]) if s.after and not s.both), None)
        if again is None:
            steps.pop()
        else:
            steps[again] = replace(steps[again], on="again")
    return DrawnFlow(
        steps=tuple(steps),
        model=draw(st.booleans()),
        persists=draw(st.sampled_from(("", "", "class", "step"))),
        stream=draw(st.booleans()),
        topics=draw(st.sampled_from((("A",), ("A",), ("A", "B", "C")))),
        given=draw(st.sampled_from(("class", "instance", "function"))),
    )


def _together(steps: Iterable[DrawnStep]) -> bool:
    """Whether two steps may run side by side."""
    triggers = Counter[object](trigger for s in steps for trigger in (*s.after, s.on) if trigger != "")
    words = {n: s.says for n, s in enumerate(steps)}
    both_ways = any(n in triggers and any(word in triggers for word in says) for n, says in words.items())
    return sum(not s.after and not s.on for s in steps) > 1 or both_ways or any(n > 1 for n in triggers.values())


def _follows(steps: list[DrawnStep], first: int, second: int) -> bool:
    """Whether the second comes after the first; of two that run side by side nobody knows which ends first."""
    return first in steps[second].after or any(_follows(steps, first, n) for n in steps[second].after if n > first)


class Kept(FlowPersistence):
    """Writes down what it is to keep."""

    def init_db(self) -> None:
        pass

    def save_state(self, flow_uuid: str, method_name: str, state_data: Any) -> None:
        data = state_data.model_dump() if isinstance(state_data, BaseModel) else dict(state_data)
        _NOTES.get().append(("kept", method_name, data["topic"]))

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        return None


_NOTES: contextvars.ContextVar[list[Any]] = contextvars.ContextVar("notes")


def write(drawn: DrawnFlow, server: Server, way: Way, notes: list[Any]) -> type[Flow[Any]]:
    """The class."""
    # Each `kickoff()` has a loop of its own, in which a client of another one asks twice.
    make = _llm if way == "kickoff" else _lasting_llm
    llm = make(server.base_url, False, drawn.stream, f"{way} in a flow")

    def method(n: int, step: DrawnStep) -> Callable[..., Any]:
        def begin(self: Any, given: Any) -> str:
            known = self.state.model_dump() if drawn.model else self.state
            topic, done = known["topic"], self.state.done if drawn.model else known["done"]
            done[str(n)] = done.get(str(n), 0) + 1
            given = None if step.both else given  # of two that were waited for, it is the one that came last
            notes.append(("step", n, topic, repr(given)))
            if step.fails:
                raise ValueError(f"step {n} fails on {topic}")
            return f"Do step {n} of topic={topic} for the {done[str(n)]}. time after {given}"

        def end(self: Any, said: str) -> str:
            times = (self.state.done if drawn.model else self.state["done"])[str(n)]
            return step.says[min(times, len(step.says)) - 1] if step.says else said

        async def awaited(self: Any, given: Any = None) -> str:
            asked = begin(self, given)
            if step.does == "LLM":
                asked = await llm.acall(asked)
            if step.does == "crew":
                asked = (await crews.one(llm).akickoff({"topic": asked[-40:]})).raw
            if step.does == "agent":
                asked = (await crews.agent(llm).kickoff_async(asked)).raw
            return end(self, asked)

        def plain(self: Any, given: Any = None) -> str:
            asked = begin(self, given)
            if step.does == "LLM":
                asked = llm.call(asked)
            if step.does == "crew":
                asked = crews.one(llm).kickoff({"topic": asked[-40:]}).raw
            if step.does == "agent":
                asked = crews.agent(llm).kickoff(asked).raw
            return end(self, asked)

        made = awaited if step.awaits else plain
        made.__name__ = made.__qualname__ = f"step_{n}"
        return made

    namespace: dict[str, Any] = {"__module__": __name__}
    for n, step in enumerate(drawn.steps):
        triggers = [*(f"step_{m}" for m in step.after), *([step.on] if step.on else [])]
        condition: Any = (
            and_(*triggers) if step.both else or_(*triggers) if len(triggers) > 1 else (triggers or [None])[0]
        )
        made = method(n, step)
        if step.says:
            made = router(condition, emit=sorted(set(step.says)))(made)
        else:
            made = listen(condition)(made) if triggers else start()(made)
        namespace[f"step_{n}"] = persist(Kept())(made) if drawn.persists == "step" and n == 0 else made
    base: Any = Flow[State] if drawn.model else Flow[dict]
    cls = type("Written", (base,), namespace)
    return persist(Kept())(cls) if drawn.persists == "class" else cls


def watch(drawn: DrawnFlow, way: Way, server: Server) -> Seen:
    """Run the flow that way, once per topic."""
    seen, notes = Seen(), list[Any]()
    as_new(server)
    context = contextvars.copy_context()
    context.run(_NOTES.set, notes)
    seen.outputs = context.run(_with_crew_nb if way == "crew_nb" else _bare, drawn, server, way, notes, seen)
    gather_up(seen, server, notes, in_order=False)
    return seen


def _inputs(drawn: DrawnFlow) -> list[dict[str, Any]]:
    return [{"topic": topic, "done": {}} for topic in drawn.topics]


def _bare(drawn: DrawnFlow, server: Server, way: Way, notes: Any, seen: Seen) -> list[Any]:
    _crewai.silence()
    outputs = []
    for inputs in _inputs(drawn):
        flow = write(drawn, server, way, notes)()
        try:
            value = flow.kickoff(inputs) if way == "kickoff" else _awaited(flow.kickoff_async(inputs))
            outputs.append(_ended(drawn, value, flow.state))
        except Exception as error:
            outputs.append(settled(f"{type(error).__name__}: {error}"))
    return outputs


def _with_crew_nb(drawn: DrawnFlow, server: Server, way: Way, notes: Any, seen: Seen) -> list[Any]:
    flow = write(drawn, server, way, notes)
    given: Any = {"class": flow, "instance": None, "function": lambda: flow()}[drawn.given] or flow()
    results = cnb.kickoff_for_each(given, _inputs(drawn), max_retries=0, show=False).wait(120)
    usage = results.usage
    seen.told = (usage.successful_requests, usage.total_tokens)
    return [
        _ended(drawn, r.output, r.flow_state) if r.status == "done" else settled(f"{type(r.error).__name__}: {r.error}")
        for r in results
    ]


def _awaited(work: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run(work, context=contextvars.copy_context())


def _ended(drawn: DrawnFlow, value: Any, state: Any) -> list[Any]:
    """Its state, and its value where it is known which step ends last."""
    data = state.model_dump() if isinstance(state, BaseModel) else dict(state)
    return [None if _together(drawn.steps) else value, {k: v for k, v in data.items() if k != "id"}]


# --- single agents ---


@dataclass(frozen=True, kw_only=True)
class DrawnRequest:
    """An agent, and what it is asked."""

    tools: tuple[str, ...] = ()
    as_text: bool = False
    max_iter: int | None = None
    guard: str = ""
    steps: bool = False
    fills: bool = False
    """Whether it is to fill a model."""
    messages: Literal["text", "list"] = "text"
    stream: bool = False
    topics: tuple[str, ...] = ("A",)


requests = st.builds(
    DrawnRequest,
    tools=st.lists(st.sampled_from(("search", "weigh", "fails", "async")), max_size=2, unique=True).map(tuple),
    as_text=st.integers(0, 3).map(lambda n: n == 3),
    max_iter=st.sampled_from((None, None, 1, 2)),
    guard=st.sampled_from(("", "", "changes", "refuses once", "refuses", "words")),
    steps=st.booleans(),
    fills=st.integers(0, 2).map(lambda n: n == 2),
    messages=st.sampled_from(("text", "list")),
    stream=st.booleans(),
    topics=st.sampled_from((("A",), ("A", "B", "C"))),
)


def watch_agent(drawn: DrawnRequest, way: Way, server: Server) -> Seen:
    """Ask the agent that way, once per topic."""
    seen, notes = Seen(), list[Any]()

    def make() -> Agent:
        llm = _lasting_llm(server.base_url, drawn.as_text, drawn.stream, f"{way} of an agent")
        more: dict[str, Any] = {"max_iter": drawn.max_iter} if drawn.max_iter else {}
        if drawn.guard:
            more["guardrail"] = _guard(drawn.guard, notes, lambda: llm)
        if drawn.steps:
            more["step_callback"] = lambda step: notes.append(("step", type(step).__name__))
        return crews.agent(llm, tools=[_tool(name, notes) for name in drawn.tools], **more)

    def asked(topic: str) -> Any:
        text = f"Write about topic={topic}"
        said = [{"role": "user", "content": "Be brief"}, {"role": "assistant", "content": "Yes"}]
        return text if drawn.messages == "text" else [*said, {"role": "user", "content": text}]

    def run() -> list[Any]:
        model = {"response_format": Report} if drawn.fills else {}
        if way == "crew_nb":
            rows = [{"messages": asked(topic)} for topic in drawn.topics]
            results = cnb.kickoff_for_each(make(), rows, max_retries=0, show=False, **model).wait(120)
            seen.told = (results.usage.successful_requests, results.usage.total_tokens)
            return [
                _said(r.output) if r.status == "done" else settled(f"{type(r.error).__name__}: {r.error}")
                for r in results
            ]
        _crewai.silence()
        outputs: list[Any] = []
        for topic in drawn.topics:
            try:
                agent = make()
                if way == "kickoff":
                    outputs.append(_said(agent.kickoff(asked(topic), **model)))
                else:
                    outputs.append(_said(_loop().run(agent.kickoff_async(asked(topic), **model))))
            except Exception as error:
                outputs.append(settled(f"{type(error).__name__}: {error}"))
        return outputs

    as_new(server)
    seen.outputs = contextvars.copy_context().run(run)
    gather_up(seen, server, notes, in_order=len(drawn.topics) == 1)
    return seen


def _said(output: Any) -> list[Any]:
    return [
        output.raw,
        output.pydantic and output.pydantic.model_dump(),
        output.agent_role,
        settled(str(output.messages)),
    ]
