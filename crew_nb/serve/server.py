"""A server in a thread and loop of its own, so that the kernel's loop stays free; it ends with the kernel.

It answers only those who mean it: another page in the user's browser reaches loopback, too.
"""

import asyncio
import atexit
import ipaddress
import math
import os
import secrets
import socket
import threading
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from fastapi import FastAPI

from crew_nb._state.errors import CrewNbError, OptionError
from crew_nb._state.options import check_whole
from crew_nb.serve.answers import ANSWER_SECONDS, STOP_SECONDS
from crew_nb.serve.desk import WORK, Work
from crew_nb.serve.requests import as_json

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class _Guard:
    """Who is answered: requests for the server's own address, from no other page, with the token where there is one.

    A page's own name can be made to lead to 127.0.0.1 (DNS rebinding): its `Host` tells. A `fetch` from any page goes
    there as it is: its `Origin` tells, and where a browser sends none, `Sec-Fetch-Site`.
    """

    def __init__(self, names: Collection[str], port: int, hosts: Iterable[str], origins: Iterable[str], token: str):
        self._any_host = not names or "*" in hosts
        self._own = {f"{name.lower()}:{port}" for name in names}
        self._names = {host.lower() for host in hosts}
        self._hosts = self._own | self._names | {name.lower() for name in names}
        self._origins = {origin.lower() for origin in origins}
        self._token = token

    def refusal(self, scope: Any) -> tuple[int, str] | None:
        """The status and the words for a request that is not answered."""
        headers: dict[str, str] = {}
        for key, value in scope["headers"]:
            name, text = key.decode("latin-1"), value.decode("latin-1").strip()
            headers[name] = f"{headers[name]},{text}" if name in headers else text
        host = headers.get("host", "").lower()
        if not (self._any_host or host in self._hosts or host.rpartition(":")[0] in self._names):
            return (
                403,
                "The server listens elsewhere than this Host; serve.start(app, allowed_hosts=[...]) allows it.",
            )
        if not self._origins & {"*", headers.get("origin", "").lower()} and self._is_of_another_page(headers, host):
            return 403, "Another page's requests are not answered; serve.start(app, allowed_origins=[...]) allows some."
        if self._token and not self._has_token(headers, scope):
            return 401, "The token is missing or wrong: Authorization: Bearer ..., or ?token=...; it is server.token."
        return None

    def _is_of_another_page(self, headers: dict[str, str], host: str) -> bool:
        if origin := headers.get("origin", "").lower():
            return origin.partition("://")[2] not in {host, *self._own}
        embedded = headers.get("sec-fetch-mode") != "navigate"
        return embedded and headers.get("sec-fetch-site") in ("cross-site", "same-site")

    def _has_token(self, headers: dict[str, str], scope: Any) -> bool:
        scheme, _, told = headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token"):
            told = (parse_qs(scope["query_string"].decode("latin-1")).get("token") or [""])[0]
        return secrets.compare_digest(told.strip().encode(), self._token.encode())


class _Uvicorn(uvicorn.Server):
    """uvicorn's server that ends first what its open requests wait for, and its connections then."""

    def __init__(self, app: FastAPI, guard: _Guard) -> None:
        self._work = work = Work()

        async def with_work(scope: Any, receive: Any, send: Any) -> None:
            refusal = None if scope["type"] == "lifespan" else guard.refusal(scope)
            if refusal is None:
                scope[WORK] = work  # mounted apps get the scope, too, but no lifespan (Starlette)
                await app(scope, receive, send)
            elif scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
            else:
                await as_json({"detail": refusal[1]}, refusal[0])(scope, receive, send)

        seconds = math.ceil(STOP_SECONDS + ANSWER_SECONDS)
        super().__init__(uvicorn.Config(with_work, log_level="warning", timeout_graceful_shutdown=seconds))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when it is to exit."""
        self._work.stop()
        await super().shutdown(sockets)
        await self._work.ended()


class Server:
    """An app that is being served from a thread and loop of its own; `stop()` ends it, and so does the kernel's end."""

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        allowed_hosts: Collection[str],
        allowed_origins: Collection[str],
        token: str | None,
    ) -> None:
        if not callable(app):
            raise OptionError(f"app is {app!r}. Give the FastAPI app itself.")
        if not isinstance(host, str):
            raise OptionError(f'host is {host!r}. Write an address, such as host="127.0.0.1".')
        check_whole("port", port, 0, 65_535, ", which takes a free one, to 65535")
        for option, names in (("allowed_hosts", allowed_hosts), ("allowed_origins", allowed_origins)):
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise OptionError(f"{option} is {names!r}. Write a list of texts, or leave it out.")
        if not isinstance(token, str | None):
            raise OptionError(f"token is a {type(token).__name__}. Write a text, or leave it out.")
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
        address, port = self._socket.getsockname()[:2]
        self.url = f"http://{name}:{port}"
        """Where it listens."""
        within = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        self.token = token if token is not None else "" if within else secrets.token_urlsafe(24)
        """What every request has to bring; empty where none is needed."""
        names = () if not within else {*LOOPBACK, name}  # from elsewhere it has many names; there the token tells
        self._failure: BaseException | None = None
        self._uvicorn = _Uvicorn(app, _Guard(names, port, allowed_hosts, allowed_origins, self.token))
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


def start(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    allowed_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    token: str | None = None,
) -> Server:
    """Serve an app from a notebook and return its `Server` at once; the kernel's loop stays free.

    A request is answered if its `Host` is where the server listens and its `Origin` is no other page.

    Args:
        app: The app; `crew_nb.serve.router` makes routes for it.
        host: The address to listen on; only this machine reaches the default. One that others reach asks them for
            `server.token`, as `Authorization: Bearer ...` or as `?token=...`.
        port: The port; 0 takes a free one, which `server.url` names.
        allowed_hosts: Other names under which it is reached (through a proxy or a tunnel), with or without a port.
        allowed_origins: Other pages that may call it, such as `"https://page.example"`; `"*"` for all.
        token: A token of your own; `""` for none.

    Raises:
        OptionError: When the app or an option cannot be meant.
        OSError: When the port is taken.
        CrewNbError: When the app's start fails.
    """
    return Server(app, host, port, allowed_hosts, allowed_origins, token)
