"""What the machine offers besides Python packages: a Chromium for tests, system packages, a working OpenCV."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Run", "find_chromium", "install_chromium", "root_prefix", "run_command"]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Run = Callable[[Sequence[str]], int]
"Runs a command with its output on ours, returns its exit status."


def run_command(command: Sequence[str]) -> int:
    """The real Run; 127 when there is no such program."""
    try:
        return subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode
    except FileNotFoundError:
        return 127


def find_chromium() -> Path | None:
    """A Chromium or Chrome that starts: $CHROMIUM, one on PATH, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named) if _starts(named) else None
    for name in CHROMIUM_NAMES:
        path = shutil.which(name)
        if path and _starts(path):
            return Path(path)
    own = _playwright_chromium()
    return own if own and _starts(str(own)) else None


def install_chromium(say: Callable[[str], None], run: Run = run_command) -> Path | None:
    """Get a Chromium: by apt where we may, else by Playwright. None if neither works; `say` is told what is done."""
    prefix = root_prefix(run)
    if shutil.which("apt-get") and prefix is not None:
        say("No Chromium here: installing it with apt-get.")
        apt = [*prefix, "apt-get"]
        installed = run([*apt, "update", "-q"]) == 0 and (
            run([*apt, "install", "-y", "-q", "--no-install-recommends", "chromium"]) == 0
        )
        found = find_chromium() if installed else None
        if found:
            return found
    say("Asking Playwright for its Chromium.")
    # With the libraries it links to where we may install them: a bare machine lacks most.
    dependencies = ["--with-deps"] if prefix is not None and sys.platform == "linux" else []
    run([sys.executable, "-m", "playwright", "install", *dependencies, "chromium"])
    return find_chromium()


def root_prefix(run: Run = run_command) -> list[str] | None:
    """What to put before a command that needs root: nothing as root, sudo where it asks nothing, else None."""
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and run(["sudo", "-n", "true"]) == 0 else None


def _starts(path: str) -> bool:
    """Some distributions ship a script of that name that only says where to get the browser."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _playwright_chromium() -> Path | None:
    if importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)
