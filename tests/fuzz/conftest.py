"""What the fuzz tests share: a portal that takes whatever they send, and must not stumble over any of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import write_avatar

STUMBLED = re.compile(r"^.*(?:Traceback|could not be served| ERROR | CRITICAL ).*$", re.MULTILINE)
OPTIONS = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--livetalking", "--watch-links")


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    data_dir = tmp_path_factory.mktemp("fuzzed")
    write_avatar(data_dir / "avatars" / "alpha", 90)
    options = (*OPTIONS, "--avatar", "alpha", "--livetalking-avatars", "--livetalking-admin", "--gradio-api")
    with running_portal(data_dir, *options) as portal:
        yield portal


@pytest.fixture
def http(fuzzed: PortalProcess) -> Iterator[httpx.Client]:
    """Once everything is answered, the portal lives and its log tells of nothing that nobody foresaw."""
    before = len(fuzzed.log.read_text(errors="replace"))
    with httpx.Client(base_url=fuzzed.url, timeout=60) as client:
        yield client
        assert client.get("/healthz").status_code == 200
    assert STUMBLED.findall(fuzzed.log.read_text(errors="replace")[before:]) == []
