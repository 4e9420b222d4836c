"""What the machine offers besides Python packages: browsers for tests, system packages, a working OpenCV."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = [
    "Run",
    "apt_offers_firefox",
    "find_chromium",
    "find_firefox",
    "install_chromium",
    "install_firefox",
    "root_prefix",
    "run_command",
]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOX_NAMES = ("firefox-esr", "firefox")
FIREFOX_PACKAGES = ("firefox-esr", "pulseaudio")
"Firefox plays no sound at all where there is no device; PulseAudio has one that leads nowhere."

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
    found = _find("CHROMIUM", CHROMIUM_NAMES)
    if found or os.environ.get("CHROMIUM"):
        return found
    own = _playwright_chromium()
    return own if own and _starts(str(own)) else None


def install_chromium(say: Callable[[str], None], run: Run = run_command) -> Path | None:
    """Get a Chromium: by apt where we may, else by Playwright. None if neither works; `say` is told what is done."""
    prefix = root_prefix(run)
    if _apt_install("Chromium", ("chromium",), say, run):
        found = find_chromium()
        if found:
            return found
    say("Asking Playwright for its Chromium.")
    # With the libraries it links to where we may install them: a bare machine lacks most.
    dependencies = ["--with-deps"] if prefix is not None and sys.platform == "linux" else []
    run([sys.executable, "-m", "playwright", "install", *dependencies, "chromium"])
    return find_chromium()


def find_firefox() -> Path | None:
    """A Firefox that starts ($FIREFOX, or one on PATH), where there is a PulseAudio to give it a speaker."""
    return _find("FIREFOX", FIREFOX_NAMES) if shutil.which("pulseaudio") else None


def install_firefox(say: Callable[[str], None], run: Run = run_command) -> Path | None:
    """Get a Firefox, and a speaker for it, by apt where we may. None if that does not work."""
    return find_firefox() if _apt_install("Firefox", FIREFOX_PACKAGES, say, run) else None


def apt_offers_firefox(run: Run = run_command) -> bool:
    """Whether apt could give a Firefox here, so that its absence is a fault: Debian has one, others may not."""
    if not shutil.which("apt-cache") or root_prefix(run) is None:
        return False
    return run(["apt-cache", "show", "--quiet=2", *FIREFOX_PACKAGES]) == 0


def root_prefix(run: Run = run_command) -> list[str] | None:
    """What to put before a command that needs root: nothing as root, sudo where it asks nothing, else None."""
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and run(["sudo", "-n", "true"]) == 0 else None


def _apt_install(what: str, packages: Sequence[str], say: Callable[[str], None], run: Run) -> bool:
    """Whether apt-get has installed the packages; False, and nothing said, where it may not."""
    prefix = root_prefix(run)
    if not shutil.which("apt-get") or prefix is None:
        return False
    say(f"No {what} here: installing it with apt-get.")
    apt = [*prefix, "apt-get"]
    return (
        run([*apt, "update", "-q"]) == 0
        and run([*apt, "install", "-y", "-q", "--no-install-recommends", *packages]) == 0
    )


def _find(variable: str, names: Sequence[str]) -> Path | None:
    """The browser that the environment names, which is not replaced in silence; else the first on PATH that starts."""
    named = os.environ.get(variable)
    for path in [named] if named else map(shutil.which, names):
        if path and _starts(path):
            return Path(path)
    return None


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
