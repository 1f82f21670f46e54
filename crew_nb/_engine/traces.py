"""OpenTelemetry spans made of a batch's events, named as the conventions for generative AI have it.

A run is a trace of its own: its root links to the span of its batch. Spans are begun and ended on the engine's loop
from what the events say, and never from the context in which something happens to run, so that parents are right
whatever goes on at once. OpenTelemetry is imported when traces are set.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import listen as _listen
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.usage import Usage

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The conventions' own switch for prompts and answers."""
_CAPTURES = frozenset({"true", "1", "span_only", "span_and_event"})

QUEUE = 100_000
"""Spans that may wait to be sent: one that is dropped would leave orphans."""

FLUSH_MILLISECONDS = 10_000

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""CrewAI's names of providers that the conventions call otherwise."""

_OTHER = "_OTHER"
"""The conventions' word for an error of which no class is known."""

Names = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where spans go."""

    tracer: Tracer
    content: bool
    """Whether prompts, answers, inputs and the words of errors may be told."""
    own: TracerProvider | None
    """The provider, where it was made here."""


_sink: _Sink | None = None


def set_traces(to: str | SpanExporter | TracerProvider | None, *, content: bool | None = None) -> None:
    """Send OpenTelemetry spans of the batches to come: workflow, agents, tasks, tools and LLM calls, a trace a run.

    Args:
        to: The URL of an OTLP collector (`"http://localhost:6006/v1/traces"`), a span exporter, or a `TracerProvider`
            of your own. None ends it: what is left is sent.
        content: Whether prompts, answers, inputs and the words of errors are told too; None does what the variable
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says, which is no where it is not set.

    Raises:
        OptionError: When it is none of these, or OpenTelemetry is off.
    """
    global _sink
    before, _sink = _sink, None
    if before is not None and before.own is not None:
        before.own.force_flush(FLUSH_MILLISECONDS)
        before.own.shutdown()
    if to is None:
        return
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise OptionError(
            "OTEL_SDK_DISABLED=true turns all of OpenTelemetry off. Take it away before CrewAI is imported; "
            "CREWAI_DISABLE_TELEMETRY=true is what turns CrewAI's own telemetry off."
        )
    if content is None:
        content = os.environ.get(CAPTURE, "").strip().lower() in _CAPTURES
    given = hasattr(to, "get_tracer")
    provider: Any = to if given else _provider(to)
    _sink = _Sink(provider.get_tracer("crew_nb"), content, None if given else provider)


def _provider(to: Any) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError as error:
        raise OptionError(f"traces need OpenTelemetry ({error}). Write: pip install 'crew-nb[traces]'") from error

    class Ids(RandomIdGenerator):
        """Ids that `random.seed(...)` in a notebook does not repeat."""

        def generate_span_id(self) -> int:
            return _random.getrandbits(64) or 1

        def generate_trace_id(self) -> int:
            return _random.getrandbits(128) or 1

    if isinstance(to, str) and to.startswith(("http://", "https://")):
        to = OTLPSpanExporter(endpoint=to)
    if isinstance(to, str) or not hasattr(to, "export"):
        raise OptionError(
            f"{to!r:.80} is no place for traces. Write the URL of a collector "
            '("http://localhost:4318/v1/traces"), a span exporter, or a TracerProvider.'
        )
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(
        resource=Resource.create({} if named else {"service.name": "crew_nb"}), id_generator=Ids()
    )
    provider.add_span_processor(BatchSpanProcessor(to, max_queue_size=QUEUE))
    return provider


_random = random.SystemRandom()


def begin(
    key: str,
    name: str,
    at: float,
    plans: Sequence[Plan],
    label: Callable[[int], str],
) -> BatchTraces | None:
    """The traces of a batch that is launched here and now; None where none are wanted.

    Args:
        key: The batch's.
        name: What people call it.
        at: When it began.
        plans: Its runs.
        label: Tells that of a run for people, without secrets.
    """
    if _sink is None:
        return None
    outer = _attempt.current.get()
    parent = outer.traces.within(outer, key) if outer is not None and outer.traces is not None else None
    return BatchTraces(_sink, key, name, at, plans, label, parent)


@dataclass(slots=True)
class _Call:
    """An LLM or tool call that has not ended."""

    span: Span
    began: float
    agents: dict[str, Span] = field(default_factory=dict)
    """Who works in it, where a tool hands work on."""
    agent: str = ""
    spoke: bool = False
    """Whether a piece of the answer has come."""


@dataclass(slots=True)
class _Task:
    """A task that has begun, and whoever works at it."""

    span: Span
    agent: str
    agents: dict[str, Span] = field(default_factory=dict)


class _Run:
    """The open spans of one try of a run."""

    def __init__(self, root: Span) -> None:
        self.root = root
        self.specs: tuple[ev.TaskSpec, ...] = ()
        self.tasks: dict[int, _Task] = {}
        self.calls: dict[str, _Call] = {}

    def spec(self, place: int) -> ev.TaskSpec | None:
        return self.specs[place] if 0 <= place < len(self.specs) else None

    @property
    def spans(self) -> Iterable[Span]:
        """All of them, the inner ones first."""
        for call in reversed(self.calls.values()):
            yield from call.agents.values()
            yield call.span
        for task in reversed(self.tasks.values()):
            yield from task.agents.values()
            yield task.span
        yield self.root


class BatchTraces:
    """The spans of one batch; called with each of its events, on the engine's loop."""

    def __init__(
        self,
        sink: _Sink,
        key: str,
        name: str,
        at: float,
        plans: Sequence[Plan],
        label: Callable[[int], str],
        outer: Callable[[], Context] | None,
    ) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context, get_current

        self._trace = trace
        self._nowhere = Context()
        self._sink = sink
        self._key = key
        self._plans = plans
        self._label = label
        self._inner: set[str] = set()
        """Keys of the batches that its runs have launched, whose calls have spans of their own."""
        self._runs: dict[int, _Run] = {}
        self._roots: dict[int, Span] = {}
        """The first root of each run: later tries and scores belong below it."""
        self._is_inner = outer is not None
        # What the user has open is of their own provider, and is no parent of what goes elsewhere.
        above = get_current() if sink.own is None and outer is None else self._nowhere
        self._above = outer or (lambda: above)
        self._span: Span | None = None
        self._title, self._at = f"batch {name}".strip(), at

    # --- the batch -----------------------------------------------------------------------------------------------

    @property
    def span(self) -> Span:
        """That of the batch: a trace of its own, or within the run that launched it."""
        if self._span is None:
            attributes = {"crew_nb.batch": self._key, "crew_nb.runs": len(self._plans)}
            self._span = self._start(self._title, self._at, self._above(), attributes)
        return self._span

    def end(self, at: float) -> None:
        """Every run has ended."""
        if self.span.is_recording():
            self.span.end(_ns(at))

    def within(self, attempt: Attempt, key: str) -> Callable[[], Context]:
        """Where a batch of that key belongs, which a run's code launches here and now; to be asked on the loop."""
        self._inner.add(key)
        tool, place = _attempt.tool.get(), _listen.place_of(attempt)

        def above() -> Context:
            run = self._runs.get(attempt.index)
            if run is None:
                return self._below(self._roots.get(attempt.index, self.span))
            opened = run.calls.get(tool) or (run.tasks.get(place) if place is not None else None)
            return self._below(opened.span if opened is not None else run.root)

        return above

    # --- its runs ------------------------------------------------------------------------------------------------

    def __call__(self, event: ev.Event) -> None:
        """Take one event of the batch."""
        fold = _FOLDS.get(type(event))
        if fold is not None:
            fold(self, event)

    def _run_started(self, e: ev.RunStarted) -> None:
        name = self._name(e.run)(_workflow(self._plans[e.run].source))
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "gen_ai.agent.name": name,
            "crew_nb.batch": self._key,
            "crew_nb.run": e.run,
        }
        if self._sink.content:
            attributes["crew_nb.inputs"] = self._label(e.run)
        first = self._roots.get(e.run)
        above, links = self._nowhere, tuple[Any, ...]()
        if first is not None:
            above = self._below(first)
        elif self._is_inner:
            above = self._below(self.span)
        else:
            links = (self._trace.Link(self.span.get_span_context()),)
        root = self._start(f"invoke_workflow {name}", e.at, above, attributes, links)
        self._roots.setdefault(e.run, root)
        self._runs[e.run] = _Run(root)

    def _crew_ready(self, e: ev.CrewReady | ev.TasksFound) -> None:
        if run := self._runs.get(e.run):
            run.specs = (*run.specs, *e.tasks)
            if isinstance(e, ev.CrewReady) and e.worker:
                run.root.set_attribute("crew_nb.worker", e.worker)

    def _run_queued(self, e: ev.RunQueued) -> None:
        """It is run again, though no end of it was told: where it ran is gone."""
        self._close(e.run, e.at, "lost")

    def _run_finished(self, e: ev.RunFinished) -> None:
        if e.from_record:
            self._run_started(ev.RunStarted(run=e.run, at=e.at))
            self._runs[e.run].root.set_attribute("crew_nb.from_record", True)
        if (run := self._runs.get(e.run)) is None:
            return  # it never began
        if e.status == "done":
            self._tell(run.root, output=e.output)
            self._close(e.run, e.at)
        else:
            error = "cancelled" if e.status == "cancelled" else (e.error.type if e.error else _OTHER)
            self._close(e.run, e.at, error, e.error.message if e.error else "")

    def _close(self, index: int, at: float, error: str = "", message: str = "") -> None:
        run = self._runs.pop(index, None)
        for span in run.spans if run else ():
            self._finish(span, at, error, message)

    # --- tasks and who works at them -----------------------------------------------------------------------------

    def _task_started(self, e: ev.TaskStarted, *, taken: bool = False) -> None:
        if (run := self._runs.get(e.run)) is None:
            return
        spec = run.spec(e.task)
        named = self._name(e.run)
        name = named(spec.name) if spec is not None and spec.is_named else str(e.task)
        above = run.tasks.get(spec.parent) if spec is not None and spec.parent is not None else None
        attributes = {"crew_nb.task": e.task, **({"crew_nb.taken_over": True} if taken else {})}
        kind = "step" if spec is not None and spec.is_step else "task"
        span = self._start(f"{kind} {name}", e.at, self._below(above.span if above else run.root), attributes)
        run.tasks[e.task] = task = _Task(span, e.agent or (spec.agent if spec is not None else ""))
        if task.agent and not taken:
            self._agent(e.run, task.agents, task.agent, span, e.at)

    def _agent(self, run: int, agents: dict[str, Span], role: str, above: Span, at: float) -> Span:
        if role not in agents:
            name = self._name(run)(role)
            attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
            agents[role] = self._start(f"invoke_agent {name}", at, self._below(above), attributes)
        return agents[role]

    def _task_ended(self, e: ev.TaskFinished | ev.TaskFailed) -> None:
        run = self._runs.get(e.run)
        task = run.tasks.get(e.task) if run is not None else None
        if task is None:
            return
        failed = isinstance(e, ev.TaskFailed)
        if isinstance(e, ev.TaskFinished):
            self._tell(task.span, output=e.output)
        for span in (*task.agents.values(), task.span):
            self._finish(span, e.at, _OTHER if failed else "", e.message if isinstance(e, ev.TaskFailed) else "")

    def _task_taken(self, e: ev.TaskTaken) -> None:
        self._task_started(ev.TaskStarted(run=e.run, at=e.at, task=e.task, agent=e.agent), taken=True)
        self._task_ended(ev.TaskFinished(run=e.run, at=e.at, task=e.task, output=e.output))

    # --- calls ---------------------------------------------------------------------------------------------------

    def _call_started(self, e: ev.CallStarted) -> None:
        run = self._runs.get(e.run)
        if run is None or (self._inner and e.call.partition("-")[0] in self._inner):
            return
        above = self._parent(run, e)
        if e.kind == "llm":
            span = self._llm(e, above)
        else:
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": e.name,
                "gen_ai.tool.type": "function",
            }
            span = self._start(f"execute_tool {e.name}", e.at, self._below(above), attributes)
            self._tell(span, arguments=e.detail)
        run.calls[e.call] = _Call(span, e.at, agent=e.agent)

    def _llm(self, e: ev.CallStarted, above: Span, *, tell: bool = True) -> Span:
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": e.name}
        if e.provider:
            attributes["gen_ai.provider.name"] = _PROVIDERS.get(e.provider, e.provider)
        span = self._start(f"chat {e.name}", e.at, self._below(above), attributes, kind=self._trace.SpanKind.CLIENT)
        if tell:
            self._tell(span, question=e.detail)
        return span

    def _parent(self, run: _Run, e: ev.CallStarted) -> Span:
        """The call that it is made in, and who works there; or the agent at its task."""
        outer = run.calls.get(e.within)
        if outer is not None:
            if not e.agent or e.agent == outer.agent:
                return outer.span
            return self._agent(e.run, outer.agents, e.agent, outer.span, e.at)
        task = run.tasks.get(e.task) if e.task is not None else None
        if task is None:
            return run.root
        role = e.agent or task.agent
        return self._agent(e.run, task.agents, role, task.span, e.at) if role else task.span

    def _call_chunk(self, e: ev.CallChunk) -> None:
        run = self._runs.get(e.run)
        call = run.calls.get(e.call) if run is not None else None
        if call is not None and not call.spoke:
            call.spoke = True
            call.span.set_attributes(
                {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": max(0.0, e.at - call.began)}
            )

    def _call_ended(self, e: ev.CallFinished | ev.CallFailed) -> None:
        run = self._runs.get(e.run)
        call = run.calls.pop(e.call, None) if run is not None else None
        if call is None:
            return
        for span in call.agents.values():
            self._finish(span, e.at)
        if isinstance(e, ev.CallFinished):
            self._tell(call.span, **{"answer" if e.kind == "llm" else "result": e.output})
        self._end_call(call.span, e)

    def _end_call(self, span: Span, e: ev.CallFinished | ev.CallFailed) -> None:
        if e.kind == "llm":
            span.set_attributes(_counts(e.usage, e.cost))
        if isinstance(e, ev.CallFailed):
            self._finish(span, e.at, e.error or _OTHER, e.message)
            return
        if e.finish_reason:
            span.set_attribute("gen_ai.response.finish_reasons", (e.finish_reason,))
        if e.counted != "told":
            span.set_attribute("crew_nb.tokens", "estimated" if e.counted == "estimated" else "unknown")
        self._finish(span, e.at)

    # --- what belongs to no run, and scores ------------------------------------------------------------------------

    def aside(self, events: Iterable[ev.Event]) -> None:
        """LLM calls of judges: beside the runs, below the batch, and without their words."""
        begun: dict[str, Span] = {}
        for e in events:
            if isinstance(e, ev.CallStarted) and e.kind == "llm":
                begun[e.call] = self._llm(e, self.span, tell=False)
            elif isinstance(e, ev.CallFinished | ev.CallFailed) and e.call in begun:
                self._end_call(begun.pop(e.call), e)

    def scored(self, run: int, name: str, values: Mapping[str, Any], reasons: Mapping[str, str], error: str) -> None:
        """What a score function said of a run; from any thread."""
        if run not in self._roots:
            return
        at = _clock.now()
        span = self._start(f"evaluate {name}", at, self._below(self._roots[run]), {"crew_nb.run": run})
        for value_name, value in values.items():
            told: dict[str, Any] = {"gen_ai.evaluation.name": value_name}
            if isinstance(value, bool | str):
                told["gen_ai.evaluation.score.label"] = str(value).lower() if isinstance(value, bool) else value
            if not isinstance(value, str):
                told["gen_ai.evaluation.score.value"] = float(value)
            if self._sink.content and value_name in reasons:
                told["gen_ai.evaluation.explanation"] = reasons[value_name]
            span.add_event("gen_ai.evaluation.result", told, _ns(at))
        self._finish(span, at, error.partition(":")[0], error)

    # --- spans ---------------------------------------------------------------------------------------------------

    def _below(self, span: Span) -> Context:
        return self._trace.set_span_in_context(span, self._nowhere)

    def _start(
        self,
        name: str,
        at: float,
        above: Context,
        attributes: Mapping[str, Any],
        links: Sequence[Any] = (),
        kind: Any = None,
    ) -> Span:
        kind = self._trace.SpanKind.INTERNAL if kind is None else kind
        return self._sink.tracer.start_span(
            name, context=above, kind=kind, attributes=attributes, links=links, start_time=_ns(at)
        )

    def _finish(self, span: Span, at: float, error: str = "", message: str = "") -> None:
        if not span.is_recording():
            return
        if error:
            span.set_attribute("error.type", error)
            words = message if self._sink.content else None
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, words or None))
        span.end(_ns(at))

    def _tell(self, span: Span, **words: str) -> None:
        """The content, where it may be told."""
        if self._sink.content:
            span.set_attributes({_TOLD[what][0]: _TOLD[what][1](text) for what, text in words.items() if text})

    def _name(self, run: int) -> Names:
        """Names as they are told: without content, an input's value in one gives way to the input's name."""
        inputs = self._plans[run].inputs
        if self._sink.content or not inputs:
            return str
        return lambda words: _unfilled(words, inputs)


