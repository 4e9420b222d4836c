"""Finds and installs what Python packages do not bring: browsers for tests, and system packages."""

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
"Firefox plays no sound at all on a machine without a sound device. PulseAudio provides a device that is a dummy."

Run = Callable[[Sequence[str]], int]
"Runs a command, with its output going where ours goes, and returns its exit status."


def run_command(command: Sequence[str]) -> int:
    """Run a command. This is the implementation of Run outside tests. Returns 127 if there is no such program."""
    try:
        return subprocess.run(command, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode
    except FileNotFoundError:
        return 127


def find_chromium() -> Path | None:
    """Return a Chromium or Chrome that starts: $CHROMIUM, one on PATH, or Playwright's own. None if there is none."""
    found = _find("CHROMIUM", CHROMIUM_NAMES)
    if found or os.environ.get("CHROMIUM"):
        return found
    own = _playwright_chromium()
    return own if own and _starts(str(own)) else None


def install_chromium(say: Callable[[str], None], run: Run = run_command) -> Path | None:
    """Install a Chromium, by apt if we have the rights, else by Playwright. Return None if neither works.

    say: told what is being done.
    """
    prefix = root_prefix(run)
    if _apt_install("Chromium", ("chromium",), say, run):
        found = find_chromium()
        if found:
            return found
    say("Asking Playwright for its Chromium.")
    # A bare machine lacks most of the libraries that Chromium links to. Install them as well if we have the rights.
    dependencies = ["--with-deps"] if prefix is not None and sys.platform == "linux" else []
    run([sys.executable, "-m", "playwright", "install", *dependencies, "chromium"])
    return find_chromium()


def find_firefox() -> Path | None:
    """Return a Firefox that starts: $FIREFOX, or one on PATH. None without PulseAudio, which gives it a speaker."""
    return _find("FIREFOX", FIREFOX_NAMES) if shutil.which("pulseaudio") else None


def install_firefox(say: Callable[[str], None], run: Run = run_command) -> Path | None:
    """Install a Firefox, and PulseAudio for it, by apt if we have the rights. Return None if that does not work."""
    return find_firefox() if _apt_install("Firefox", FIREFOX_PACKAGES, say, run) else None


def apt_offers_firefox(run: Run = run_command) -> bool:
    """Return whether apt could install a Firefox here, so that its absence is a fault. Some distributions have none."""
    if not shutil.which("apt-cache") or root_prefix(run) is None:
        return False
    return run(["apt-cache", "show", "--quiet=2", *FIREFOX_PACKAGES]) == 0


def root_prefix(run: Run = run_command) -> list[str] | None:
    """Return the prefix of a command that needs root: nothing for root, sudo if it needs no password, else None."""
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and run(["sudo", "-n", "true"]) == 0 else None


def _apt_install(what: str, packages: Sequence[str], say: Callable[[str], None], run: Run) -> bool:
    """Install packages by apt-get. Return whether that worked; False, without a word, if we do not have the rights."""
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
    """Return the browser that the environment names, or else the first on PATH that starts. None if there is none.

    If the one that the environment names does not start, no other is used in its place, so that the mistake is seen.
    """
    named = os.environ.get(variable)
    for path in [named] if named else map(shutil.which, names):
        if path and _starts(path):
            return Path(path)
    return None


def _starts(path: str) -> bool:
    """Return whether a browser starts. Some distributions ship a script of its name that only says where to get it."""
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
