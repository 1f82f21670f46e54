"""Looks at objects that may be the user's: in a thread and not for ever, as their methods may raise, hang, be slow."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from crew_nb._crewai import outputs as _outputs

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""How long a look at a user's own object (an error, an output) may take: its methods may hang."""


async def looked(
    output: Any, look: Callable[[], T], otherwise: Callable[[BaseException], T], seconds: float | None = None
) -> T:
    """What the look at the output gives or, where it raises or takes too long, something else."""
    if _outputs.is_short_text(output):  # nothing of the user's: quicker than a thread could be asked
        return look()
    work = asyncio.get_running_loop().run_in_executor(None, look)
    work.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody may be there to hear of it
    await asyncio.wait([work], timeout=seconds or LOOK_SECONDS)
    try:
        return work.result()
    except BaseException as trouble:  # InvalidStateError: it goes on
        return otherwise(trouble)


def text_of(output: Any, usage: Any) -> str:
    """The text of an output, which is told the tokens of its run where it can be."""
    if usage is not None:
        with contextlib.suppress(Exception):
            _outputs.stamp(output, usage)
    return str.__str__(_outputs.text(output))
