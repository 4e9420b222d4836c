"""Processes of our own that run one module, are ordered about through a pipe, and end when it closes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["end_child", "start_child"]

PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"of the environment; the rest may hold keys and passwords, which a child has no use for"


def start_child(module: str, *, niceness: int = 0) -> subprocess.Popen[bytes]:
    """`python -m module`, with pipes to its input and from its output. Raises OSError.

    niceness: how far behind this process it stands where both want the processor.
    """
    root = str(Path(__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries write to it what they please
        env={"PYTHONPATH": root, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}},
        start_new_session=True,  # Ctrl-C is for us: it ends when its input closes
    )
    if niceness:
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    return process


def end_child(process: subprocess.Popen[bytes]) -> None:
    """End it, whatever it is doing. Idempotent."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
