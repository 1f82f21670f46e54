"""Who is answered by a server in a notebook, which every page in the user's browser can reach."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI

from crew_nb import serve
from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crew_nb.serve import Server as Served

    Start = Callable[..., Served]


@pytest.fixture
def start() -> Iterator[Start]:
    """Serves an app that counts what it is asked, and stops it after the test."""
    started: list[Served] = []

    def make(**options: Any) -> Served:
        app = FastAPI()
        app.state.asked = []

        @app.post("/ask")
        @app.get("/ask")
        async def ask() -> str:
            app.state.asked.append("http")
            return "answered"

        server = serve.start(app, **options)
        server.asked = app.state.asked  # type: ignore[attr-defined]
        started.append(server)
        return server

    yield make
    for server in started:
        server.stop()


def ask(server: Any, method: str = "POST", query: str = "", **headers: str) -> int:
    """The status of an answer; whether the app was asked must fit it."""
    server.asked.clear()
    named = {
        name.replace("_", "-"): value.replace("PORT", server.url.rpartition(":")[2]) for name, value in headers.items()
    }
    url = server.url.replace("0.0.0.0", "127.0.0.1") + "/ask" + query
    status = httpx.request(method, url, headers=named, trust_env=False, timeout=20).status_code
    assert (status == 200) == bool(server.asked)
    return status


def test_requests_for_other_names_and_from_other_pages_are_refused(start: Start) -> None:
    """DNS rebinding and a `fetch` from any page reach loopback: neither reaches the app."""
    server = start()
    for headers in (
        {},
        {"host": "localhost:PORT"},
        {"host": "LOCALHOST:PORT", "origin": "http://127.0.0.1:PORT"},
        {"host": "localhost"},
        {"host": "[::1]:PORT", "origin": "http://localhost:PORT"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    ):
        assert ask(server, **headers) == 200, headers
    for headers in (
        {"host": "rebound.example:PORT"},
        {"host": "rebound.example"},
        {"host": "rebound.example:PORT", "origin": "http://rebound.example:PORT"},
        {"host": "127.0.0.1.rebound.example:PORT"},
        {"host": "localhost.rebound.example"},
        {"host": "rebound.example@127.0.0.1:PORT"},
        {"host": "127.0.0.1:1"},
        {"origin": "http://page.example"},
        {"origin": "http://localhost:8888"},
        {"origin": "http://127.0.0.1:PORT.page.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ):
        assert ask(server, **headers) == 403, headers
        assert ask(server, "GET", **headers) == 403, headers


def test_what_the_user_allows_is_answered(start: Start) -> None:
    """A tunnel's name, with any port or the named one, and a page of the user's own."""
    server = start(allowed_hosts=["tunnel.example", "box:9000"], allowed_origins=["https://page.example"])
    for headers in (
        {"host": "tunnel.example"},
        {"host": "tunnel.example:8443", "origin": "https://tunnel.example:8443"},
        {"host": "box:9000"},
        {"origin": "https://page.example"},
    ):
        assert ask(server, **headers) == 200, headers
    for headers in ({"host": "box:9001"}, {"host": "my.tunnel.example"}, {"origin": "http://page.example"}):
        assert ask(server, **headers) == 403, headers
    assert (
        ask(start(allowed_hosts=["*"], allowed_origins=["*"]), host="any.example", origin="http://other.example") == 200
    )


def test_a_server_that_others_reach_asks_for_its_token(start: Start) -> None:
    """As Jupyter does: in a header or the address. It is not in the repr, and is another one each time."""
    server = start(host="0.0.0.0")
    assert len(server.token) > 20
    assert server.token not in repr(server)
    assert start(host="0.0.0.0").token != server.token
    assert ask(server, host="laptop.lan:PORT") == 401
    assert ask(server, authorization="Bearer wrong") == 401
    assert ask(server, query="?token=") == 401
    assert ask(server, host="laptop.lan:PORT", authorization=f"Bearer {server.token}") == 200
    assert ask(server, authorization=f"token {server.token}") == 200
    assert ask(server, query=f"?token={server.token}") == 200
    assert ask(server, origin="http://page.example", authorization=f"Bearer {server.token}") == 403
    assert ask(start(host="0.0.0.0", token="")) == 200
    own = start(token="my own")
    assert (ask(own), ask(own, authorization="Bearer my own")) == (401, 200)


def test_two_hosts_in_one_request_are_refused(start: Start) -> None:
    """Whatever the HTTP parser makes of them, the app is not asked."""
    server: Any = start()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(
            f"GET /ask HTTP/1.1\r\nHost: {host}:{port}\r\nHost: x.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert line.recv(1_000).split()[1] in (b"400", b"403")
    assert server.asked == []


def test_a_websocket_of_another_page_is_closed(start: Start) -> None:
    """The same guard stands before every kind of connection."""
    from crew_nb.serve.server import _Guard

    guard = _Guard(["127.0.0.1"], 80, [], [], "")
    scope = {"type": "websocket", "headers": [(b"host", b"127.0.0.1"), (b"origin", b"http://page.example")]}
    assert guard.refusal(scope) is not None


@pytest.mark.parametrize("wrong", [{"allowed_hosts": "x.example"}, {"allowed_origins": [1]}, {"token": b"x"}])
def test_options_that_cannot_be_meant_are_refused(start: Start, wrong: dict[str, Any]) -> None:
    """A text where a list is meant would allow its letters."""
    with pytest.raises(OptionError):
        start(**wrong)
