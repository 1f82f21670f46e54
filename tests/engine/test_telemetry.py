"""CrewAI's own telemetry, which its users have on unless they turn it off: cheap, and never in the cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import http.server, json, threading
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

class Sink(http.server.BaseHTTPRequestHandler):
    posts = 0
    def do_POST(self):
        Sink.posts += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
threading.Thread(target=server.serve_forever, daemon=True).start()
make = OTLPSpanExporter.__init__
def to_the_sink(self, *args, **options):
    make(self, *args, **{**options, "endpoint": f"http://127.0.0.1:{server.server_port}/v1/traces"})
OTLPSpanExporter.__init__ = to_the_sink

import crew_nb as cnb
from tests.support.crews import one
inputs = [{"topic": str(i)} for i in range(16)]
results = cnb.kickoff_for_each(lambda: one(cnb.OfflineLLM()), inputs, show=False).wait()
from crewai.telemetry import telemetry
telemetry.Telemetry()._shutdown()  # sends what is left
print(json.dumps({"done": sum(r.status == "done" for r in results), "posts": Sink.posts,
                  "looked_up": telemetry.version.cache_info().misses}))
"""


def test_telemetry_is_sent_and_says_nothing(tmp_path: Path) -> None:
    """With a queue that is always full, spans still arrive, nothing is printed, and the version is looked up once."""
    quiet = ("CREWAI_DISABLE_TELEMETRY", "OTEL_SDK_DISABLED")
    env = {name: value for name, value in os.environ.items() if name not in quiet}
    env |= {"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["done"] == 16
    assert told["posts"] > 0
    assert told["looked_up"] == 1
