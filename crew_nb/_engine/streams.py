"""Which LLM calls ask for their answer in pieces.

Streaming is a wish of the board's, not the user's: it must not change what is answered or counted. It is not asked for
where it would, and given up, for that LLM, where the provider shows that it would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._engine.retry import UnreadableAnswerError

if TYPE_CHECKING:
    from crew_nb._engine.retry import Verdict
    from crew_nb._state.call import Asked, CallRecord

_REFUSING = frozenset({400, 404, 405, 406, 415, 422, 501})
"""Statuses with which a server may mean that it streams nothing; asking once without a stream tells."""
_HARD = frozenset({"auth", "context length", "cancelled", "rate limit", "timeout"})
_CUT = frozenset({"length", "max_tokens", "incomplete", "content_filter", "safety"})


class EmptyStreamError(Exception):
    """Raised when a stream has ended and brought nothing."""

    def __init__(self) -> None:
        super().__init__("the stream ended without an answer")


class CutShortError(ConnectionError):
    """Raised when a stream has ended before the answer had."""

    def __init__(self) -> None:
        super().__init__(
            "the answer broke off: its stream ended without a finish reason, as where a connection is lost"
        )


class Streams:
    """What is known of streams in one batch. Any thread may use it: what it holds only grows."""

    def __init__(self) -> None:
        self._without: set[Any] = set()
        """LLMs that are asked without streams."""
        self._probed: set[Any] = set()
        """LLMs whose trouble was not that of streams."""

    def wanted(self, wish: bool | None, asked: Asked) -> bool | None:
        """Whether to ask in pieces; None where the LLM object is to be asked as it is.

        Args:
            wish: The batch's.
            asked: The call.
        """
        own = bool(getattr(asked.llm, "stream", False))
        if (own if wish is None else wish) and (_known_as(asked) in self._without or _crewai.loses_in_streams(asked)):
            return False
        return wish

    def is_refusal(self, record: CallRecord, error: Exception, verdict: Verdict) -> bool:
        """Whether the trouble may be that an answer in pieces was asked for, so that to ask for a whole one helps."""
        if isinstance(error, EmptyStreamError):
            return True
        if not record.stream or record.pieces or verdict.kind in _HARD or _known_as(record.asked) in self._probed:
            return False
        says_so = "stream" in str(error).lower()
        if verdict.retryable:
            return says_so and verdict.status in (500, 501)
        return says_so or verdict.status in _REFUSING

    def give_up(self, asked: Asked) -> bool:
        """Ask this LLM without streams from now on; False where that was so already."""
        known = _known_as(asked)
        fresh = known not in self._without
        self._without.add(known)
        return fresh

    def clear(self, asked: Asked) -> None:
        """Without a stream the LLM had the same trouble."""
        self._probed.add(_known_as(asked))

    def trouble(self, record: CallRecord, result: Any, wish: bool | None) -> Exception | None:
        """What is wrong with an answer, in most cases one that came in pieces; None where all of it is there.

        Args:
            record: The call.
            result: What CrewAI made of the answer.
            wish: Whether the batch wants streams. What an LLM of the user's gives in its own is what CrewAI gets.
        """
        if _crewai.is_apology(record.asked.llm, result) and record.finish_reason != "tool_use":
            return UnreadableAnswerError("")
        if not did_stream(record):
            return None
        if record.completed and record.finish_reason is None and _crewai.tells_finish(record.asked.llm):
            return CutShortError()
        told = was_cut(record) or record.asked.functions  # it may have called one that is not there
        if wish and is_empty(result) and not told and _known_as(record.asked) not in self._probed:
            return EmptyStreamError()
        return None


def did_stream(record: CallRecord) -> bool:
    """Whether the answer came in pieces; an LLM class of the user's may know nothing of them."""
    return record.stream and (record.pieces > 0 or _crewai.tells_finish(record.asked.llm))


def is_empty(result: Any) -> bool:
    """Whether CrewAI takes this for no answer."""
    return result is None or (isinstance(result, str) and not result.strip())


def was_cut(record: CallRecord) -> bool:
    """Whether the provider says that it ended the answer before it was complete."""
    return str(record.finish_reason).lower() in _CUT


def _known_as(asked: Asked) -> Any:
    """A factory makes an LLM object for each run: what is known of one holds for its likes."""
    llm = asked.llm
    return type(llm), asked.model, str(getattr(llm, "base_url", "")), str(getattr(llm, "api", ""))
