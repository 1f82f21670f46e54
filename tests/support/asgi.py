"""The process behind `tests.support.server`: an OpenAI-compatible LLM that misbehaves on request and counts everything.

It ends when its standard input is closed, so it never outlives the test process, however that one ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from crew_nb._crewai import offline_answers as answers
from tests.support import drawn_replies

TICK = 0.02
"""Seconds between two writes of a streamed answer; all tokens that are due go into one write."""
SPOILED = ("reset", "reset late", "html", "empty", "not utf-8")
WHOLE = (None, "slow", "broken arguments", "same ids", "large")
"""Faults of answers that come to their end."""
FILLER = ("work", "in", "parallel", "and", "keep", "every", "answer", "apart;")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and for whom; the first fault that applies is taken."""

    kind: str | int
    """An HTTP status, or `hang`, `cut`, `malformed`, `slow`; `429 in words` (without headers), `reset` (of the
    connection), `reset late`, `html`, `empty`, `not utf-8` (the bytes are spoiled); `broken arguments` (of tools),
    `same ids`, `large` (5 MB)."""
    share: float = 1.0
    """Of the matching requests, drawn from seed, prompt and try."""
    topic: str = ""
    """Only prompts that contain it."""
    times: int | None = None
    """Only so many matching requests."""
    retry_after: float = 1.0


