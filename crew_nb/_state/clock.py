"""The time at which things happen, in Unix seconds that only go forward, by seconds of their own length.

A laptop sleeps, a VM is resumed, NTP sets the clock: what time it is jumps, how long something took does not. So the
wall clock is read once and the monotonic one from then on, and again only when nothing is under way.
"""

from __future__ import annotations

import time

_apart = time.time() - time.monotonic()


def now() -> float:
    """Unix seconds, as of the last look at the wall clock."""
    return time.monotonic() + _apart


def look() -> None:
    """Looks at the wall clock; only while nothing is under way whose times would be compared."""
    global _apart
    _apart = time.time() - time.monotonic()
