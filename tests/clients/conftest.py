"""A portal as a user starts it, to which programs talk in the ways that an operator has opened for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatars.library import presets
from portal.commands.portal_process import PortalProcess, running_portal
from portal.http.people import Role, UsersFile
from tests.browser.conftest import write_avatar


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With Gradio's protocol and MCP, with a login, and with a worker."""
    data_dir = tmp_path_factory.mktemp("programs")
    for preset in presets():  # else its worker would make them first
        write_avatar(data_dir / "avatars" / preset.id, 90)
    users = UsersFile(data_dir / "users.json")
    users.set("vera", "vera", Role.VIEWER)
    users.set("max", "max", Role.MAKER)
    with running_portal(data_dir, "--gradio-api", "--tts", "beep", "--lipsync", "flash", "--llm", "echo") as process:
        yield process