@dataclass(frozen=True)
class Settings:
    """How the server answers."""

    latency: float | tuple[float, float] = 0.0
    """Seconds to the first byte, or a range."""
    tokens: int = 20
    tokens_per_second: float | None = None
    answer: str = ""
    """The text to give instead of `tokens` words of filler."""
    tool_calls: bool = True
    """Whether the first offered tool is called, once per conversation."""
    drawn: bool = False
    """Whether answers are a function of the conversation alone."""
    hold: bool = False
    """Whether requests wait until they are released."""
    topic_pattern: str = r"topic=([\w-]+)"
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings that differ for prompts that contain the key."""


@dataclass
class Record:
    """One request, as the statistics tell it."""

    id: int
    arrived: float
    topic: str
    topics: list[str]
    stream: bool
    structured: bool
    attempt: int
    prompt_tokens: int
    model: str
    prompt: str = field(repr=False)
    body: dict[str, Any] = field(repr=False)
    status: int | None = None
    fault: str | int | None = None
    ended: float | None = None
    disconnected: bool = False
    tokens: int = 0
    """Tokens that were sent."""
    completion_tokens: int = 0
    """Tokens that the usage block told of; 0 where none was sent."""


class Llm:
    """The LLM and its books."""

    def __init__(self) -> None:
        self.live: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        for task in self.live:
            task.cancel()
        self.settings = Settings()
        self.records: list[Record] = []
        self.others: list[str] = []
        self.embedded: list[str] = []
        self.tries: dict[str, int] = {}
        self.spent: dict[Fault, int] = {}
        self.in_flight = 0
        self.peak = 0
        self.gate = asyncio.Event()
        self.live = set()

    def configure(self, changes: dict[str, Any]) -> None:
        if "faults" in changes:
            changes["faults"] = tuple(Fault(**f) for f in changes["faults"])
        if isinstance(changes.get("latency"), list):
            changes["latency"] = tuple(changes["latency"])
        if not changes.get("hold", self.settings.hold):
            self.release()
        self.settings = replace(self.settings, **changes)

    def release(self) -> None:
        """Lets go of those who wait now, and of nobody who comes later."""
        self.gate.set()
        self.gate = asyncio.Event()

    def stats(self, *, prompts: bool, bodies: bool) -> dict[str, Any]:
        left_out = {name for name, told in (("prompt", prompts), ("body", bodies)) if not told}
        return {
            "in_flight": self.in_flight,
            "peak": self.peak,
            "others": self.others,
            "embedded": self.embedded,
            "requests": [{k: v for k, v in vars(r).items() if k not in left_out} for r in self.records],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        arrived = time.time()
        body = await _body(receive)
        request = json.loads(body)
        prompt = answers.read(request["messages"])
        settings = self._settings(prompt.text)
        topics = list(dict.fromkeys(re.findall(settings.topic_pattern, prompt.text)))
        key = blake2b(prompt.text.encode(), digest_size=8).hexdigest()
        self.tries[key] = attempt = self.tries.get(key, 0) + 1
        record = Record(
            id=len(self.records),
            arrived=arrived,
            topic=topics[0] if topics else "",
            topics=topics,
            stream=bool(request.get("stream")),
            structured=bool(request.get("response_format")),
            attempt=attempt,
            prompt_tokens=len(prompt.text.split()),
            model=str(request.get("model")),
            prompt=prompt.text,
            body=request,
        )
        self.records.append(record)
        fault = self._fault(settings, prompt.text, f"{settings.seed} {key} {attempt}")
        record.fault = fault.kind if fault else None
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        live = self.live

        def close() -> None:
            if record.ended is None:
                record.ended = time.time()
                # After a reset the count starts anew, without those that it cut off.
                self.in_flight -= live is self.live

        async def send_and_close(message: dict[str, Any]) -> None:
            # Before the last bytes are out: whoever has read them finds the books in order.
            if message["type"] == "http.response.body" and not message.get("more_body"):
                close()
            await send(message)

        # The gate of this moment: a release that comes before the task's first step is for this request too.
        held = self.gate if settings.hold else None
        tell = _spoiling(record.fault, send_and_close, send) if record.fault in SPOILED else send_and_close
        work = asyncio.create_task(self._serve(request, prompt, settings, held, record, fault, tell))
        gone = asyncio.create_task(_disconnected(receive))
        live.add(work)
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            record.disconnected = not work.done()
            if work.done() and not work.cancelled():
                work.result()
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.wait({work, gone})
            close()
            live.discard(work)

    def _settings(self, text: str) -> Settings:
        for part, changes in self.settings.topics.items():
            if part in text:
                return replace(self.settings, **changes)
        return self.settings

    def _fault(self, settings: Settings, text: str, seed: str) -> Fault | None:
        for place, fault in enumerate(settings.faults):
            spent = self.spent.get(fault, 0)
            if fault.topic not in text or (fault.times is not None and spent >= fault.times):
                continue
            if random.Random(f"{seed} {place}").random() < fault.share:
                self.spent[fault] = spent + 1
                return fault
        return None

    async def _serve(
        self,
        request: dict[str, Any],
        prompt: answers.Prompt,
        settings: Settings,
        held: asyncio.Event | None,
        record: Record,
        fault: Fault | None,
        send: Any,
    ) -> None:
        if held is not None:
            await held.wait()
        rng = random.Random(f"{settings.seed} {record.prompt} {record.attempt}")
        low, high = settings.latency if isinstance(settings.latency, tuple) else (settings.latency, settings.latency)
        await asyncio.sleep(rng.uniform(low, high))
        if record.fault == "hang":
            await asyncio.Event().wait()
        if fault and isinstance(fault.kind, int):
            record.status = fault.kind
            await _send_error(send, fault.kind, fault.retry_after)
            return
        reply = drawn_replies.reply(request, prompt, record.topic) if settings.drawn else None
        if isinstance(reply, int):
            record.status = reply
            await _send_error(send, reply, 1.0)
            return
        if record.fault == "429 in words":
            record.status = 429
            await _send_error(send, 429, None)
            return
        record.status = 200
        chat = _Chat(request["model"], record, reply or self._reply(request, prompt, settings, record, rng))
        pieces = chat.pieces
        if record.stream:
            await self._stream(chat, settings, record, send)
        else:
            if settings.tokens_per_second:
                await asyncio.sleep(len(pieces) / settings.tokens_per_second)
            if record.fault in WHOLE:
                record.tokens = record.completion_tokens = len(pieces)
            await _send_whole(send, chat.whole(), record)

    def _reply(
        self, request: dict[str, Any], prompt: answers.Prompt, settings: Settings, record: Record, rng: random.Random
    ) -> str | list[dict[str, Any]]:
        if settings.answer:
            return settings.answer
        if request.get("tools") and settings.tool_calls and not prompt.tool_results:
            chosen = answers.choose_tool(request["tools"], prompt, rng)
            function = {"name": chosen["name"], "arguments": json.dumps(chosen["arguments"])}
            return [{"id": f"call_{record.id}", "type": "function", "function": function}]
        wanted = (request.get("response_format") or {}).get("json_schema")
        if schema := wanted["schema"] if wanted else prompt.schema:
            return json.dumps(answers.example(schema, rng, f"topic={record.topic}"))
        head = f"answer {record.id} about topic={record.topic}:"
        told = f"\nThe tool answered: {prompt.tool_results[-1]}" if prompt.tool_results else ""
        rest = settings.tokens - len(answers.tokens(head + told))
        return " ".join([head, *(FILLER[n % len(FILLER)] for n in range(rest))]) + told

    async def _stream(self, chat: _Chat, settings: Settings, record: Record, send: Any) -> None:
        pieces = chat.pieces
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        end = len(pieces) // 2 if record.fault in ("cut", "malformed") else len(pieces)
        pace = settings.tokens_per_second
        began = time.monotonic()
        while record.tokens < end:
            due = end if pace is None else min(end, 1 + int((time.monotonic() - began) * pace))
            await _write(
                send, b"".join(chat.delta(p) for p in pieces[record.tokens : due]), slow=record.fault == "slow"
            )
            record.tokens = due
            if due < end and pace is not None:
                await asyncio.sleep(max(TICK, 1 / pace))
        if record.fault == "cut":
            return  # uvicorn closes the connection of an answer that has no end
        if record.fault == "malformed":
            await send({"type": "http.response.body", "body": b'data: {"id": "x", "choices": [{"del\n\n'})
            return
        if record.fault in WHOLE:
            record.completion_tokens = len(pieces)
        await _write(send, chat.end(), slow=record.fault == "slow", last=True)


class _Chat:
    """The wire format of one chat completion."""

    def __init__(self, model: str, record: Record, reply: str | list[dict[str, Any]]) -> None:
        same = record.fault == "same ids"
        self.id = "chatcmpl-0" if same else f"chatcmpl-{record.id}"
        if isinstance(reply, list):
            broken = record.fault == "broken arguments"
            reply = [
                {**call, "id": "call_0" if same else call["id"], "function": _cut(call["function"], broken)}
                for call in reply
            ]
        elif record.fault == "large" and not record.structured:
            reply += " large" * 900_000
        self.model = model
        self.reply = reply
        self.pieces = (
            [(0, token) for token in answers.tokens(reply)]
            if isinstance(reply, str)
            else [(n, token) for n, call in enumerate(reply) for token in answers.tokens(call["function"]["arguments"])]
        )
        """What is streamed: to which tool call a piece belongs, and its text."""
        self.usage = {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": len(self.pieces),
            "total_tokens": record.prompt_tokens + len(self.pieces),
        }
        self.finish = "stop" if isinstance(reply, str) else "tool_calls"
        head = {"id": self.id, "object": "chat.completion.chunk", "created": int(record.arrived), "model": model}
        self.head = json.dumps(head)[:-1].encode()
        self.begun: set[int] = set()

    def delta(self, piece: tuple[int, str]) -> bytes:
        place, text = piece
        if isinstance(self.reply, str):
            return self._chunk(f'{{"role": "assistant", "content": {json.dumps(text)}}}')
        call: dict[str, Any] = {"index": place, "function": {"arguments": text}}
        if place not in self.begun:
            self.begun.add(place)
            whole = self.reply[place]
            call |= {**whole, "function": {**whole["function"], "arguments": text}}
        return self._chunk(json.dumps({"role": "assistant", "tool_calls": [call]}))

    def end(self) -> bytes:
        usage = self.head + b', "choices": [], "usage": ' + json.dumps(self.usage).encode() + b"}"
        return self._chunk("{}", f'"{self.finish}"') + b"data: " + usage + b"\n\ndata: [DONE]\n\n"

    def whole(self) -> bytes:
        said = {"content": self.reply} if isinstance(self.reply, str) else {"content": None, "tool_calls": self.reply}
        message = {"role": "assistant", "refusal": None, **said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        head = {"id": self.id, "object": "chat.completion", "created": 0, "model": self.model}
        return json.dumps({**head, "choices": [choice], "usage": self.usage}).encode()

    def _chunk(self, delta: str, finish: str = "null") -> bytes:
        return b'data: %b, "choices": [{"index": 0, "delta": %b, "finish_reason": %b}]}\n\n' % (
            self.head,
            delta.encode(),
            finish.encode(),
        )


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _cut(function: dict[str, Any], broken: bool) -> dict[str, Any]:
    arguments = function["arguments"]
    return {**function, "arguments": arguments[: len(arguments) // 2]} if broken else function


def _spoiling(kind: str | int | None, send: Any, server_send: Any) -> Any:
    """A `send` that spoils the bytes of one answer."""
    over = False

    def reset() -> None:
        transport = server_send.__self__.transport
        if connection := transport.get_extra_info("socket"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def spoil(message: dict[str, Any]) -> None:
        nonlocal over
        if over or kind == "reset":
            if not over:
                reset()
            over = True
        elif message["type"] == "http.response.start":
            await send(message)
        elif kind == "not utf-8":
            await send({**message, "body": message.get("body", b"").replace(b"answer", b"answ\xff\xfe\xc3er")})
        elif kind == "reset late":
            over = True
            body = message.get("body", b"")
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
            reset()
        else:
            over = True
            body = b"<html><body>502 Bad Gateway</body></html>" if kind == "html" else b""
            await send({"type": "http.response.body", "body": body})

    return spoil


async def _send_error(send: Any, status: int, retry_after: float | None) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 429 and retry_after is not None:
        headers += [
            (b"retry-after", f"{retry_after:g}".encode()),
            (b"x-ratelimit-remaining-requests", b"0"),
            (b"x-ratelimit-reset-requests", f"{retry_after:g}s".encode()),
            (b"x-ratelimit-reset-tokens", f"{retry_after:g}s".encode()),
        ]
    kinds = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    said = f"asked to answer {status}" if retry_after is not None else "Rate limit reached. Please try again in 50ms."
    error = {"message": said, "type": "test", "code": kinds.get(status, "error")}
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})


async def _send_whole(send: Any, body: bytes, record: Record) -> None:
    headers = [(b"content-type", b"application/json")]
    if record.fault == "malformed":
        body = body[: len(body) // 2]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if record.fault == "cut":
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    await _write(send, body, slow=record.fault == "slow", last=True)


async def _write(send: Any, data: bytes, *, slow: bool, last: bool = False) -> None:
    """Slow bytes come seven at a time, so that lines and characters are cut anywhere."""
    size = 7 if slow else max(len(data), 1)
    for place in range(0, len(data), size):
        end = last and place + size >= len(data)
        await send({"type": "http.response.body", "body": data[place : place + size], "more_body": not end})
        if slow:
            await asyncio.sleep(0.001)


USED_BY_EMBEDDING = {"prompt_tokens": 1, "total_tokens": 1}


def _vector(text: str) -> list[float]:
    """Texts that share words lie near each other."""
    vector = [0.01] * 32
    for word in re.findall(r"\w+", text.lower()):
        vector[blake2b(word.encode(), digest_size=1).digest()[0] % 32] += 1.0
    length = sum(x * x for x in vector) ** 0.5
    return [x / length for x in vector]


def _app() -> Starlette:
    llm = Llm()

    async def configure(request: Any) -> JSONResponse:
        llm.configure(await request.json())
        return JSONResponse({})

    async def reset(request: Any) -> JSONResponse:
        llm.reset()
        return JSONResponse({})

    async def release(request: Any) -> JSONResponse:
        llm.release()
        return JSONResponse({})

    async def stats(request: Any) -> JSONResponse:
        asked = request.query_params
        return JSONResponse(llm.stats(prompts="prompts" in asked, bodies="bodies" in asked))

    async def embed(request: Any) -> JSONResponse:
        asked = await request.json()
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        llm.embedded += texts
        found = [{"object": "embedding", "index": n, "embedding": _vector(text)} for n, text in enumerate(texts)]
        return JSONResponse({"object": "list", "data": found, "model": asked["model"], "usage": USED_BY_EMBEDDING})

    async def other(request: Any) -> JSONResponse:
        llm.others.append(f"{request.method} {request.url.path}")
        return JSONResponse({"error": {"message": "no such endpoint", "code": "not_found"}}, status_code=404)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", endpoint=llm),
            Route("/v1/embeddings", embed, methods=["POST"]),
            Route("/_configure", configure, methods=["POST"]),
            Route("/_reset", reset, methods=["POST"]),
            Route("/_release", release, methods=["POST"]),
            Route("/_stats", stats),
            Route("/{path:path}", other, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
    )


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve on a free loopback port, which is told in one line of JSON."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms per answer
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(_app(), log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=75)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
