"""Whatever is said on the session socket, in any order: it is answered in the grammar, or the socket is closed."""

from __future__ import annotations

import asyncio
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.api.messages import ClientMessage
from tests.fuzz.trying import much
from tests.portal.session_house import open_house

pytestmark = pytest.mark.thorough

MODELS = {get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(ClientMessage)}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
LIKELY: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("webrtc", "websocket", "chat", "echo", "open", "hold", "off", "alpha", "nobody", "wave", "v=0", "Hello."),
        *(True, False, 0, 1, 0.5, 1.5, 24_000, 2**53, -1, None, {}, []),
        *("rtmp://a.example/live/key", "candidate:1 1 udp 2 192.0.2.7 9 typ host", [{"role": "user", "content": "Hi"}]),
    ]
)
MAX_MESSAGES = 8
"Not more than a viewer may say at once."


@st.composite
def said(draw: st.DrawFn) -> str | bytes:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return draw(st.text(max_size=60))
    if kind == 2:
        return json.dumps(draw(JSON))
    type_ = draw(st.sampled_from(sorted(MODELS)))
    fields = [name for name in MODELS[type_].model_fields if name != "type"]
    wanted = draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    values: dict[str, Any] = {name: draw(LIKELY if draw(st.booleans()) else JSON) for name in wanted}
    return json.dumps({"type": type_, **values})


async def talk(messages: list[str | bytes], *, greets: bool) -> None:
    async with open_house() as house:
        viewer = await house.viewer()
        if greets:
            await viewer.hello()
        for message in messages:
            if viewer.over:
                break
            if isinstance(message, bytes):
                viewer.tell_bytes(message)
            else:
                viewer.tell_raw(message)
            await viewer.all_read()
        await house.settle()
        viewer.tell("ping", t=4711)
        while not viewer.over:
            raw = await viewer.hear_raw()
            if raw["type"] == "websocket.close":
                assert raw["code"] in (1000, 1003, 1008, 1009, 1013)
                return
            if raw.get("text") is None:
                continue  # media
            message = json.loads(raw["text"])
            if message["type"] == "pong" and message["t"] == 4711:
                return


@much(120)
@given(messages=st.lists(said(), min_size=1, max_size=MAX_MESSAGES), greets=st.booleans())
def test_the_server_answers_to_the_end(messages: list[str | bytes], greets: bool) -> None:
    asyncio.run(talk(messages, greets=greets))
