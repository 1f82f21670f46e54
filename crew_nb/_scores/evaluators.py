"""Evaluators of `pydantic_evals` as scores; it is an optional dependency, and not loaded unless the user has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPECTED = "expected_output"
"""The input that an evaluator knows as its case's."""


def owns(score: Any) -> bool:
    """Whether it is one."""
    module = sys.modules.get("pydantic_evals.evaluators")
    return module is not None and isinstance(score, module.Evaluator)


def name_of(score: Any) -> str:
    """What it calls its result."""
    return str(score.get_default_evaluation_name())


async def evaluate(score: Any, output: Any, inputs: Mapping[str, Any], seconds: float) -> Any:
    """What it says of an output: the structured one where there is one, else the text.

    Args:
        score: The evaluator.
        output: CrewAI's output.
        inputs: The run's; `expected_output` among them is the case's.
        seconds: What the run took.
    """
    from pydantic_evals.evaluators import EvaluatorContext
    from pydantic_evals.otel import SpanTree

    known = getattr(output, "pydantic", None), getattr(output, "json_dict", None), getattr(output, "raw", None)
    context: Any = EvaluatorContext(
        name=None,
        inputs=dict(inputs),
        metadata=None,
        expected_output=inputs.get(EXPECTED),
        output=next((each for each in known if each is not None), output),
        duration=seconds,
        _span_tree=SpanTree(),
        attributes={},
        metrics={},
    )
    return await score.evaluate_async(context)
