"""Portals as a user starts them: one for programs that talk, and one with the ways that an operator may open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatars.library import presets
from portal.commands.portal_process import PortalProcess, running_portal
from portal.http.people import Role, UsersFile
from tests.browser.conftest import write_avatar

MEASURING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo")


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With Gradio's protocol and MCP, with a login, and with a worker."""
    data_dir = tmp_path_factory.mktemp("programs")
    for preset in presets():  # else its worker would make them first
        write_avatar(data_dir / "avatars" / preset.id, 90)
    users = UsersFile(data_dir / "users.json")
    users.set("vera", "vera", Role.VIEWER)
    users.set("max", "max", Role.MAKER)
    with running_portal(data_dir, "--gradio-api", *MEASURING) as process:
        yield process


@pytest.fixture(scope="session")
def talking_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With two avatars and room for two sessions. Every test leaves both places free."""
    data_dir = tmp_path_factory.mktemp("talking")
    write_avatar(data_dir / "avatars" / "mira", 90)
    write_avatar(data_dir / "avatars" / "alpha", 60)
    with running_portal(data_dir, "--avatar", "alpha", *MEASURING, "--no-worker", "--max-sessions", "2") as process:
        yield process
