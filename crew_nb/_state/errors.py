"""The exceptions a user meets; each message says what happened and what to write instead.

CrewNbError
├── BlueprintError (TypeError)          the crew argument or its inputs cannot be run
│   └── UnfaithfulCopyError             a Crew object that CrewAI cannot copy faithfully
├── OptionError (ValueError)            an option has a value that cannot be meant
├── RunFailedError                      one run ended without an output
│   ├── RunCancelledError               it was stopped
│   └── RunTimeoutError (TimeoutError)  its timeout or idle_timeout passed
├── BudgetExceededError                 max_cost, max_total_tokens or max_errors stopped new work
├── NobodyToAskError                    a task asks a person where nobody can answer
├── NotRecordedError                    answers= has no answer to what is asked
├── NotFinishedError                    an output was read before its run was final
├── NestedLoopsError (RuntimeError)     nested loops would do harm here
└── RecordError                         the store of past runs cannot be used
"""

from __future__ import annotations


class CrewNbError(Exception):
    """Base of everything that crew_nb itself raises."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the user's lines and the sentence."""
        from crew_nb._state import tracebacks

        return tracebacks.rendered(self)


class BlueprintError(CrewNbError, TypeError):
    """Raised when a crew argument or its inputs cannot be run; nothing was started."""


class UnfaithfulCopyError(BlueprintError):
    """Raised when a `Crew` object cannot be copied faithfully; pass a factory instead."""


class OptionError(CrewNbError, ValueError):
    """Raised when an option has a value that cannot be meant; nothing was started."""


class RunFailedError(CrewNbError):
    """Raised when the output of a run that did not finish is asked for.

    Its `__cause__` is the crew's own error, with the crew's traceback.
    """

    def __init__(self, index: int, label: str, reason: str) -> None:
        self.index = index
        self.label = label
        self.reason = reason
        super().__init__(f"run {index} ({label}) {reason}")

    def __reduce__(self) -> tuple[type, tuple[int, str, str]]:
        return type(self), (self.index, self.label, self.reason)


class RunCancelledError(RunFailedError):
    """Raised when the output of a cancelled run is asked for; `batch.retry()` runs it again."""


class RunTimeoutError(RunFailedError, TimeoutError):
    """Raised when a run passed its `timeout` or `idle_timeout`; `batch.retry()` runs it again."""


class BudgetExceededError(CrewNbError):
    """Raised in runs that a budget (`max_cost`, `max_total_tokens`, `max_errors`) kept from going on."""


class NobodyToAskError(CrewNbError):
    """Raised when a task with `human_input=True` runs where nobody can answer."""


class NotRecordedError(CrewNbError):
    """Raised in runs that ask what the file of recorded answers does not have."""


class NotFinishedError(CrewNbError, RuntimeError):
    """Raised when an output is read before its run is final; `await` the batch first."""


class NestedLoopsError(CrewNbError, RuntimeError):
    """Raised when `allow_nested_loops()` would do harm here; nothing was patched."""


class RecordError(CrewNbError, OSError):
    """Raised when the store of past runs cannot be read or written."""
