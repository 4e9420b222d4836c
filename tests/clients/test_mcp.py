"""An assistant, by the client of MCP, makes a clip with a portal as a user starts it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import httpx
import pytest

from portal.commands.portal_process import PortalProcess

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, TextContent

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def login(name: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{name}'.encode()).decode()}"}


@asynccontextmanager
async def assistant(portal: PortalProcess, name: str) -> AsyncIterator[ClientSession]:
    address = f"{portal.url}/gradio_api/mcp"
    async with (
        streamablehttp_client(address, headers=login(name)) as (read, write, _),
        ClientSession(read, write) as one,
    ):
        await one.initialize()
        yield one


def words(result: CallToolResult) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, TextContent))


async def test_an_assistant_makes_a_clip(portal: PortalProcess) -> None:
    """Four tools with their docs; progress is told, and the clip can be fetched from the address in the answer."""
    steps: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total == 1.0 and message
        steps.append(progress)

    async with assistant(portal, "max") as one:
        tools = {tool.name: tool for tool in (await one.list_tools()).tools}
        assert list(tools) == ["list_avatars", "prepare_avatar", "render_clip", "list_jobs"]
        assert all(tool.description for tool in tools.values())
        assert set(tools["prepare_avatar"].inputSchema["required"]) == {"upload", "consent"}
        assert "mira" in words(await one.call_tool("list_avatars"))
        wish = {"avatar": "mira", "text": "Hello there."}
        made = await one.call_tool("render_clip", wish, progress_callback=on_progress)
        assert not made.isError, words(made)
        told = json.loads(words(made))
        assert told["job"] in words(await one.call_tool("list_jobs", {"limit": 5}))
        refused = await one.call_tool("prepare_avatar", {"upload": "x", "consent": True})
        assert refused.isError and "no such upload" in words(refused)
    assert steps and steps == sorted(steps)
    async with httpx.AsyncClient(timeout=60) as web:
        clip = await web.get(told["url"], headers=login("max"))
    with av.open(io.BytesIO(clip.content), "r") as media:
        assert sum(1 for _ in media.decode(video=0)) > 10


async def test_an_assistant_has_the_rights_of_its_login(portal: PortalProcess) -> None:
    """A viewer's may look and not make; without a login there is nothing."""
    async with assistant(portal, "vera") as one:
        assert "mira" in words(await one.call_tool("list_avatars"))
        refused = await one.call_tool("render_clip", {"avatar": "mira", "text": "Hello."})
        assert refused.isError and "needs the role maker" in words(refused)
    async with httpx.AsyncClient(timeout=60) as web:
        assert (await web.post(f"{portal.url}/gradio_api/mcp", json={})).status_code == 401


async def test_tools_are_called_by_post_and_a_call_is_not_large(portal: PortalProcess) -> None:
    """A stream that is opened by GET would hold a place and bring nothing; a large call holds up everybody."""
    address = f"{portal.url}/gradio_api/mcp"
    accept = {**login("max"), "Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(headers=accept) as http:
        stream = await http.get(address)
        assert (stream.status_code, stream.headers["allow"]) == (405, "POST")
        large = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": ["x" * 1000] * 70}}
        assert (await http.post(address, json=large)).status_code == 413