def _workflow(source: Any) -> str:
    kind = _kinds.find(source)
    name = kind.label(source) if kind is not None else str(getattr(source, "__name__", ""))
    return name if name and not name.startswith("<") else "crew"


def _unfilled(words: str, inputs: Mapping[str, Any]) -> str:
    plain = [(str(value), name) for name, value in inputs.items() if type(value) in (str, int, float) and str(value)]
    for value, name in sorted(plain, key=lambda pair: -len(pair[0])):
        left, *parts = words.split(value)
        for part in parts:
            is_alone = not any(c.isalnum() or c == "_" for c in left[-1:] + part[:1])
            left += (f"{{{name}}}" if is_alone else value) + part
        words = left
    return words


def _counts(usage: Usage, cost: float | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if usage.total_tokens:
        told |= {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
        }
    if usage.cached_prompt_tokens:
        told["gen_ai.usage.cache_read.input_tokens"] = usage.cached_prompt_tokens
    if usage.cache_creation_tokens:
        told["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_creation_tokens
    if usage.reasoning_tokens:
        told["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    if cost is not None:
        told["crew_nb.cost"] = cost
    return told


def _message(role: str) -> Callable[[str], str]:
    return lambda text: json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)


def _answer(text: str) -> str:
    said = {"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}
    return json.dumps([said], ensure_ascii=False)


_TOLD: dict[str, tuple[str, Callable[[str], str]]] = {
    "question": ("gen_ai.input.messages", _message("user")),
    "answer": ("gen_ai.output.messages", _answer),
    "output": ("gen_ai.output.messages", _answer),
    "arguments": ("gen_ai.tool.call.arguments", str),
    "result": ("gen_ai.tool.call.result", str),
}


def _ns(at: float) -> int:
    return int(at * 1e9)


_FOLDS: Mapping[type[ev.Event], Callable[[BatchTraces, Any], None]] = {
    ev.RunQueued: BatchTraces._run_queued,
    ev.RunStarted: BatchTraces._run_started,
    ev.CrewReady: BatchTraces._crew_ready,
    ev.TasksFound: BatchTraces._crew_ready,
    ev.RunFinished: BatchTraces._run_finished,
    ev.TaskStarted: BatchTraces._task_started,
    ev.TaskFinished: BatchTraces._task_ended,
    ev.TaskFailed: BatchTraces._task_ended,
    ev.TaskTaken: BatchTraces._task_taken,
    ev.CallStarted: BatchTraces._call_started,
    ev.CallChunk: BatchTraces._call_chunk,
    ev.CallFinished: BatchTraces._call_ended,
    ev.CallFailed: BatchTraces._call_ended,
}
