"""Work on a stranger's file, in a process of its own: whatever the file does to a decoder ends with that process.

The process is a fresh interpreter with a limit on its processor time, memory, files and patience. It is told what to do
once, by the pickle of a function and its arguments, and answers in messages of JSON or bytes only: nothing that it says
is ever unpickled here. A function that can be called so takes `emit` first: what it emits is handed on as it comes.

On macOS and Windows the system does not limit a process' memory; processor time (macOS) and patience are left.
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
"takes bytes, or what JSON can say"

MAX_MESSAGE_BYTES: Final = 8 * 2**20
HEADER: Final = struct.Struct(">cI")
"before each message: its kind, its length in bytes"
ITEM, DATA, RESULT, FAILURE = b"I", b"D", b"R", b"F"
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"of the environment; the rest may hold keys and passwords, which a decoder has no use for"
FEW_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"Each thread would reserve address space, which is what is limited."
REMEDY: Final = "Save it again in an ordinary program, or use another file."
TOOK_TOO_LONG: Final = "took_too_long"
"cause of the error when a process ran out of its processor time or of our patience: more of both might have helped"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a confined process may use."""

    patience_s: float
    "without a message: it is killed then"
    cpu_s: float
    "of processor time, after the libraries are loaded, which takes 0.3 to 0.6 s"
    memory_bytes: int
    "beside the interpreter and its libraries"
    written_bytes: int = 0
    "of the largest file that it writes"


QUICK_LOOK: Final = Limits(patience_s=8, cpu_s=1, memory_bytes=384 * 2**20)
"""For looking at an upload without decoding it: honest files of 300 MB take 0.6 s at most, most of them 0.2 s. What is
not done then is looked at once more, with LONG_LOOK. The patience is several times the processor time, because people
who talk come first."""
LONG_LOOK: Final = Limits(patience_s=24, cpu_s=6, memory_bytes=384 * 2**20)


class Confined(Generic[R]):
    """One call of a function in a process of its own. Iterate over what it emits; then there is its `result`."""

    result: R
    "what the function returned, as JSON can say it; not before it has"

    def __init__(
        self, task: Callable[Concatenate[Emit, P], R], limits: Limits, *arguments: P.args, **named: P.kwargs
    ) -> None:
        self._limits = limits
        self._gave_up = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "avatars.confined_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders write to it what they please
            env={**_environment(), **FEW_THREADS},
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._order, self._answers = self._process.stdin, self._process.stdout
        order = pickle.dumps((limits, task, arguments, named))
        try:
            # It stays open as a leash: the process ends when we do.
            self._order.write(struct.pack(">I", len(order)) + order)
            self._order.flush()
        except OSError:
            logger.warning("A process for reading a file ended before it was told what to do.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing. Idempotent; from any thread, also while another one iterates."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._order.close()
        self._answers.close()

    def __iter__(self) -> Iterator[Any]:
        """What the function emits, until it returns.

        Raises what it raised, if that is an AvatarError, and BadMedia when it failed otherwise, ran into a limit or
        was closed.
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
        # A pipe cannot be read with a deadline everywhere, but it ends with the process at its other end.
        watch = threading.Timer(self._limits.patience_s, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            header = self._answers.read(HEADER.size)
            kind, length = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0)
            content = self._answers.read(length) if length <= MAX_MESSAGE_BYTES else b""
        except ValueError:  # closed meanwhile
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
    """Call `task` in a process of its own, hand what it emits to `on_item`, and return its result.

    What `on_item` raises ends the process. Raises as iterating over Confined does.
    """
    with Confined(task, limits, *arguments, **named) as work:
        for item in work:
            on_item(item)
        return work.result


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    return {"PYTHONPATH": root, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}


def _as_error(told: dict[str, str], limits: Limits) -> AvatarError:
    """The error that the other process told of."""
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
