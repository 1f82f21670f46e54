"""Schemathesis against the router's own OpenAPI: whatever comes in, no 5xx goes out."""

from __future__ import annotations

import os
from typing import Annotated

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from pydantic import Field, JsonValue
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from crew_nb import OfflineLLM, serve
from tests.support import crews

CASES = int(os.environ.get("FUZZ_CASES", "50"))
"""Per operation; of four, so that FUZZ_CASES=250 makes 1,000."""


def build(topic: str, depth: Annotated[int, Field(ge=0)] = 1, options: JsonValue = None, **more: str):
    return crews.one(OfflineLLM(latency=0.0, tokens_per_second=None))


app = FastAPI()
app.include_router(serve.router(build, max_inputs=3, timeout=5.0, max_queued=100_000), prefix="/research")
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.timeout(900)
@schema.exclude(path_regex="events").parametrize()
@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
def test_no_body_breaks_the_server(case: schemathesis.Case) -> None:
    """Valid and invalid requests of every operation: answers are those that the OpenAPI promises."""
    response = case.call()
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    case.validate_response(response, checks=checks)
