"""Connections to providers: one client for all runs that ask for the same, and a pool that is quick with many of them.

An OpenAI client costs 45 to 60 ms and two TLS contexts of a megabyte; a factory makes an LLM object, and with it two
clients, for each run. Those of runs of ours are shared where all that they are made of is the same.

Every LLM client of CrewAI's keeps its connections there. httpcore 1.0 asks each idle socket at each request whether it
is still open, and counts all connections once for each that is idle: with 256 calls in flight that is more work than
the calls are (encode/httpcore#924, #1035). A connection that is already given to a request may be closed under it, too
(#1110). Both are mended here for the engine's loop only; other loops, and other versions, keep httpcore's own. There
each request looks the pool through once, and not once a connection.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import socket
import sys
import threading
import time
import weakref
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from crew_nb._crewai.patches import put_around
from crew_nb._state import attempt as _attempt
from crew_nb._state.secret_search import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

    from crew_nb._state.call import CallRecord

CHECKED = "1.0."
"""The versions whose pool is known."""

NAMES = "_assign_requests_to_connections _connections _http2 _max_connections _max_keepalive_connections _requests"
"""What is touched of httpcore's insides: the method that is replaced, and what it reads."""

SWEEP_SECONDS = 1.0
"""How often all idle connections of a pool are asked whether they are open; one that is about to be used always is."""


CLIENTS = {"openai": "OpenAICompletion", "anthropic": "AnthropicCompletion"}
"""CrewAI's modules and classes that make clients of SDKs."""

_SDK_DEFAULT = (1000, 100)
"""Connections that the OpenAI and Anthropic SDKs open at most, and keep; nobody has chosen these numbers."""

_clients: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_making = threading.Lock()


def share_clients(applies: Callable[[], bool], here: Callable[[], bool]) -> None:
    """Let LLM objects that are made where `applies()` have one client together where they would have equal ones.

    Args:
        applies: Whether this code runs for a run of ours.
        here: Whether it runs on the engine's loop: an async client's connections belong to the loop that opened them,
            so an LLM object that is asked on another loop gets a client of its own.
    """
    for provider, name in CLIENTS.items():
        cls: Any = getattr(sys.modules.get(f"crewai.llms.providers.{provider}.completion"), name, None)
        parts: list[Any] = [
            getattr(cls, f"_{part}_client", None) for part in ("build_sync", "build_async", "get_async")
        ]
        if None in parts or hasattr(parts[0], "_crew_nb"):
            continue
        build, build_async, get_async = parts
        cls._build_sync_client = _shared(build, applies)
        cls._build_async_client = _shared(build_async, applies)
        cls._get_async_client = _own_elsewhere(get_async, build_async, here)


def forget_clients() -> None:
    """A forked child opens connections of its own."""
    _clients.clear()


def _shared(build: Callable[[Any], Any], applies: Callable[[], bool]) -> Callable[[Any], Any]:
    @functools.wraps(build)
    def call(llm: Any) -> Any:
        if not applies() or getattr(llm, "interceptor", None) is not None:
            return build(llm)
        try:
            made_of = json.dumps([build.__qualname__, llm._get_client_params(), _settings()], sort_keys=True)
        except TypeError:  # it is made with objects, an HTTP client of the user's among them
            return build(llm)
        key = blake2b(made_of.encode()).hexdigest()  # there are keys in it
        with _making:
            client = _clients.get(key)
            if client is None:
                client = _clients[key] = build(llm)
                client._crew_nb = SHARED
            return client

    call._crew_nb = True  # type: ignore[attr-defined]
    return call


def _own_elsewhere(
    get: Callable[[Any], Any], build: Callable[[Any], Any], here: Callable[[], bool]
) -> Callable[[Any], Any]:
    @functools.wraps(get)
    def call(llm: Any) -> Any:
        client = get(llm)
        if hasattr(client, "_crew_nb") and not here():
            client = llm._async_client = build(llm)
        return client

    return call


def _settings() -> dict[str, str]:
    """What of the environment goes into a client besides its parameters."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("OPENAI_", "ANTHROPIC_", "SSL_CERT_")) or name.lower().endswith("_proxy")
    }


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
    is_chosen = (pool._max_connections, pool._max_keepalive_connections) != _SDK_DEFAULT
    # All idle ones are of the last seconds, since they expire: what was in flight just now is in flight again soon.
    surplus = max(0, len(idle) - pool._max_keepalive_connections) if is_chosen else 0
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


_hanging_up = threading.Lock()
"""A socket must not be shut that has just been read, and is another call's by now."""


def let_hang_up() -> None:
    """Know where the LLM calls of our runs wait, of the HTTP libraries that are loaded by now."""
    for library in ("httpcore", "httpcore2"):
        streams = sys.modules.get(f"{library}._backends.sync")
        for name in ("SyncStream", "TLSinTLSStream"):
            if cls := getattr(streams, name, None):
                put_around(cls, "read", _known(lambda stream: stream.get_extra_info("socket"), b""), "hangs up")
    if "urllib3" in sys.modules:  # under requests and botocore, which would also send it again
        put_around(socket.SocketIO, "readinto", _known(lambda stream: stream._sock, 0), "hangs up")
        put_around(http.client.HTTPConnection, "send", _unsent, "hangs up")


def _known(socket_of: Callable[[Any], Any], ended: bytes | int) -> Callable[[Callable[..., Any]], Any]:
    def wrapped(read: Callable[..., Any]) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            record = _attempt.call.get()
            if record is None:
                return read(self, *args, **kwargs)
            where = socket_of(self)
            with _hanging_up:
                record.reading.add(where)
            try:
                return ended if record.hung_up else read(self, *args, **kwargs)
            finally:
                with _hanging_up:
                    record.reading.discard(where)

        return call

    return wrapped


def _unsent(send: Callable[..., Any]) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        record = _attempt.call.get()
        if record is not None and record.hung_up:
            raise ConnectionAbortedError("the run was stopped")
        return send(self, *args, **kwargs)

    return call


def hang_up(record: CallRecord) -> None:
    """End a call that is in flight, in a thread or on another loop than the engine's, where its client allows it."""
    record.hung_up = True  # before the sockets are looked at: who comes later sees it
    with contextlib.suppress(RuntimeError):  # its loop is closed
        if record.cancel is not None:
            record.cancel()
    with _hanging_up:
        for where in record.reading:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(where, socket.SHUT_RDWR)  # an SSLSocket's own forgets its TLS under the reader
