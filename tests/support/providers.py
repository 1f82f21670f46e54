"""Every provider's protocol on one loopback port: the same answers for each LLM class that CrewAI has.

A `Reply` is text, a call of a tool, or trouble. Every answer costs 110 tokens: 100 in, 10 out.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
from binascii import crc32
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALL = 110
"""Tokens of one call."""


@dataclass(frozen=True)
class Ask:
    """One request, whichever protocol it came in."""

    protocol: str
    stream: bool
    body: dict[str, Any]
    number: int

    @property
    def tools(self) -> list[str]:
        """Names of the tools that are offered."""
        found = []
        for tool in self.body.get("tools") or (self.body.get("toolConfig") or {}).get("tools") or ():
            for spec in tool.get("functionDeclarations") or [tool]:
                found.append((spec.get("function") or spec.get("toolSpec") or spec)["name"])
        return found

    @property
    def text(self) -> str:
        """Everything that it says."""
        return json.dumps(self.body)


@dataclass(frozen=True)
class Use:
    """The answer is a call of this tool."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """The answer is an error."""

    status: int
    body: Any = field(default_factory=lambda: {"error": {"message": "no"}})


@dataclass(frozen=True)
class Raw:
    """The answer is these bytes, with status 200."""

    body: bytes
    kind: str = "text/html"


@dataclass(frozen=True)
class Cut:
    """The answer is text that ends in the middle; the connection is closed as if that were its end."""

    text: str


@dataclass(frozen=True)
class Short:
    """The answer is text that ends where its tokens did, and says so."""

    text: str


Reply = str | Use | Refusal | Raw | Cut | Short


class Providers:
    """The server; a context manager."""

    def __init__(self, answer: Callable[[Ask], Reply], *, usage_in_streams: bool = True) -> None:
        self.answer = answer
        self.usage_in_streams = usage_in_streams
        self.asks: list[Ask] = []
        self.tokens = 0
        """What was spent."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._http = _HTTP(("127.0.0.1", 0), _Handler)
        self._http.providers = self
        self.root = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take(self, protocol: str, stream: bool, body: dict[str, Any]) -> tuple[Ask, Reply]:
        """Keep a request and decide on its answer."""
        with self._lock:
            ask = Ask(protocol, stream, body, len(self.asks))
            self.asks.append(ask)
        reply = self.answer(ask)
        if isinstance(reply, str | Use | Short):
            with self._lock:
                self.tokens += CALL
        return ask, reply

    def llm(self, kind: str = "chat", **more: Any) -> Any:
        """An LLM of CrewAI's that asks this server: one of `KINDS`."""
        from crewai import LLM

        makes = {
            "chat": lambda: LLM("openai/gpt-4o-mini", base_url=f"{self.root}/v1", api_key="none", **more),
            "responses": lambda: LLM(
                "openai/gpt-4o-mini", base_url=f"{self.root}/v1", api_key="none", api="responses", **more
            ),
            "anthropic": lambda: LLM("anthropic/claude-3-5-sonnet-20241022", base_url=self.root, api_key="n", **more),
            "gemini": lambda: LLM(
                "gemini/gemini-2.0-flash",
                api_key="none",
                client_params={"http_options": {"base_url": self.root}},
                **more,
            ),
            "azure": lambda: LLM("azure/gpt-4o-mini", endpoint=f"{self.root}/v1", api_key="none", **more),
            "bedrock": lambda: LLM(
                "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0",
                aws_access_key_id="none",
                aws_secret_access_key="none",
                region_name="us-east-1",
                **more,
            ),
            "litellm": lambda: LLM(
                "openai/gpt-4o-mini", base_url=f"{self.root}/v1", api_key="none", is_litellm=True, **more
            ),
        }
        return makes[kind]()


