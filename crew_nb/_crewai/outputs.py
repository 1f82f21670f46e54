"""What a run returned, whatever its kind: its text, what CrewAI itself would have given, and JSON and back."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from crew_nb._state.errors import RecordError
from crew_nb._state.plain import Json, Scrub, bare, model_fields, plain, same, unplain

T = TypeVar("T")

SHORT = 20_000
"""Characters that a look at an output goes through at once."""


@dataclass(slots=True)
class FlowOutput:
    """What a flow's last step returned, and the state in which it ended."""

    value: Any
    state: Any
    token_usage: Any = None

    @property
    def raw(self) -> str:
        """The value as text."""
        return text(self.value)

    @property
    def pydantic(self) -> Any:
        """The value where it is a model, or the model of the crew or agent that gave it."""
        return self.value if isinstance(self.value, BaseModel) and not _is_output(self.value) else _of(self, "pydantic")

    @property
    def json_dict(self) -> dict[str, Any] | None:
        """The value where it is a dict, or that of the crew that gave it."""
        return self.value if isinstance(self.value, dict) else _of(self, "json_dict")

    @property
    def tasks_output(self) -> list[Any]:
        """The tasks of the crew that gave the value, if one did."""
        return _of(self, "tasks_output") or []

    def to_dict(self) -> dict[str, Any]:
        """The structured value as a dict; empty where it has none."""
        structured = self.pydantic
        return structured.model_dump() if structured is not None else dict(self.json_dict or {})

    def __getitem__(self, key: str) -> Any:
        return self.value[key]

    def __str__(self) -> str:
        return self.raw


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step of a flow returned, and what it did to the flow's state."""

    value: Any
    changed: dict[str, Any]
    """Parts of the state that it put in, or changed."""
    gone: tuple[str, ...]
    """Parts that it took out."""
    order: int
    """Of two steps that changed the same, the one that ended last counts."""
    beside: tuple[int, ...] = ()
    """Positions of steps that were at work meanwhile and had not ended well: the changes may be theirs."""

    @property
    def raw(self) -> str:
        """The value as text."""
        return text(self.value)


def _is_output(value: Any) -> bool:
    return hasattr(value, "raw") and (hasattr(value, "tasks_output") or hasattr(value, "agent_role"))


def _of(output: FlowOutput, name: str) -> Any:
    return getattr(output.value, name, None) if _is_output(output.value) else None


def text(output: Any) -> str:
    """What it says."""
    if _is_output(output) or isinstance(output, FlowOutput):
        return str(output.raw)
    if isinstance(output, BaseModel):
        return json.dumps(plain(output), ensure_ascii=False)
    if isinstance(output, dict | list):
        return json.dumps(output, ensure_ascii=False, default=str)
    return "" if output is None else str(output)


def given(output: Any) -> Any:
    """What CrewAI itself would have returned: `CrewOutput`, `LiteAgentOutput`, a flow's value."""
    return output.value if isinstance(output, FlowOutput) else output


def structured(output: Any) -> dict[str, Any]:
    """The fields of a crew's, an agent's or a task's structured output; empty where it has none."""
    model = getattr(output, "pydantic", None)
    if model is None:
        found = getattr(output, "json_dict", None)
        return dict(found) if isinstance(found, dict) else {}
    try:
        return dict(model.model_dump())
    except Exception:  # one of the user's class must not cost the others
        return dict(model_fields(model))


def stamp(output: Any, usage: Any) -> None:
    """Let it tell the tokens of its run alone."""
    if hasattr(output, "agent_role") and hasattr(output, "usage_metrics"):
        output.usage_metrics = usage.model_dump()
    elif hasattr(output, "token_usage"):
        output.token_usage = usage


_TASK_TEXTS = ("description", "name", "expected_output", "summary", "raw", "agent")
_TEXT = frozenset({str, type(None)})


def is_short_text(output: Any) -> bool:
    """Whether it is of CrewAI's own class and holds short texts only: a look at it calls nothing of the user's."""
    try:
        texts = _all_texts(output)
    except Exception:  # a callback may have put anything into it
        return False
    return all(type(text) in _TEXT for text in texts) and sum(len(text or "") for text in texts) < SHORT


def _all_texts(output: Any) -> list[Any]:
    """What it holds, texts mostly; the classes alone are asked what it is."""
    values = output.__dict__ if type(output) in _stock_classes() else {}
    held = [values["pydantic"], values["json_dict"]]
    if "tasks_output" in values:
        tasks = values["tasks_output"]
        return [*held, values["raw"], *(text for task in _as(list, tasks) for text in _all_texts(task))]
    held += [values[name] for name in _TASK_TEXTS] + _as(list, values["tool_failures"])
    return held + [item for message in _as(list, values["messages"]) for item in _as(dict, message).values()]


