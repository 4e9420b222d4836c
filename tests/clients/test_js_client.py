"""clients/js against a portal as a user starts it, in Node.js. In a browser: tests/browser/test_js_client.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from portal.commands.portal_process import PortalProcess
from tests.scripts.__main__ import NODE

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent / "js" / "session.test.js"


def test_a_program_in_node_drives_an_avatar(talking_portal: PortalProcess) -> None:
    """It speaks, answers, is interrupted and refused; the script says what is wrong."""
    ran = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", TESTS],
        env={**os.environ, "PORTAL": talking_portal.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
