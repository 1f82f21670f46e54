"""What a crew returned to JSON and back: a `CrewOutput` whole, or any value that a callback put in its place."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from crew_nb._state.plain import Json, Scrub, model_fields, plain, same, unplain

T = TypeVar("T")

_TASK_TEXTS = ("description", "name", "expected_output", "summary", "raw", "agent")


def encode(output: Any, scrub: Scrub = same) -> dict[str, Json]:
    """What a crew returned as JSON: a `CrewOutput` whole, or any value that a callback put in its place."""
    if not (hasattr(output, "tasks_output") and hasattr(output, "token_usage")):
        return {"value": plain(output, scrub)}
    return {
        "raw": plain(output.raw, scrub),
        "pydantic": plain(output.pydantic, scrub),
        "json_dict": plain(output.json_dict, scrub),
        "tasks_output": [
            {
                **{name: plain(getattr(task, name), scrub) for name in _TASK_TEXTS},
                "pydantic": plain(task.pydantic, scrub),
                "json_dict": plain(task.json_dict, scrub),
                "output_format": plain(task.output_format),
                "messages": plain(task.messages, scrub),
                "tool_failures": [plain(model_fields(failure), scrub) for failure in task.tool_failures],
            }
            for task in output.tasks_output
        ],
        "token_usage": plain(model_fields(output.token_usage)),
    }


def decode(tree: dict[str, Json], importing: bool = False) -> Any:
    """The `CrewOutput` (or the value in its place) that `encode` was given; imports CrewAI.

    Args:
        tree: What `encode` returned.
        importing: As for `unplain`.

    Raises:
        Exception: Where the tree is not that of such an output.
    """
    if "value" in tree:
        return unplain(tree["value"], importing)
    from crewai.crews.crew_output import CrewOutput
    from crewai.tasks.output_format import OutputFormat
    from crewai.tasks.task_output import TaskOutput
    from crewai.tools.tool_failure import ToolFailureRecord
    from crewai.types.usage_metrics import UsageMetrics

    def task(part: dict[str, Json]) -> TaskOutput:
        values = {name: unplain(value, importing) for name, value in part.items()}
        values["output_format"] = OutputFormat(values["output_format"])
        values["tool_failures"] = [_build(ToolFailureRecord, failure) for failure in values["tool_failures"]]
        return _build(TaskOutput, values)

    return _build(
        CrewOutput,
        {
            "raw": unplain(tree["raw"]),
            "pydantic": unplain(tree["pydantic"], importing),
            "json_dict": unplain(tree["json_dict"], importing),
            "tasks_output": [task(part) for part in tree["tasks_output"]],
            "token_usage": _build(UsageMetrics, tree["token_usage"]),
        },
    )


def _build(kind: type[T], values: dict[str, Any]) -> T:
    """CrewAI's model with these fields, unchecked where its checks refuse what it once held."""
    model: Any = kind
    try:
        return cast("T", model(**values))
    except ValueError:
        return cast("T", model.model_construct(**values))