KINDS = ("chat", "responses", "anthropic", "gemini", "azure", "bedrock", "litellm")


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    providers: Providers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HTTP

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._post()

    def _post(self) -> None:
        body = json.loads(self._read() or b"{}")
        path = self.path.partition("?")[0]
        if path.endswith(("/count_tokens", "/count-tokens", "/input_tokens", ":countTokens")):
            self._whole(
                200, {"input_tokens": 100, "inputTokens": 100, "totalTokens": 100, "object": "response.input_tokens"}
            )
            return
        protocol = next(name for end, name in _PATHS if end in path)
        stream = bool(body.get("stream")) or ":streamGenerate" in path or path.endswith("/converse-stream")
        ask, reply = self.server.providers.take(protocol, stream, body)
        if isinstance(reply, Refusal):
            self._whole(reply.status, reply.body)
        elif isinstance(reply, Raw):
            self._begin(reply.kind, len(reply.body))
            self.wfile.write(reply.body)
        elif stream:
            kind = "application/vnd.amazon.eventstream" if protocol == "bedrock" else "text/event-stream"
            self._begin(kind, None)
            for event in _STREAMS[protocol](ask, reply, self.server.providers.usage_in_streams):
                self.wfile.write(event)
        else:
            data = json.dumps(_WHOLES[protocol](ask, reply)).encode()
            if isinstance(reply, Cut):
                data = data[: len(data) // 2]
            self._begin("application/json", len(data))
            self.wfile.write(data)

    def _read(self) -> bytes:
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _whole(self, status: int, payload: Any) -> None:
        data = json.dumps(payload).encode()
        self._begin("application/json", len(data), status)
        self.wfile.write(data)

    def _begin(self, kind: str, length: int | None, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        if length is None:
            self.send_header("connection", "close")
            self.close_connection = True
        else:
            self.send_header("content-length", str(length))
        self.end_headers()


_PATHS = (
    ("/chat/completions", "chat"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
    ("enerateContent", "gemini"),
    ("/converse", "bedrock"),
)


def _text(reply: Reply) -> str:
    return reply.text if isinstance(reply, Cut | Short) else reply if isinstance(reply, str) else ""


def _pieces(reply: Reply) -> list[str]:
    text = _text(reply)
    half = len(text) // 2
    return [text[:half]] if isinstance(reply, Cut) else [text[:half], text[half:]]


def _reason(reply: Reply, done: str, use: str, short: str) -> str:
    return use if isinstance(reply, Use) else short if isinstance(reply, Short) else done


# --- OpenAI's chat completions, as LiteLLM and Azure speak them, too --------------------------------------------------

_CHAT_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": CALL}


def _chat_message(ask: Ask, reply: Reply) -> dict[str, Any]:
    if not isinstance(reply, Use):
        return {"role": "assistant", "content": _text(reply)}
    function = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
    call = {"id": f"call_{ask.number}", "index": 0, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _chat_head(ask: Ask, chunk: bool) -> dict[str, Any]:
    kind = "chat.completion.chunk" if chunk else "chat.completion"
    return {"id": f"chat-{ask.number}", "object": kind, "created": 1, "model": ask.body.get("model") or "m"}


def _chat(ask: Ask, reply: Reply) -> dict[str, Any]:
    reason = _reason(reply, "stop", "tool_calls", "length")
    choice = {"index": 0, "finish_reason": reason, "message": _chat_message(ask, reply)}
    return {**_chat_head(ask, False), "choices": [choice], "usage": _CHAT_USAGE}


def _chat_stream(ask: Ask, reply: Reply, usage: bool) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return _sse({**_chat_head(ask, True), "choices": [{"index": 0, "finish_reason": reason, "delta": delta}]})

    if isinstance(reply, Use):
        yield chunk(_chat_message(ask, reply))
    else:
        for piece in _pieces(reply):
            yield chunk({"role": "assistant", "content": piece})
    if isinstance(reply, Cut):
        return
    yield chunk({}, _reason(reply, "stop", "tool_calls", "length"))
    if usage and (ask.body.get("stream_options") or {}).get("include_usage"):
        yield _sse({**_chat_head(ask, True), "choices": [], "usage": _CHAT_USAGE})
    yield b"data: [DONE]\n\n"


# --- OpenAI's responses -----------------------------------------------------------------------------------------------


def _response(ask: Ask, reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Use):
        item: dict[str, Any] = {"type": "function_call", "id": f"fc_{ask.number}", "call_id": f"call_{ask.number}"}
        item |= {"name": reply.tool, "arguments": json.dumps(reply.arguments), "status": "completed"}
    else:
        text = {"type": "output_text", "text": _text(reply), "annotations": []}
        item = {"type": "message", "id": f"m_{ask.number}", "role": "assistant", "status": "completed"}
        item["content"] = [text]
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": CALL}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    head = {"id": f"r_{ask.number}", "object": "response", "created_at": 1, "model": ask.body.get("model")}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    if isinstance(reply, Short):
        more["incomplete_details"] = {"reason": "max_output_tokens"}
    status = _reason(reply, "completed", "completed", "incomplete")
    return {**head, **more, "status": status, "output": [item], "usage": usage}


def _response_stream(ask: Ask, reply: Reply, usage: bool) -> Iterator[bytes]:
    whole = _response(ask, reply)
    item = whole["output"][0]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
    ]
    at = {"output_index": 0, "item_id": item["id"], "content_index": 0}
    if not isinstance(reply, Use):
        events += [{"type": "response.output_text.delta", **at, "delta": p, "logprobs": []} for p in _pieces(reply)]
    if not isinstance(reply, Cut):
        events += [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": f"response.{whole['status']}", "response": whole if usage else {**whole, "usage": None}},
        ]
    for place, event in enumerate(events):
        yield _sse({**event, "sequence_number": place}, event["type"])


# --- Anthropic --------------------------------------------------------------------------------------------------------


def _anthropic_block(ask: Ask, reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Use):
        return {"type": "tool_use", "id": f"call_{ask.number}", "name": reply.tool, "input": reply.arguments}
    return {"type": "text", "text": _text(reply)}


def _anthropic(ask: Ask, reply: Reply) -> dict[str, Any]:
    head = {"id": f"msg_{ask.number}", "type": "message", "role": "assistant", "model": ask.body.get("model")}
    reason = _reason(reply, "end_turn", "tool_use", "max_tokens")
    usage = {"input_tokens": 100, "output_tokens": 10}
    block = _anthropic_block(ask, reply)
    return {**head, "content": [block], "stop_reason": reason, "stop_sequence": None, "usage": usage}


def _anthropic_stream(ask: Ask, reply: Reply, usage: bool) -> Iterator[bytes]:
    whole = _anthropic(ask, reply)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 100, "output_tokens": 1}}
    yield _sse({"type": "message_start", "message": begun}, "message_start")
    block = {**whole["content"][0]}
    block |= {"input": {}} if isinstance(reply, Use) else {"text": ""}
    yield _sse({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
    if isinstance(reply, Use):
        deltas: list[dict[str, Any]] = [{"type": "input_json_delta", "partial_json": json.dumps(reply.arguments)}]
    else:
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(reply)]
    for delta in deltas:
        yield _sse({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
    if isinstance(reply, Cut):
        return
    yield _sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _sse({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 10}}, "message_delta")
    yield _sse({"type": "message_stop"}, "message_stop")


# --- Gemini -----------------------------------------------------------------------------------------------------------


def _gemini(ask: Ask, reply: Reply, piece: str | None = None, last: bool = True, usage: bool = True) -> dict[str, Any]:
    if isinstance(reply, Use):
        part: dict[str, Any] = {"functionCall": {"name": reply.tool, "args": reply.arguments}}
    else:
        part = {"text": _text(reply) if piece is None else piece}
    candidate = {
        "index": 0,
        "content": {"role": "model", "parts": [part]},
        **({"finishReason": _reason(reply, "STOP", "STOP", "MAX_TOKENS")} if last else {}),
    }
    counts = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": CALL}
    return {"candidates": [candidate], "modelVersion": "m", **({"usageMetadata": counts} if last and usage else {})}


def _gemini_stream(ask: Ask, reply: Reply, usage: bool) -> Iterator[bytes]:
    if isinstance(reply, Use):
        yield _sse(_gemini(ask, reply, usage=usage))
        return
    pieces = _pieces(reply)
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1 and not isinstance(reply, Cut)
        yield _sse(_gemini(ask, reply, piece, last, usage))


# --- Bedrock's converse -----------------------------------------------------------------------------------------------


def _bedrock(ask: Ask, reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Use):
        block: dict[str, Any] = {
            "toolUse": {"toolUseId": f"call_{ask.number}", "name": reply.tool, "input": reply.arguments}
        }
    else:
        block = {"text": _text(reply)}
    usage = {"inputTokens": 100, "outputTokens": 10, "totalTokens": CALL}
    reason = _reason(reply, "end_turn", "tool_use", "max_tokens")
    message = {"role": "assistant", "content": [block]}
    return {"output": {"message": message}, "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 1}}


def _bedrock_stream(ask: Ask, reply: Reply, usage: bool) -> Iterator[bytes]:
    yield _eventstream("messageStart", {"role": "assistant"})
    if isinstance(reply, Use):
        start = {"toolUse": {"toolUseId": f"call_{ask.number}", "name": reply.tool}}
        yield _eventstream("contentBlockStart", {"contentBlockIndex": 0, "start": start})
        delta: dict[str, Any] = {"toolUse": {"input": json.dumps(reply.arguments)}}
        yield _eventstream("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})
    else:
        for piece in _pieces(reply):
            yield _eventstream("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
    if isinstance(reply, Cut):
        return
    yield _eventstream("contentBlockStop", {"contentBlockIndex": 0})
    yield _eventstream("messageStop", {"stopReason": _reason(reply, "end_turn", "tool_use", "max_tokens")})
    if usage:
        yield _eventstream("metadata", {"usage": _bedrock(ask, reply)["usage"], "metrics": {"latencyMs": 1}})


def _eventstream(kind: str, payload: dict[str, Any]) -> bytes:
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + body
    return message + struct.pack(">I", crc32(message))


def _sse(payload: dict[str, Any], event: str = "") -> bytes:
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {json.dumps(payload)}\n\n".encode()


_WHOLES: dict[str, Callable[[Ask, Reply], dict[str, Any]]] = {
    "chat": _chat,
    "responses": _response,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
}
_STREAMS: dict[str, Callable[[Ask, Reply, bool], Iterator[bytes]]] = {
    "chat": _chat_stream,
    "responses": _response_stream,
    "anthropic": _anthropic_stream,
    "gemini": _gemini_stream,
    "bedrock": _bedrock_stream,
}
