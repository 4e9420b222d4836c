"""How much the fuzz tests try, and what they check of every answer.

By themselves they try the same few things each time: a fault that is there by chance would turn up by chance. FUZZ=50
tries fifty times as many, drawn anew: for runs by hand.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping

import httpx
from hypothesis import HealthCheck, settings

__all__ = ["address", "answered_well", "much", "well"]

TIMES = int(os.environ.get("FUZZ", "1"))
HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "permissions-policy")
FULL = (503, 507)
"No place, no room: that is right of a server that others use."
NUMBERS = itertools.count()


def much(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def address() -> dict[str, str]:
    """Somebody else each time: how often one address may ask is tested elsewhere."""
    number = next(NUMBERS)
    return {"X-Forwarded-For": f"198.18.{number // 250 % 250}.{1 + number % 250}"}


def answered_well(status: int, headers: Mapping[str, object], body: str, asked: str) -> None:
    """No failure of the server's, the headers that every answer has, and a refusal that names its reason.

    headers: by names in small letters, or any way of looking them up. asked: for the message.
    """
    assert status < 500 or status in FULL, f"{asked}: {status} {body[:500]}"
    missing = [name for name in HEADERS if not headers.get(name)]
    assert not missing, f"{asked} has no {missing}"
    if status >= 400 and "json" in str(headers.get("content-type")):
        told = json.loads(body)
        error = told.get("error", told)
        assert error.get("message") or error.get("msg"), f"{asked}: {told}"


def well(answer: httpx.Response) -> httpx.Response:
    """The answer, once it is checked."""
    answered_well(answer.status_code, answer.headers, answer.text, f"{answer.request.method} {answer.request.url}")
    return answer
