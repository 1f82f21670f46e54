"""Token counts as a value that adds up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and requests, with the field names of CrewAI's `UsageMetrics`."""

    total_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cache_creation_tokens: int = 0
    successful_requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)})

    def __sub__(self, other: Usage) -> Usage:
        """What was added since `other`; a counter that was set back gives nothing."""
        return Usage(**{f.name: max(0, getattr(self, f.name) - getattr(other, f.name)) for f in fields(Usage)})

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(Usage)}

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Usage:
        """Counts by name; unknown names and values that are no numbers are left out."""
        names = {f.name for f in fields(cls)}
        return cls(**{k: int(v) for k, v in counts.items() if k in names and isinstance(v, int | float)})
