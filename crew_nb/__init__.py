"""Run many CrewAI crews at once from a notebook: the public names, and nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crew_nb._about import environment as environment
    from crew_nb._about import load as load
    from crew_nb._batch import Batch as Batch
    from crew_nb._benchmark import benchmark as benchmark
    from crew_nb._check import Finding as Finding
    from crew_nb._check import Findings as Findings
    from crew_nb._check import check as check
    from crew_nb._errors import BlueprintError as BlueprintError
    from crew_nb._errors import BudgetExceededError as BudgetExceededError
    from crew_nb._errors import CrewNbError as CrewNbError
    from crew_nb._errors import NestedLoopsError as NestedLoopsError
    from crew_nb._errors import NobodyToAskError as NobodyToAskError
    from crew_nb._errors import NotFinishedError as NotFinishedError
    from crew_nb._errors import OptionError as OptionError
    from crew_nb._errors import RecordError as RecordError
    from crew_nb._errors import RunCancelledError as RunCancelledError
    from crew_nb._errors import RunFailedError as RunFailedError
    from crew_nb._errors import RunTimeoutError as RunTimeoutError
    from crew_nb._errors import UnfaithfulCopyError as UnfaithfulCopyError
    from crew_nb._hints import load_ipython_extension as load_ipython_extension
    from crew_nb._hints import unload_ipython_extension as unload_ipython_extension
    from crew_nb._launcher import launcher as launcher
    from crew_nb._loop import allow_nested_loops as allow_nested_loops
    from crew_nb._notebook import gather as gather
    from crew_nb._notebook import kickoff as kickoff
    from crew_nb._notebook import kickoff_for_each as kickoff_for_each
    from crew_nb._offline import OfflineLLM as OfflineLLM
    from crew_nb._prices import set_price as set_price
    from crew_nb._record import runs as runs
    from crew_nb._record import set_record as set_record
    from crew_nb._results import Results as Results
    from crew_nb._run import Run as Run

# Loaded when first used: the import stays under half a second, and CrewAI is not loaded before it is needed.
_WHERE = {
    "Batch": "_batch",
    "BlueprintError": "_errors",
    "BudgetExceededError": "_errors",
    "CrewNbError": "_errors",
    "Finding": "_check",
    "Findings": "_check",
    "NestedLoopsError": "_errors",
    "NobodyToAskError": "_errors",
    "NotFinishedError": "_errors",
    "OfflineLLM": "_offline",
    "OptionError": "_errors",
    "RecordError": "_errors",
    "Results": "_results",
    "Run": "_run",
    "RunCancelledError": "_errors",
    "RunFailedError": "_errors",
    "RunTimeoutError": "_errors",
    "UnfaithfulCopyError": "_errors",
    "allow_nested_loops": "_loop",
    "benchmark": "_benchmark",
    "check": "_check",
    "environment": "_about",
    "gather": "_notebook",
    "kickoff": "_notebook",
    "kickoff_for_each": "_notebook",
    "launcher": "_launcher",
    "load": "_about",
    "load_ipython_extension": "_hints",
    "runs": "_record",
    "set_price": "_prices",
    "set_record": "_record",
    "unload_ipython_extension": "_hints",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'crew_nb' has no attribute {name!r}")
    value = getattr(import_module(f"crew_nb.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
