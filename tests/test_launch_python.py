"""launch.py: which Python makes the environment, and how pip's progress is shown. Nothing is run here."""

from __future__ import annotations

import ast
import shutil

import pytest

import launch
from launch import PipProgress, SetupError
from tests.fake_pip import FakeRun


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


def test_this_python_is_used_if_it_is_supported(run: FakeRun) -> None:
    """If this interpreter is supported, no other is looked for."""
    assert launch.suitable_python((3, 12), "/usr/bin/python3", run) == "/usr/bin/python3"
    assert run.commands == []


@pytest.mark.parametrize("version", [(3, 9), (3, 15)])
def test_another_python_is_found_on_path(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    """An older or newer interpreter hands over to a supported one that works."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    run.answers["/bin/python3.12"] = (127, ["pyenv: python3.12: command not found"])
    run.answers["/bin/python3.11"] = (0, ["3.11"])
    assert launch.suitable_python(version, "/bin/python3", run) == "/bin/python3.11"


def test_no_suitable_python_is_said_plainly(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any supported interpreter, the message names the supported versions."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(SetupError, match=r"needs Python 3\.11 to 3\.14; this is Python 3\.9"):
        launch.suitable_python((3, 9), "/bin/python3", run)


@pytest.mark.parametrize("file", ["launch.py", "launch_packages.py"])
def test_old_interpreters_can_read_the_launcher(file: str) -> None:
    """It parses as Python 3.8, so that an old interpreter shows the message instead of a SyntaxError."""
    source = (launch.ROOT / file).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))


def test_progress_is_one_line_a_download_without_a_terminal() -> None:
    """A log shows the downloads, but not each look at the index."""
    written: list[str] = []
    progress = PipProgress(written.append, terminal=False)
    for line in (
        "Collecting gradio==6.31.0 (from -c requirements-lock.txt (line 12))",
        "  Downloading gradio-6.31.0-py3-none-any.whl.metadata (15 kB)",
        "  Downloading gradio-6.31.0-py3-none-any.whl (79.5 MB)",
        "Installing collected packages: pytz, gradio",
    ):
        progress.line(line)
    assert written == [
        "    1 Downloading gradio-6.31.0-py3-none-any.whl (79.5 MB)\n",
        "  Unpacking 2 packages ...\n",
    ]


def test_progress_rewrites_its_line_on_a_terminal() -> None:
    """On a terminal each package replaces the one before."""
    written: list[str] = []
    progress = PipProgress(written.append, terminal=True)
    progress.line("Collecting gradio==6.31.0")
    progress.close()
    assert written == ["\r\033[K    1 gradio==6.31.0", "\r\033[K"]
