"""The HTTP API by its own description: whatever fits it, or nearly, is answered as it says."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.trying import address, answered_well, much

schemathesis = pytest.importorskip("schemathesis", reason="it is one of the test tools")

pytestmark = pytest.mark.thorough

REQUESTS = 100
ENDLESS = ("/events", "/sse", "/gradio_api/heartbeat")
"Answers that end with a session."


def test_every_operation_answers_as_it_is_described(http: httpx.Client) -> None:
    """Answers match their schemas, refusals name a reason, and every answer has the headers of the door."""
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    operations = [one for one in (result.ok() for result in schema.get_all_operations()) if not _takes_sdp(one)]
    assert len(operations) > 40

    @much(REQUESTS)
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(operations))
        case = data.draw(operation.as_strategy())
        if urlsplit(case.path).path.endswith(ENDLESS):
            return
        response = case.call(base_url=str(http.base_url), headers=address(), timeout=60)
        answered_well(response.status_code, response.headers, response.text, f"{case.method} {case.formatted_path}")
        if str(response.status_code) in operation.definition.raw.get("responses", {}):
            case.validate_response(response, checks=[response_schema_conformance, content_type_conformance])

    ask()


def _takes_sdp(operation: Any) -> bool:
    """Offers are fuzzed by themselves, in test_fuzz_offers.py."""
    return "application/sdp" in operation.definition.raw.get("requestBody", {}).get("content", {})
