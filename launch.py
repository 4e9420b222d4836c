#!/usr/bin/env python3
"""Start Vivavoce: `python launch.py [command] [options]`. The only entry point.

An interpreter whose environment already has the pinned packages (an activated venv, a container, a Space) is used as
it is. Otherwise `.venv` beside this file is made or updated, and used. A stamp in it records which package lists of
pyproject.toml are installed, so that the next start need not run pip. Then `portal.commands.cli` takes over. The
command `setup` ends before that, and needs only this file, launch_packages.py, pyproject.toml and
requirements-lock.txt.

This file uses only the standard library and syntax that Python 3.8 can parse. So an old interpreter can still look for
a newer one, or say that it needs one.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch_packages import (
    FORMER_NAMES,
    LISTS,
    NEURAL,
    UNFINISHED,
    PackageList,
    installed_version,
    lists_for,
    unmet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Run = Callable[[list[str], Callable[[str], None]], int]
    "Runs a command, passes its output on line by line, and returns its exit status."

ROOT = Path(__file__).resolve().parent
SUPPORTED_PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
"Versions for which every pinned package has a build."
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_BYTES = 9_000_000_000
"Disk space that CUDA takes, which torch from PyPI brings on Linux: 3 GB to download, 6 GB unpacked."
REPLACED = ("mediapipe-numpy2",)
"""Packages of earlier versions of Vivavoce that are uninstalled first, because their files lie in the folder of their
successor (mediapipe)."""


class SetupError(Exception):
    """Raised when the environment cannot be made. Its text says why and what to do."""


def brings_cuda(platform: str, pip_settings: Iterable[str]) -> bool:
    """Return whether pip will install PyPI's torch for Linux, rather than one from a CPU index or from local wheels.

    pip_settings: the lines of `pip config list`, which cover pip's files and PIP_... in the environment.
    """
    return platform == "linux" and not any("/cpu" in line or "find-links" in line for line in pip_settings)


def run_process(command: list[str], on_line: Callable[[str], None]) -> int:
    """Run a command. This is the implementation of Run outside tests."""
    # PYTHONPATH or the --user directory of another Python must not leak into the environment that is made.
    surroundings = {**os.environ, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}
    surroundings.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=surroundings
    ) as process:
        for line in process.stdout or ():
            on_line(line.rstrip())
    return process.returncode


class PipProgress:
    """Condenses pip's output: one changing line on a terminal, or else a line for each download."""

    def __init__(self, write: Callable[[str], object], terminal: bool) -> None:
        self._write = write
        self._terminal = terminal
        self._packages = 0
        self.lines: list[str] = []
        "All of pip's output, from which a failure is explained."

    def line(self, line: str) -> None:
        self.lines.append(line)
        text = line.strip()
        if text.startswith("Collecting "):
            self._packages += 1
            self._show(f"  {self._packages:3} {text.split()[1]}", passing=True)
        elif text.startswith("Downloading ") and not text.endswith(".metadata") and ".metadata (" not in text:
            self._show(f"  {self._packages:3} {text}", passing=False)
        elif text.startswith("Installing collected packages"):
            self._show(f"  Unpacking {text.count(',') + 1} packages ...", passing=False)
        elif "Retrying" in text:
            self._show(f"  The package index does not answer; pip tries again: {text}", passing=False)

    def close(self) -> None:
        if self._terminal:
            self._write("\r\033[K")

    def _show(self, text: str, passing: bool) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\033[K{text[:width]}")
        elif not passing:
            self._write(text + "\n")


def explain_pip_failure(lines: Sequence[str], environment: Path) -> str:
    """Say in plain words why pip failed, with the remedy."""
    output = "\n".join(lines)
    again = "Run the same command again: what is already there is kept."
    if re.search(r"No space left on device|Errno 28", output):
        return (
            "The disk is full. Packages take about 2 GB, with torch from PyPI on Linux about 12 GB: free that much "
            f"where {environment} lies. {again}"
        )
    if re.search(r"CERTIFICATE_VERIFY_FAILED|SSLError", output):
        return (
            "The package index's certificate is not trusted here, usually because a proxy re-signs it. Set PIP_CERT to "
            f"your organisation's certificate file. {again}"
        )
    if re.search(r"NewConnectionError|Max retries|Temporary failure in name|ProxyError|timed out|Retrying", output):
        return (
            "The Python package index cannot be reached. Check the network and HTTPS_PROXY, or name a mirror with "
            f"PIP_INDEX_URL=https://.../simple. {again}"
        )
    if re.search(r"Permission denied|Errno 13", output):
        return f"{environment} may not be written by this user. Delete it or fix its owner. {again}"
    absent = re.search(r"No matching distribution found for (\S+)", output)
    if absent:
        return (
            f"There is no build of {absent.group(1)} for Python {sys.version_info[0]}.{sys.version_info[1]} on "
            f"{sys.platform}. Use Python 3.11 to 3.14 on 64-bit Linux, macOS or Windows, or an index that has it."
        )
    return "pip failed. Its last words:\n    " + "\n    ".join(lines[-12:])


@dataclass(frozen=True)
class OwnEnvironment:
    """The `.venv` that belongs to this checkout."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def stamp(self) -> Path:
        """A JSON file: package list -> its fingerprint if it was installed completely, else UNFINISHED."""
        return self.path / "vivavoce-stamp.json"

    def stamps(self) -> dict[str, str]:
        try:
            content = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        renamed = {FORMER_NAMES.get(name, name): state for name, state in content.items()}
        return {one.name: renamed[one.name] for one in LISTS if one.name in renamed}

    def outstanding(
        self, lists: Iterable[PackageList], installed: Callable[[str], str | None] = installed_version
    ) -> list[PackageList]:
        """Return the lists to install: interrupted ones, changed ones, and those whose pins are not met.

        A list without a stamp, as in a `.venv` made by hand, is judged only by its pins.
        """
        stamps = self.stamps()
        return [
            packages
            for packages in lists
            if stamps.get(packages.name, packages.fingerprint(self.root)) != packages.fingerprint(self.root)
            or unmet([packages], self.root, installed)
        ]

    def create(self, python: str, run: Run) -> None:
        """Make an empty environment. Raises SetupError."""
        said: list[str] = []
        if run([python, "-m", "venv", "--clear", str(self.path)], said.append) != 0:
            self._explain_missing_tools(said)
            raise SetupError(explain_pip_failure(said, self.path))

    def install(
        self, lists: Iterable[PackageList], run: Run, progress: PipProgress, whole_bytecode: bool = True
    ) -> None:
        """Install lists one after another. An interrupted list stays UNFINISHED, and is installed again next time.

        whole_bytecode: compile every module now. Otherwise a module is compiled when it is first imported.

        Raises SetupError.
        """
        python = str(self.python)
        said: list[str] = []
        # If making the environment was interrupted, it may lack pip.
        if run([python, "-c", "import pip"], said.append) != 0 and run([python, "-m", "ensurepip"], said.append) != 0:
            self._explain_missing_tools(said)
            raise SetupError(f"{self.path} has no working pip. Delete it and run the same command again.")
        pip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        if not whole_bytecode:
            pip.append("--no-compile")
        for packages in lists:
            self._record(packages, UNFINISHED)
            for arguments in packages.pip_arguments(self.root):
                status = run([*pip, *arguments], progress.line)
                progress.close()
                if status != 0:
                    raise SetupError(explain_pip_failure(progress.lines, self.path))
            self._record(packages, packages.fingerprint(self.root))

    def remove(self, packages: Sequence[str], run: Run) -> None:
        """Uninstall packages. Raises SetupError."""
        said: list[str] = []
        if run([str(self.python), "-m", "pip", "uninstall", "--yes", *packages], said.append) != 0:
            raise SetupError(explain_pip_failure(said, self.path))

    def _record(self, packages: PackageList, state: str) -> None:
        # Written to another file first, so that an interruption never leaves half a stamp.
        partial = self.stamp.with_suffix(".part")
        partial.write_text(json.dumps({**self.stamps(), packages.name: state}, indent=1), encoding="utf-8")
        partial.replace(self.stamp)

    def _explain_missing_tools(self, said: Sequence[str]) -> None:
        output = "\n".join(said)
        if "ensurepip" in output or "No module named venv" in output:
            raise SetupError(
                "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv. "
                "Then run the same command again."
            )


def suitable_python(version: tuple[int, int], executable: str, run: Run) -> str:
    """Return the interpreter to make the environment with: this one, or a supported one on PATH. Raises SetupError."""
    if version in SUPPORTED_PYTHONS:
        return executable
    for major, minor in reversed(SUPPORTED_PYTHONS):
        candidate = shutil.which(f"python{major}.{minor}")
        said: list[str] = []
        # PATH may have a version manager's shim for a version that is not installed, so the candidate is run.
        question = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        if candidate and run([candidate, "-c", question], said.append) == 0 and said == [f"{major}.{minor}"]:
            return candidate
    raise SetupError(
        f"Vivavoce needs Python 3.11 to 3.14; this is Python {version[0]}.{version[1]} and no other was found. "
        "Install Python 3.13 (python.org, `apt install python3`, `brew install python@3.13`, `conda create -n vivavoce "
        "python=3.13`) and start with it."
    )


def check_disk(directory: Path, free_bytes: int, needed_bytes: int) -> None:
    """Raise SetupError if there is not enough disk space to finish the set-up."""
    if free_bytes < needed_bytes:
        raise SetupError(
            f"Only {free_bytes / 1e9:.1f} GB are free where {directory} lies; setting up takes about "
            f"{needed_bytes / 1e9:.1f} GB. Make room and run the same command again."
        )


def make_environment(own: OwnEnvironment) -> None:
    """Make an empty `.venv`, unless there is one. Raises SetupError."""
    if own.python.exists():
        return
    python = suitable_python(sys.version_info[:2], sys.executable, run_process)
    _say(f"Vivavoce is set up, once: its Python packages, about 1 GB without torch, go into {own.path}")
    own.create(python, run_process)


def fill_environment(own: OwnEnvironment, lists: Sequence[PackageList], whole_bytecode: bool = True) -> None:
    """Install the outstanding lists into `.venv`, on whose interpreter this process runs.

    whole_bytecode: compile every module now. Otherwise a module is compiled when it is first imported.

    Raises SetupError.
    """
    outstanding = own.outstanding(lists)
    if not outstanding:
        return
    if UNFINISHED in own.stamps().values():
        _say("Going on with a set-up that was interrupted.")
    fresh = [packages for packages in outstanding if packages.name not in own.stamps()]
    pip_settings: list[str] = []
    if NEURAL in fresh:
        run_process([str(own.python), "-m", "pip", "config", "list"], pip_settings.append)
    cuda = NEURAL in fresh and brings_cuda(sys.platform, pip_settings)
    needed_bytes = sum(packages.disk_bytes for packages in fresh) + (CUDA_BYTES if cuda else 0)
    if cuda:
        _say(
            "torch from PyPI comes with CUDA, about 3 GB to download. Without an NVIDIA GPU: stop this, set "
            f"PIP_EXTRA_INDEX_URL={CPU_INDEX} and run the same command again."
        )
    for packages in fresh:
        if packages.terms:
            _say(packages.terms)
    check_disk(own.root, shutil.disk_usage(own.root).free, needed_bytes)
    started = time.monotonic()
    replaced = [package for package in REPLACED if installed_version(package)]
    if replaced:
        own.remove(replaced, run_process)
    for packages in outstanding:
        _say(f"Installing the {packages.name} packages ...")
        own.install([packages], run_process, PipProgress(_write, sys.stdout.isatty()), whole_bytecode)
    importlib.invalidate_caches()
    _say(f"Set-up done in {time.monotonic() - started:.0f} s.")
    missing = unmet(lists, own.root)
    if missing:
        raise SetupError(f"{own.path} is damaged, without {', '.join(missing)}. Delete it and start again.")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    _write(text + "\n")


def _continue_in(python: Path, arguments: Sequence[str]) -> int:
    command = [str(python), str(ROOT / "launch.py"), *arguments]
    if os.name != "nt":
        sys.stdout.flush()
        os.execv(command[0], command)
    # On Windows execv starts a new process and ends this one, so the shell would no longer wait for the portal.
    return subprocess.call(command)


def main(arguments: Sequence[str]) -> int:
    own = OwnEnvironment(ROOT)
    lists = lists_for(arguments, own.stamps())
    inside = Path(sys.prefix).resolve() == own.path.resolve()
    try:
        if inside:
            # Compiling all 19,000 modules takes 87 s on an old processor, and the tests import only a part of them.
            fill_environment(own, lists, whole_bytecode=list(arguments[:1]) != ["test"])
        elif sys.version_info < (3, 11) or unmet(lists, ROOT, any_version="SPACE_ID" in os.environ):
            make_environment(own)
            return _continue_in(own.python, arguments)
    except SetupError as error:
        _say(f"Vivavoce cannot be set up: {error}")
        return 1
    if list(arguments) == ["setup"]:
        _say("Vivavoce is set up: start it with python launch.py")
        return 0
    from portal.commands.cli import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        _say("\nInterrupted. Run the same command again to go on.")
        sys.exit(130)
