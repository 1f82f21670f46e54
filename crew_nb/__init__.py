"""Run many CrewAI crews at once from a notebook: the public names, and nothing else."""

from importlib import import_module  # noqa: TID251 - the public names, each where `_WHERE` says
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crew_nb._cells.about import environment as environment
    from crew_nb._cells.about import load as load
    from crew_nb._cells.benchmark import benchmark as benchmark
    from crew_nb._cells.hints import load_ipython_extension as load_ipython_extension
    from crew_nb._cells.hints import unload_ipython_extension as unload_ipython_extension
    from crew_nb._cells.launcher import launcher as launcher
    from crew_nb._cells.pilot import Estimate as Estimate
    from crew_nb._cells.pilot import estimate as estimate
    from crew_nb._cells.sweep import sweep as sweep
    from crew_nb._cells.verbs import gather as gather
    from crew_nb._cells.verbs import kickoff as kickoff
    from crew_nb._cells.verbs import kickoff_for_each as kickoff_for_each
    from crew_nb._crewai.check import Finding as Finding
    from crew_nb._crewai.check import Findings as Findings
    from crew_nb._crewai.check import check as check
    from crew_nb._crewai.offline import OfflineLLM as OfflineLLM
    from crew_nb._engine.prices import set_price as set_price
    from crew_nb._engine.traces import set_traces as set_traces
    from crew_nb._handles.batch import Batch as Batch
    from crew_nb._handles.results import Results as Results
    from crew_nb._handles.run import Run as Run
    from crew_nb._record.answers import answers as answers
    from crew_nb._record.record import runs as runs
    from crew_nb._record.record import set_record as set_record
    from crew_nb._scores.judge import judge as judge
    from crew_nb._state.errors import BlueprintError as BlueprintError
    from crew_nb._state.errors import BudgetExceededError as BudgetExceededError
    from crew_nb._state.errors import CrewNbError as CrewNbError
    from crew_nb._state.errors import NestedLoopsError as NestedLoopsError
    from crew_nb._state.errors import NobodyToAskError as NobodyToAskError
    from crew_nb._state.errors import NotFinishedError as NotFinishedError
    from crew_nb._state.errors import NotRecordedError as NotRecordedError
    from crew_nb._state.errors import OptionError as OptionError
    from crew_nb._state.errors import RecordError as RecordError
    from crew_nb._state.errors import RunCancelledError as RunCancelledError
    from crew_nb._state.errors import RunFailedError as RunFailedError
    from crew_nb._state.errors import RunTimeoutError as RunTimeoutError
    from crew_nb._state.errors import UnfaithfulCopyError as UnfaithfulCopyError
    from crew_nb._state.loop import allow_nested_loops as allow_nested_loops

# Loaded when first used: the import stays under half a second, and CrewAI is not loaded before it is needed.
_WHERE = {
    "Batch": "_handles.batch",
    "BlueprintError": "_state.errors",
    "BudgetExceededError": "_state.errors",
    "CrewNbError": "_state.errors",
    "Estimate": "_cells.pilot",
    "Finding": "_crewai.check",
    "Findings": "_crewai.check",
    "NestedLoopsError": "_state.errors",
    "NobodyToAskError": "_state.errors",
    "NotFinishedError": "_state.errors",
    "NotRecordedError": "_state.errors",
    "OfflineLLM": "_crewai.offline",
    "OptionError": "_state.errors",
    "RecordError": "_state.errors",
    "Results": "_handles.results",
    "Run": "_handles.run",
    "RunCancelledError": "_state.errors",
    "RunFailedError": "_state.errors",
    "RunTimeoutError": "_state.errors",
    "UnfaithfulCopyError": "_state.errors",
    "allow_nested_loops": "_state.loop",
    "answers": "_record.answers",
    "benchmark": "_cells.benchmark",
    "check": "_crewai.check",
    "environment": "_cells.about",
    "estimate": "_cells.pilot",
    "gather": "_cells.verbs",
    "judge": "_scores.judge",
    "kickoff": "_cells.verbs",
    "kickoff_for_each": "_cells.verbs",
    "launcher": "_cells.launcher",
    "load": "_cells.about",
    "load_ipython_extension": "_cells.hints",
    "runs": "_record.record",
    "set_price": "_engine.prices",
    "set_record": "_record.record",
    "set_traces": "_engine.traces",
    "sweep": "_cells.sweep",
    "unload_ipython_extension": "_cells.hints",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'crew_nb' has no attribute {name!r}")
    value = getattr(import_module(f"crew_nb.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
