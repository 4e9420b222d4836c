"""The process that opens an untrusted file: `python -m avatars.confined_child`, started by avatars.confined."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import BinaryIO, NoReturn

from avatars.confined import DATA, FAILURE, HEADER, ITEM, RESULT, Limits
from avatars.errors import AvatarError

__all__ = ["main"]

NICENESS = 10
OPENCV_NO_MEMORY = -4
"Code of OpenCV's error if it gets no memory."
MAX_OPEN_FILES = 64
MAX_MESSAGE_CHARACTERS = 4000


class _Answers:
    """Sends messages to the parent process, over the original standard output."""

    def __init__(self) -> None:
        self._pipe: BinaryIO = os.fdopen(os.dup(1), "wb")
        with Path(os.devnull).open("wb") as nowhere:  # output printed by libraries must not mix with our messages
            os.dup2(nowhere.fileno(), 1)

    def send(self, kind: bytes, content: bytes) -> None:
        """Send one message. content: at most MAX_MESSAGE_BYTES, or the parent takes this process for dead."""
        self._pipe.write(HEADER.pack(kind, len(content)) + content)
        self._pipe.flush()

    def emit(self, item: object) -> None:
        """Send an item: bytes as they are, anything else as JSON."""
        if isinstance(item, bytes):
            self.send(DATA, item)
        else:
            self.send(ITEM, json.dumps(item).encode())

    def fail(self, error: Exception) -> None:
        """Report an error, so that the parent can raise the same AvatarError."""
        kind = type(error).__name__
        told = {"kind": kind, "message": "".join(traceback.format_exception(error))[-MAX_MESSAGE_CHARACTERS:]}
        if isinstance(error, AvatarError):
            told |= {"message": error.message, "hint": error.hint, "cause": error.cause}
        elif isinstance(error, MemoryError) or getattr(error, "code", None) == OPENCV_NO_MEMORY:
            told["kind"] = "MemoryError"  # numpy and FFmpeg have subclasses of it, and OpenCV has its own error
        self.send(FAILURE, json.dumps(told).encode())


def _limit(wanted: Limits) -> None:
    if sys.platform == "win32":
        return
    import resource

    os.nice(max(0, NICENESS - os.nice(0)))  # live sessions come first
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: wanted.written_bytes,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    if sys.platform == "linux":
        # Everything that the task needs is loaded by now, so this much is left for the file itself.
        taken = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = taken + wanted.memory_bytes
    for one, value in limits.items():
        hardest = resource.getrlimit(one)[1]
        least = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
        resource.setrlimit(one, (least, least))
    # The timer ends the process by SIGPROF, which tells the parent the reason. In case the file makes the process catch
    # that, SIGXCPU follows a second later, and SIGKILL, which cannot be caught, after one more. The system counts these
    # two limits from the start of the process, in whole seconds.
    signal.setitimer(signal.ITIMER_PROF, wanted.cpu_s)
    hardest_s = resource.getrlimit(resource.RLIMIT_CPU)[1]
    max_s = math.ceil(time.process_time() + wanted.cpu_s) + 1
    if hardest_s == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_CPU, (max_s, max_s + 1))
    else:
        resource.setrlimit(resource.RLIMIT_CPU, (min(max_s, hardest_s), hardest_s))


def _leash() -> None:
    """End this process when its parent is gone, which closes the pipe at our standard input."""
    os.read(0, 1)
    os._exit(1)


def main() -> NoReturn:
    answers = _Answers()
    (length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    limits, task, arguments, named = pickle.loads(sys.stdin.buffer.read(length))  # noqa: S301 - our own parent wrote it
    threading.Thread(target=_leash, name="leash", daemon=True).start()
    _limit(limits)
    try:
        result = task(answers.emit, *arguments, **named)
    except BrokenPipeError:  # the parent does not wait for an answer any more
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - the border of the process: it is told on the other side
        answers.fail(error)
    else:
        answers.send(RESULT, json.dumps(result).encode())
    os._exit(0)  # skip clean-up: what was opened need not be closed in order


if __name__ == "__main__":
    main()
