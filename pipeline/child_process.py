"""Starts processes that run one of our modules, are controlled through a pipe, and end when it closes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["end_child", "start_child"]

PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"Environment variables passed to a child. The others may hold keys and passwords, which it does not need."


def start_child(module: str, *, niceness: int = 0) -> subprocess.Popen[bytes]:
    """Start `python -m module`, with pipes to its input and from its output. Raises OSError.

    niceness: added to this process's own, so that the child yields to it.
    """
    root = str(Path(__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries write arbitrary text there
        env={"PYTHONPATH": root, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}},
        start_new_session=True,  # keeps Ctrl-C from it: it ends when its input closes
    )
    if niceness:
        with suppress(ProcessLookupError):  # the process may have ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    return process


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and close its pipes. Idempotent."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
