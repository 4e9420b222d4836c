"""clients/js against a portal as a user starts it, in Node.js. In a browser: tests/browser/test_js_client.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import write_avatar
from tests.scripts.__main__ import NODE

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent / "js" / "session.test.js"
MEASURING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--max-sessions", "2")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    data_dir = tmp_path_factory.mktemp("portal")
    write_avatar(data_dir / "avatars" / "mira", 90)
    with running_portal(data_dir, "--avatar", "mira", *MEASURING) as process:
        yield process


def test_a_program_in_node_drives_an_avatar(portal: PortalProcess) -> None:
    """It speaks, answers, is interrupted and refused; the script says what is wrong."""
    ran = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", TESTS],
        env={**os.environ, "PORTAL": portal.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
