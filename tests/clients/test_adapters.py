"""The adapters for agents of LiveKit and Pipecat, each in an environment that has that framework and nothing of ours.

An environment is made from adapters/NAME.txt, once for each content of that file. Where the package index cannot be
reached, the test is skipped; in CI that is a fault.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portal.commands.portal_process import PortalProcess

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(900)]

HERE = Path(__file__).parent / "adapters"
ENVIRONMENTS = Path.home() / ".cache" / "vivavoce" / "adapters"
"""Outside the tree: ESLint reads everything below tests/clients, and each has half a gigabyte."""


def python_of(name: str) -> Path:
    """The Python of an adapter's environment, which is made if it is not there."""
    wanted = HERE / f"{name}.txt"
    folder = ENVIRONMENTS / f"{name}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    python, mark = folder / "bin" / "python", folder / "complete"
    if mark.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--retries",
        "1",
        "--requirement",
        wanted,
    ]
    made = subprocess.run(install, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(folder)
        if os.environ.get("CI") == "true":
            pytest.fail(f"The packages of {wanted.name} could not be had: {made.stderr[-1000:]}")
        pytest.skip(f"The packages of {wanted.name} could not be had.")
    mark.touch()
    return python


@pytest.mark.parametrize("name", [pytest.param("livekit", marks=pytest.mark.alone), "pipecat"])
def test_an_agent_speaks_through_an_avatar(talking_portal: PortalProcess, name: str) -> None:
    """Heard, seen and interrupted: adapters/check_NAME.py."""
    command: list[str | Path] = [
        python_of(name),
        "-m",
        "pytest",
        "-q",
        "-c",
        HERE / "pytest.ini",
        HERE / f"check_{name}.py",
    ]
    surroundings = {**os.environ, "PORTAL": talking_portal.url}
    ran = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
