"""An OTLP collector on loopback, and what was sent to it."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Collector:
    """Takes spans over HTTP, as Jaeger, Phoenix or Langfuse do."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.raw = b""
        """All that has arrived, byte for byte."""
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector._take(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where spans are sent."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def close(self) -> None:
        """Nothing more is taken."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, body: bytes) -> None:
        import gzip

        raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.raw += raw
        request = ExportTraceServiceRequest.FromString(raw)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    # --- what is seen of it --------------------------------------------------------------------------------------

    def traces(self) -> dict[bytes, list[Any]]:
        """The spans of each trace."""
        found: dict[bytes, list[Any]] = {}
        for span in self.spans:
            found.setdefault(span.trace_id, []).append(span)
        return found

    def runs(self) -> dict[int, list[Any]]:
        """The spans of each run's trace, by the run's place, where one batch was sent."""
        return {
            attributes(span)["crew_nb.run"]: spans
            for spans in self.traces().values()
            for span in spans
            if not span.parent_span_id and "crew_nb.run" in attributes(span)
        }

    def orphans(self) -> list[str]:
        """Names of spans whose parent is not in their trace."""
        return [
            span.name
            for spans in self.traces().values()
            for span in spans
            if span.parent_span_id and span.parent_span_id not in {s.span_id for s in spans}
        ]


def attributes(span: Any) -> dict[str, Any]:
    """Those of a span, or of an event."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in span.attributes}


def paths(spans: list[Any]) -> Iterator[str]:
    """Each span of a trace by its name and those above it, the root first."""
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        names = []
        at = span
        while at is not None:
            names.append(at.name)
            at = by_id.get(at.parent_span_id)
        yield " > ".join(reversed(names))


def tokens(spans: list[Any]) -> int:
    """All that LLM calls of a trace took."""
    counts = map(attributes, spans)
    return sum(c.get("gen_ai.usage.input_tokens", 0) + c.get("gen_ai.usage.output_tokens", 0) for c in counts)