def _as(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError
    return value


@functools.cache
def _stock_classes() -> tuple[type, type]:
    from crewai.crews.crew_output import CrewOutput
    from crewai.tasks.task_output import TaskOutput

    return CrewOutput, TaskOutput


def encode(output: Any, scrub: Scrub = same) -> dict[str, Json]:
    """What a crew returned as JSON: a `CrewOutput` whole, or any value that a callback put in its place."""
    if isinstance(output, FlowOutput):
        return {"flow": encode(output.value, scrub), "state": plain(output.state, scrub)}
    if hasattr(output, "agent_role") and hasattr(output, "usage_metrics"):
        return {"agent": {name: plain(value, scrub) for name, value in model_fields(output).items()}}
    if not (hasattr(output, "tasks_output") and hasattr(output, "token_usage")):
        return {"value": plain(output, scrub)}
    return {
        "raw": plain(output.raw, scrub),
        "pydantic": plain(output.pydantic, scrub),
        "json_dict": plain(output.json_dict, scrub),
        "tasks_output": [encode_task(task, scrub) for task in output.tasks_output],
        "token_usage": plain(model_fields(output.token_usage)),
    }


def encode_task(task: Any, scrub: Scrub = same) -> dict[str, Json]:
    """A `TaskOutput`, or what a step did, as JSON."""
    if isinstance(task, StepOutput):
        return _encode_step(task, scrub)
    return {
        **{name: plain(getattr(task, name), scrub) for name in _TASK_TEXTS},
        "pydantic": plain(task.pydantic, scrub),
        "json_dict": plain(task.json_dict, scrub),
        "output_format": plain(task.output_format),
        "messages": plain(task.messages, scrub),
        "tool_failures": [plain(model_fields(failure), scrub) for failure in task.tool_failures],
    }


def _encode_step(step: StepOutput, scrub: Scrub) -> dict[str, Json]:
    def tree(scrub: Scrub) -> dict[str, Json]:
        return {
            "step": encode(step.value, scrub),
            "changed": plain(step.changed, scrub),
            "gone": [scrub(name) for name in step.gone],
            "order": step.order,
            "beside": list(step.beside),
        }

    try:
        again = decode_task(tree(same))
        is_whole = again.changed == step.changed and (_is_output(step.value) or again.value == step.value)
    except Exception:
        is_whole = False
    return tree(scrub) | ({} if is_whole else {"unfit": "what it returned, or put into the state, cannot be written"})


def decode(tree: dict[str, Json]) -> Any:
    """The `CrewOutput` (or the value in its place) that `encode` was given; imports CrewAI.

    Args:
        tree: What `encode` returned.

    Raises:
        Exception: Where the tree is not that of such an output.
    """
    if type(tree) is not dict:
        raise RecordError("it is damaged")
    if "flow" in tree:
        return FlowOutput(value=decode(tree["flow"]), state=unplain(tree["state"]))
    if "agent" in tree:
        from crewai.lite_agent_output import LiteAgentOutput

        return _build(LiteAgentOutput, _values(tree["agent"]))
    if "value" in tree:
        return unplain(tree["value"])
    from crewai.crews.crew_output import CrewOutput
    from crewai.types.usage_metrics import UsageMetrics

    return _build(
        CrewOutput,
        {
            "raw": unplain(tree["raw"]),
            "pydantic": unplain(tree["pydantic"]),
            "json_dict": unplain(tree["json_dict"]),
            "tasks_output": [decode_task(part) for part in tree["tasks_output"]],
            "token_usage": _build(UsageMetrics, tree["token_usage"]),
        },
    )


def decode_task(tree: dict[str, Json]) -> Any:
    """The `TaskOutput` that `encode_task` was given; imports CrewAI. Raises as `decode` does."""
    if "step" in tree:
        return StepOutput(
            decode(tree["step"]),
            unplain(tree["changed"]),
            tuple(tree["gone"]),
            int(tree["order"]),
            tuple(map(int, tree["beside"])),
        )
    from crewai.tasks.output_format import OutputFormat
    from crewai.tasks.task_output import TaskOutput
    from crewai.tools.tool_failure import ToolFailureRecord

    values = _values(tree)
    values["output_format"] = OutputFormat(values["output_format"])
    values["tool_failures"] = [_build(ToolFailureRecord, failure) for failure in values["tool_failures"]]
    return _build(TaskOutput, values)


def _values(tree: dict[str, Json]) -> dict[str, Any]:
    return {name: unplain(bare(value) if name in _CREWAIS else value) for name, value in tree.items()}


_CREWAIS = frozenset({"tool_failures", "todos"})
"""Fields that hold models of CrewAI's."""
_Text = str | None
_FIT: dict[str, dict[str, Any]] = {
    "CrewOutput": {"raw": str, "json_dict": dict | None, "tasks_output": list},
    "TaskOutput": dict.fromkeys(_TASK_TEXTS, _Text)
    | {"description": str, "raw": str, "agent": str, "json_dict": dict | None, "messages": list},
    "LiteAgentOutput": {"raw": str, "agent_role": str, "usage_metrics": dict | None, "messages": list},
}
"""What the fields of CrewAI's models must be, at the least, for code that reads them."""


def _build(kind: type[T], values: dict[str, Any]) -> T:
    """CrewAI's model with these fields, unchecked where its checks refuse what it may once have held."""
    model: Any = kind
    try:
        return cast("T", model(**values))
    except ValueError:
        wanted = _FIT.get(kind.__name__)
        structured = values.get("pydantic")
        if (
            wanted is None
            or any(not isinstance(values.get(name), types) for name, types in wanted.items())
            or not (structured is None or hasattr(type(structured), "model_fields"))
        ):
            raise RecordError("it is damaged") from None
        return cast("T", model.model_construct(**values))
