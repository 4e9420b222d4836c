"""clients/js in Node.js, against a portal as a user starts it. tests/browser has the same in a browser."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from portal.commands.portal_process import PortalProcess
from tests.clients.endings import ENDINGS
from tests.scripts.__main__ import NODE

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent / "js"
WITHIN_S = 300


def run_in_node(name: str, **given: str) -> None:
    ran = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", TESTS / name],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_program_in_node_drives_an_avatar(talking_portal: PortalProcess) -> None:
    """It speaks, answers, is interrupted and refused; the script says what is wrong."""
    run_in_node("session.test.js", PORTAL=talking_portal.url)


def test_a_program_in_node_learns_how_its_session_ended() -> None:
    """A session that the portal ends in order just ends, also when the portal stops."""
    run_in_node("ending.test.js", ENDINGS=json.dumps(ENDINGS))
