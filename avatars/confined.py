"""Handles an untrusted file in a process of its own: whatever the file does to a decoder ends with that process.

The process is a fresh interpreter. Its processor time, memory, files and time without an answer are limited. It gets
one order, the pickle of a function and its arguments, and answers with messages of JSON or bytes only: nothing from it
is ever unpickled here. Such a function takes `emit` as its first argument; what it emits is passed on at once.

macOS and Windows do not limit a process' memory. There, only processor time (on macOS) and time without an answer are
limited.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from avatars import errors
from avatars.errors import AvatarError, BadMedia

__all__ = ["LONG_LOOK", "QUICK_LOOK", "TOOK_TOO_LONG", "Confined", "Emit", "Limits", "run_confined"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Emit = Callable[[object], None]
"Takes bytes, or a value that JSON can represent."

MAX_MESSAGE_BYTES: Final = 8 * 2**20
HEADER: Final = struct.Struct(">cI")
"Precedes each message: its kind, and its length in bytes."
ITEM, DATA, RESULT, FAILURE = b"I", b"D", b"R", b"F"
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"Environment variables that are passed on. The others may hold keys and passwords, and a decoder needs none of them."
FEW_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"Each thread would reserve address space, and that counts against the memory limit."
REMEDY: Final = "Save it again in an ordinary program, or use another file."
TOOK_TOO_LONG: Final = "took_too_long"
"""Cause of the error when the process ran out of processor time, or did not answer for too long. With more of either it
might have succeeded."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The resources that a confined process may use."""

    patience_s: float
    "longest time without a message; the process is killed after it"
    cpu_s: float
    "processor time after the libraries are loaded, which itself takes 0.3 to 0.6 s"
    memory_bytes: int
    "in addition to the interpreter and its libraries"
    written_bytes: int = 0
    "size of the largest file that it may write"


QUICK_LOOK: Final = Limits(patience_s=8, cpu_s=1, memory_bytes=384 * 2**20)
"""For examining an upload without decoding it: honest files of 300 MB take 0.6 s at most, most of them 0.2 s. A file
that takes longer is examined once more, with LONG_LOOK. patience_s is several times cpu_s, because sessions have
priority over this work."""
LONG_LOOK: Final = Limits(patience_s=24, cpu_s=6, memory_bytes=384 * 2**20)


class Confined(Generic[R]):
    """One call of a function in a confined process. Iterate over what it emits; `result` is set after that."""

    result: R
    "the function's return value, as JSON represents it; not set before the iteration has ended"

    def __init__(
        self, task: Callable[Concatenate[Emit, P], R], limits: Limits, *arguments: P.args, **named: P.kwargs
    ) -> None:
        self._limits = limits
        self._gave_up = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "avatars.confined_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print arbitrary messages
            env={**_environment(), **FEW_THREADS},
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._order, self._answers = self._process.stdin, self._process.stdout
        order = pickle.dumps((limits, task, arguments, named))
        try:
            # The pipe stays open as a leash: when our process ends, it closes, and the child exits.
            self._order.write(struct.pack(">I", len(order)) + order)
            self._order.flush()
        except OSError:
            logger.warning("A process for reading a file ended before it was told what to do.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing. Idempotent; may be called by any thread, also during an iteration."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._order.close()
        self._answers.close()

    def __iter__(self) -> Iterator[Any]:
        """Give what the function emits, until it returns.

        Raises the function's error if it is an AvatarError. Raises BadMedia if the function failed otherwise, exceeded
        a limit, or close() was called.
        """
        while True:
            kind, content = self._message()
            if kind == DATA:
                yield content
            elif kind == ITEM:
                yield json.loads(content)
            elif kind == RESULT:
                self.result = json.loads(content)
                return
            else:
                raise _as_error(json.loads(content), self._limits)

    def _message(self) -> tuple[bytes, bytes]:
        # Not every platform can read a pipe with a deadline. So a timer kills the process, which ends the pipe.
        watch = threading.Timer(self._limits.patience_s, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            header = self._answers.read(HEADER.size)
            kind, length = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0)
            content = self._answers.read(length) if length <= MAX_MESSAGE_BYTES else b""
        except ValueError:  # close() was called by another thread
            kind, content, length = b"", b"", 0
        finally:
            watch.cancel()
        if kind not in (ITEM, DATA, RESULT, FAILURE) or len(content) != length:
            raise self._died()
        return kind, content

    def _give_up(self) -> None:
        self._gave_up = True
        self._process.kill()

    def _died(self) -> BadMedia:
        self.close()
        logger.warning("A process for reading a file died, with status %s.", self._process.returncode)
        if self._gave_up:
            return BadMedia(
                f"Reading the file took more than {self._limits.patience_s:.0f} seconds.", REMEDY, cause="took_too_long"
            )
        if sys.platform != "win32" and self._process.returncode in (-signal.SIGPROF, -signal.SIGXCPU):
            return BadMedia(
                "The file cannot be read: what decodes it used more than it may of a processor's time.",
                REMEDY,
                cause="took_too_long",
            )
        return BadMedia(
            "The file cannot be read: what decodes it failed, or used more than it may.", REMEDY, cause="damaged"
        )


def run_confined(
    task: Callable[Concatenate[Emit, P], R],
    limits: Limits,
    on_item: Callable[[Any], None],
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """Call `task` in a confined process, pass what it emits to `on_item`, and return its result.

    If `on_item` raises, the process is ended. Raises like iterating over Confined.
    """
    with Confined(task, limits, *arguments, **named) as work:
        for item in work:
            on_item(item)
        return work.result


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    return {"PYTHONPATH": root, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}


def _as_error(told: dict[str, str], limits: Limits) -> AvatarError:
    """Return the error that the other process reported."""
    known = getattr(errors, told["kind"], None)
    if isinstance(known, type) and issubclass(known, AvatarError) and known.__init__ is AvatarError.__init__:
        return known(told["message"], told["hint"], cause=told["cause"])
    if told["kind"] == "MemoryError":
        return BadMedia(
            f"The file needs more than {limits.memory_bytes / 2**20:.0f} MB of memory to be read.",
            "Use a smaller picture or a shorter clip.",
            cause="too_much_memory",
        )
    logger.warning("Reading a file failed: %s", told["message"])
    return BadMedia(
        "The file cannot be read: it is damaged, or in a form that is not known here.", REMEDY, cause="damaged"
    )
