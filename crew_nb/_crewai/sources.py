"""The functions of CrewAI's that the direct path stands in for, and whether this CrewAI has moved them."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import textwrap
from typing import Any

_STEPS = {
    "crewai.agents.agent_executor:AgentExecutor": (
        "_setup_executor=c55798f7 _setup_messages=deedb88a _handle_human_feedback=80b567ad "
        "_ahandle_human_feedback=10779ae0 _complete_feedback=2cad228b _prepare_feedback_iteration=e6d94831 "
        "_ainvoke_loop=3539a959 initialize_reasoning=58116e2a check_max_iterations=3795de01 "
        "call_llm_and_parse=52591051 call_llm_native_tools=9420f3ac route_by_answer_type=45abe8de "
        "execute_tool_action=73bd5154 execute_native_tool=de7a9963 check_todo_completion=01e8d6ae "
        "check_native_todo_completion=6f437cdf increment_and_continue=d061e346 ensure_force_final_answer=bcdf7f20 "
        "recover_from_parser_error=8c77347b recover_from_context_length=9dcf7791 finalize=7eaaf08e invoke=e9b7efec "
        "invoke_async=96ee9371"
    ),
    "crewai.agents.agent_builder.base_agent_executor:BaseAgentExecutor": "_save_to_memory=5ca1824a",
    "crewai.flow.runtime:Flow": (
        "kickoff=7b4d8f72 kickoff_async=56ce3949 _flow_post_init=d2343a25 _open_flow_scope=e3e0301e "
        "_emit_flow_failed=9a9a63ba"
    ),
    "crewai.utilities.agent_utils:": (
        "_prepare_llm_call=27d55d1a _validate_and_finalize_llm_response=cc06fbeb "
        "_proactively_summarize_context=0838695c get_llm_response=0cf3b6aa _setup_before_llm_call_hooks=37319490 "
        "_setup_after_llm_call_hooks=841c6819 handle_max_iterations_exceeded=600bb70e handle_context_length=046d5ae6 "
        "process_llm_response=49740bc2"
    ),
    "crewai.agent.core:Agent": (
        "create_agent_executor=4a528eaa _update_executor_parameters=f759ff94 _execute_without_timeout=b154a7ba "
        "_aexecute_without_timeout=6516bb5a"
    ),
    "crewai.crew:Crew": "akickoff=4f338f2d _create_manager_agent=638913a7 _store_execution_log=73dbb17e",
}
"""What `_direct` stands in for, by module and class, and digests of the sources that it was checked against.

Where `executor_moved` names some for a new CrewAI: run `tests/conformance` on the direct path, and put the digest
beside the one that is here (`name=old/new`) if it passes.
"""


def executor_moved() -> list[str]:
    """The functions under the direct path whose source is none that was checked, each with the digest it has now."""
    moved = []
    for place, steps in _STEPS.items():
        module, _, cls = place.partition(":")
        owner: Any = None
        with contextlib.suppress(ImportError, AttributeError):
            found = importlib.import_module(module)  # noqa: TID251 - a name of CrewAI's
            owner = getattr(found, cls) if cls else found
        if owner is None:
            moved.append(f"{module.removeprefix('crewai.')}{'.' * bool(cls)}{cls} (not there)")
            continue
        for name, _, known in (step.partition("=") for step in steps.split()):
            digest = _digest(vars(owner).get(name))
            if digest not in known.split("/"):
                moved.append(f"{cls or module.rpartition('.')[2]}.{name} ({digest})")
    return moved


def _digest(step: Any) -> str:
    """Of a function's lines without its docstring and comments: they change nothing."""
    try:
        source = textwrap.dedent(inspect.getsource(getattr(step, "unwrap", lambda: step)()))
    except (OSError, TypeError):
        return "not there" if step is None else "no source"
    words = ast.parse(source).body[0].body[0]  # type: ignore[attr-defined]
    said = range(0)
    if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant) and isinstance(words.value.value, str):
        said = range(words.lineno, (words.end_lineno or words.lineno) + 1)
    lines = (line.rstrip() for number, line in enumerate(source.splitlines(), 1) if number not in said)
    code = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:8]
