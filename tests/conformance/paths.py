"""Runs one crew on one path, in a loop and a context of its own, and keeps all that can be seen of it."""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._crewai import fast as _fast
from crew_nb._crewai import names as _crewai
from crew_nb._state import attempt as _attempt
from crew_nb._state.attempt import Attempt
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crewai import Crew

    from crew_nb._state.call import Asked

Path = Literal["crewai", "stock", "direct"]
"""CrewAI untouched; our runs with its executor; our runs with ours."""


@dataclass
class Stage:
    """What a shape builds its crew with."""

    notes: list[Any] = field(default_factory=list)
    """What callbacks, tools, guardrails and hooks write down."""
    llms: list[ScriptedLLM] = field(default_factory=list)
    inputs: dict[str, Any] | None = None
    provider: Any = None
    hooks: dict[Any, list[Any]] = field(default_factory=dict)
    """Hooks in the scope of the run, by point."""
    closing: list[Callable[[], None]] = field(default_factory=list)

    def llm(self, *script: Any, **how: Any) -> ScriptedLLM:
        """An LLM whose questions are compared."""
        self.llms.append(ScriptedLLM(script, **how))
        return self.llms[-1]


@dataclass
class Seen:
    """One run from the outside."""

    output: Any = None
    error: str = ""
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    ways: set[str] = field(default_factory=set)
    """How LLMs were called: `call`, `acall`. The one thing that is meant to differ."""
    notes: list[Any] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    usage: Any = None
    tools: Any = None
    left: int = 0
    """Asyncio tasks that outlived the run."""

    def unordered(self) -> Seen:
        """The same without an order, for tools that run side by side."""
        count: Any = sorted(Counter(map(repr, self.events)).items())
        asked = [sorted(questions, key=repr) for questions in self.asked]
        return Seen(**{**vars(self), "events": count, "notes": sorted(map(repr, self.notes)), "asked": asked})


class OpenGate:
    """Lets every LLM call pass: limits and retries are not compared here."""

    async def acall(self, attempt: Attempt, asked: Asked, operation: Callable[[], Awaitable[Any]]) -> Any:
        return await operation()

    def call(self, attempt: Attempt, asked: Asked, operation: Callable[[], Any]) -> Any:
        return operation()


def prepare(crew: Crew, path: Path) -> None:
    """What the engine does to a crew."""
    if path == "crewai":
        return
    _fast.install()
    assert _fast.why_not(crew) == ""
    if path == "direct":
        _fast.accelerate(crew)
    _fast.offload(crew)


def watch(shape: Callable[[Stage], Crew], path: Path) -> Seen:
    """Build the shape's crew and run it on the path."""
    return asyncio.run(_watch(shape, path))


async def _watch(shape: Callable[[Stage], Crew], path: Path) -> Seen:
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(32, thread_name_prefix="asyncio_conformance")
    loop.set_default_executor(pool)
    seen = Seen()
    context = contextvars.Context()
    task = loop.create_task(_run(shape, path, seen), context=context)
    await asyncio.wait([task])
    if error := task.exception():
        seen.error = f"{type(error).__name__}: {error}"
    seen.left = len(asyncio.all_tasks()) - 1
    return seen


async def _run(shape: Callable[[Stage], Crew], path: Path, seen: Seen) -> None:
    from crewai.core.providers.human_input import set_provider
    from crewai.hooks.dispatch import _scoped_hooks_var

    stage = Stage()
    if path != "crewai":
        _attempt.current.set(Attempt(0, lambda event: None, OpenGate()))  # type: ignore[arg-type]
    crew = shape(stage)
    prepare(crew, path)
    _crewai.silence()
    types: dict[str | None, str] = {}

    def sink(source: Any, event: Any) -> None:
        types[event.event_id] = event.type
        seen.events.append(_facts(event, types))

    _crewai.listen(sink)
    if stage.provider is not None:
        set_provider(stage.provider)
    if stage.hooks:
        _scoped_hooks_var.set(stage.hooks)
    try:
        output = await crew.akickoff(inputs=stage.inputs)
        seen.output = _plain(output)
    finally:
        for close in stage.closing:
            close()
        seen.usage = crew.usage_metrics and crew.usage_metrics.model_dump()
        seen.notes = stage.notes
        seen.ways = {question.pop("way") for llm in stage.llms for question in llm.asked}
        seen.asked = [_unnamed(llm.asked) for llm in stage.llms]
        seen.tools = [
            (t.used_tools, t.tools_errors, t.delegations, sorted(t.processed_by_agents), t.retry_count)
            for t in crew.tasks
        ]


def _facts(event: Any, types: dict[str | None, str]) -> tuple[Any, ...]:
    """An event without its ids and times."""
    started = types.get(event.started_event_id)
    facts = [event.type, types.get(event.parent_event_id), started]
    for name in ("task_name", "agent_role", "tool_name", "chunk", "usage", "call_type", "model", "success"):
        value = getattr(event, name, None)
        facts.append(getattr(value, "value", value))
    for name in ("tool_args", "error", "output", "response", "result", "feedback", "task_prompt", "context"):
        value = getattr(event, name, None)
        value = len(value) if isinstance(value, list) else value  # of memories, which have ids and times
        facts.append(value.raw if hasattr(value, "raw") else repr(value)[:500] if value is not None else None)
    return tuple(map(str, facts))


def _plain(output: Any) -> Any:
    return [
        (
            t.name,
            t.raw,
            t.pydantic and t.pydantic.model_dump(),
            t.json_dict,
            t.agent,
            str(t.output_format),
            _unnamed(t.messages),
            [f.model_dump(mode="json", exclude={"task_id"}) for f in t.tool_failures],
        )
        for t in output.tasks_output
    ] + [output.raw, output.json_dict, output.token_usage.model_dump()]


def _unnamed(value: Any) -> Any:
    """The same without the random names of stored tool results."""
    if isinstance(value, str):
        return re.sub(r"tool-result-[\w-]+", "<artifact>", value)
    if isinstance(value, dict):
        return {key: _unnamed(item) for key, item in value.items()}
    return [_unnamed(item) for item in value] if isinstance(value, list) else value
