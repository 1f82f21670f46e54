"""httpcore's pool of HTTP connections, looked through once a request on the engine's loop, and not once a connection.

Every LLM client of CrewAI's keeps its connections there. httpcore 1.0 asks each idle socket at each request whether it
is still open, and counts all connections once for each that is idle: with 256 calls in flight that is more work than
the calls are (encode/httpcore#924, #1035). A connection that is already given to a request may be closed under it, too
(#1110). Both are mended here for the engine's loop only; other loops, and other versions, keep httpcore's own.
"""

from __future__ import annotations

import functools
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKED = "1.0."
"""The versions whose pool is known."""

NAMES = "_assign_requests_to_connections _connections _http2 _max_connections _max_keepalive_connections _requests"
"""What is touched of httpcore's insides: the method that is replaced, and what it reads."""

SWEEP_SECONDS = 1.0
"""How often all idle connections of a pool are asked whether they are open; one that is about to be used always is."""


def install(here: Callable[[], bool]) -> None:
    """Take the place of httpcore's own search wherever `here()` says so; versions that are not known keep theirs."""
    import httpcore

    pool = httpcore.AsyncConnectionPool
    own = getattr(pool, "_assign_requests_to_connections", None)
    if own is None or not httpcore.__version__.startswith(CHECKED) or hasattr(own, "_crew_nb"):
        return
    swept: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    @functools.wraps(own)
    def assign(self: Any) -> list[Any]:
        if self._http2 or not here():
            return own(self)  # type: ignore[no-any-return]
        now = time.monotonic()
        due = now - swept.get(self, 0.0) >= SWEEP_SECONDS
        if due:
            swept[self] = now
        return _assign(self, sweep=due)

    assign._crew_nb = True  # type: ignore[attr-defined]
    pool._assign_requests_to_connections = assign  # type: ignore[method-assign]


def _assign(pool: Any, *, sweep: bool) -> list[Any]:
    """Give connections to the requests that have none, first come, first served; returns those to be closed."""
    taken = {id(request.connection) for request in pool._requests if request.connection is not None}
    kept: list[Any] = []
    idle: list[Any] = []
    closing: list[Any] = []
    for connection in pool._connections:
        if id(connection) in taken:
            kept.append(connection)
        elif connection.is_closed():
            continue
        elif not connection.is_idle():
            kept.append(connection)
        elif sweep and connection.has_expired():
            closing.append(connection)
        else:
            idle.append(connection)
    surplus = max(0, len(idle) - pool._max_keepalive_connections)
    closing += idle[:surplus]
    idle = idle[surplus:]
    for request in pool._requests:
        if not request.is_queued():
            continue
        origin = request.request.url.origin
        connection = _open_one(idle, origin, closing)
        if connection is None:
            if len(kept) + len(idle) >= pool._max_connections:
                if not idle:
                    break
                closing.append(idle.pop(0))
            connection = pool.create_connection(origin)
        kept.append(connection)
        request.assign_to_connection(connection)
    pool._connections[:] = kept + idle
    return closing


def _open_one(idle: list[Any], origin: Any, closing: list[Any]) -> Any:
    """The last used of the idle connections to the origin that is still open, out of the list; None without one."""
    for place in range(len(idle) - 1, -1, -1):
        connection = idle[place]
        if connection.can_handle_request(origin):
            del idle[place]
            if not connection.has_expired():
                return connection
            closing.append(connection)
    return None
