"""LiveTalking's routes, which read their bodies themselves: whatever is sent, its clients get an answer in its form."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.livetalking.routes import Human, Offer, RecordWish
from tests.fuzz.trying import address, much, well

pytestmark = pytest.mark.thorough

POSTS = (
    *("/offer", "/human", "/humanaudio", "/interrupt_talk", "/is_speaking", "/set_audiotype", "/record", "/close"),
    "/api/avatar/task",
)
GETS = ("/sse", "/ice_servers", "/api/admin/config", "/api/admin/sessions", "/api/avatar/tasks")
FIELDS = sorted({*Offer.model_fields, *Human.model_fields, *RecordWish.model_fields, "audiotype", "model", "avatar_id"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
LIKELY = st.sampled_from(
    ["0", 0, "alpha", "../../etc", "echo", "chat", "offer", "v=0", "start_record", 2, True, None, "wav2lip"]
)
BODY = st.one_of(
    st.binary(max_size=100),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), LIKELY | JSON, max_size=6).map(lambda value: json.dumps(value).encode()),
)
TYPES = st.sampled_from(
    ["application/json", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data", ""]
)


def test_whatever_is_sent_is_answered_in_its_form(http: httpx.Client) -> None:
    """With status 200 and a code, as its clients expect it; nothing of our own words for programmers is in it."""

    @much(80)
    @given(path=st.sampled_from(POSTS), body=BODY, kind=TYPES)
    def send(path: str, body: bytes, kind: str) -> None:
        answer = http.post(path, content=body, headers={"Content-Type": kind, **address()})
        well(answer)
        told = answer.json()
        assert "sdp" in told or "code" in told, told
        assert "Error" not in told.get("msg", "") and "Traceback" not in answer.text

    send()


def test_whatever_is_asked_for_is_answered(http: httpx.Client) -> None:
    @much(30)
    @given(path=st.sampled_from(GETS), name=st.text(max_size=20), value=st.text(max_size=40))
    def ask(path: str, name: str, value: str) -> None:
        well(http.get(path, params={name: value, "sessionid": value}, headers=address()))

    ask()


def test_ids_in_addresses_are_no_paths(http: httpx.Client) -> None:
    @much(30)
    @given(place=st.sampled_from(("/record/", "/api/avatar/task/")), name=st.text(max_size=30))
    def ask(place: str, name: str) -> None:
        answer = http.get(f"{place}..%2f..%2f{quote(name, safe='')}", headers=address())
        well(answer)
        assert "video" not in answer.headers.get("content-type", "")

    ask()
