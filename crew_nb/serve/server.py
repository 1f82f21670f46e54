"""A server in a thread and loop of its own, so that the kernel's loop stays free; it ends with the kernel."""

import asyncio
import atexit
import math
import os
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI

from crew_nb._state.errors import CrewNbError, OptionError
from crew_nb._state.options import check_whole
from crew_nb.serve.answers import ANSWER_SECONDS, STOP_SECONDS
from crew_nb.serve.desk import WORK, Work


class _Uvicorn(uvicorn.Server):
    """uvicorn's server that ends first what its open requests wait for, and its connections then."""

    def __init__(self, app: FastAPI) -> None:
        self._work = work = Work()

        async def with_work(scope: Any, receive: Any, send: Any) -> None:
            scope[WORK] = work  # mounted apps get the scope, too, but no lifespan (Starlette)
            await app(scope, receive, send)

        seconds = math.ceil(STOP_SECONDS + ANSWER_SECONDS)
        super().__init__(uvicorn.Config(with_work, log_level="warning", timeout_graceful_shutdown=seconds))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when it is to exit."""
        self._work.stop()
        await super().shutdown(sockets)
        await self._work.ended()


class Server:
    """An app that is being served from a thread and loop of its own; `stop()` ends it, and so does the kernel's end."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        if not callable(app):
            raise OptionError(f"app is {app!r}. Give the FastAPI app itself.")
        if not isinstance(host, str):
            raise OptionError(f'host is {host!r}. Write an address, such as host="127.0.0.1".')
        check_whole("port", port, 0, 65_535, ", which takes a free one, to 65535")
        name, family = (f"[{host}]", socket.AF_INET6) if ":" in host else (host, socket.AF_INET)
        # asyncio sends at once only where the protocol is named; else small answers wait 40 ms for Nagle.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name != "nt":  # there it would let two servers share a port
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        """Where it listens."""
        self._failure: BaseException | None = None
        self._uvicorn = _Uvicorn(app)
        self._thread = threading.Thread(target=self._serve, name="crew_nb-serve", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            self._thread.join(0.01)
        if not self._uvicorn.started:
            raise CrewNbError("the app could not be started; its log says why.") from self._failure
        atexit.register(self.stop)

    def _serve(self) -> None:
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
        except (Exception, SystemExit) as error:
            self._failure = error
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no more requests, stop all runs, and tell open requests how they ended; returns when it is over."""
        self._uvicorn.should_exit = True
        self._thread.join(3 * STOP_SECONDS)
        atexit.unregister(self.stop)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.url}{'' if self._thread.is_alive() else ', stopped'}>"


def start(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve an app from a notebook and return its `Server` at once; the kernel's loop stays free.

    Args:
        app: The app; `crew_nb.serve.router` makes routes for it.
        host: The address to listen on; only this machine reaches the default.
        port: The port; 0 takes a free one, which `server.url` names.

    Raises:
        OptionError: When the app, the host or the port cannot be meant.
        OSError: When the port is taken.
        CrewNbError: When the app's start fails.
    """
    return Server(app, host, port)
