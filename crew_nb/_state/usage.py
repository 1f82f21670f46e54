"""Token counts as a value that adds up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import add, attrgetter, sub
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
        return Usage(**dict(zip(_NAMES, map(add, _counts(self), _counts(other)), strict=True)))

    def __sub__(self, other: Usage) -> Usage:
        """What was added since `other`; a counter that was set back gives nothing."""
        less = map(sub, _counts(self), _counts(other))
        return Usage(**{name: max(0, count) for name, count in zip(_NAMES, less, strict=True)})

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return dict(zip(_NAMES, _counts(self), strict=True))

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Usage:
        """Counts by name; unknown names and values that are no numbers are left out."""
        return cls(**{k: int(v) for k, v in counts.items() if k in _NAMES and isinstance(v, int | float)})


_NAMES = tuple(field.name for field in fields(Usage))
_counts = attrgetter(*_NAMES)
