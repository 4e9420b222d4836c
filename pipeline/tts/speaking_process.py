"""Runs a voice's library in a process of its own, if it holds Python's interpreter lock or may crash.

The library of `pico` computes for 20 to 70 ms per sentence without releasing the lock. The event loop would stand still
meanwhile, and everybody's sound would have a gap. It is also old C code that gets any text people type. In a separate
process neither does harm. The process reads one order per line, answers them in turn, and ends when its input closes.
"""

from __future__ import annotations

import json
import logging
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final

from pipeline.child_process import end_child, start_child
from pipeline.errors import SpeechError

__all__ = ["SpeakingProcess", "serve"]

logger = logging.getLogger(__name__)

HEADER: Final = struct.Struct(">cI")
"Precedes each answer: its kind, and its length in bytes."
SOUND, FAILURE = b"S", b"F"
MAX_ANSWER_BYTES: Final = 32 * 2**20
"""Limit for the answer to a sentence: about ten minutes of sound. More is a fault."""
PATIENCE_S: Final = 20.0


class SpeakingProcess:
    """One process, started when it is first needed, and again if it died. Its methods block, so call them in threads.

    Orders of several threads are served one after another.
    """

    def __init__(self, name: str, module: str, patience_s: float = PATIENCE_S) -> None:
        """
        name: name of the voice, for messages.
        module: module to run with `python -m`; it calls serve().
        patience_s: longest time for a sentence before the process is killed.
        """
        self._name = name
        self._module = module
        self._patience_s = patience_s
        self._one = threading.Lock()  # held while an order is served
        self._changing = threading.Lock()  # held briefly while the process is started or closed
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def speak(self, text: str, voice: str, speed: float = 1.0) -> bytes:
        """Return the library's answer for a text. Raises SpeechError if it fails, dies or takes too long.

        speed: relative to the normal speed.
        """
        with self._one:
            process = self._running()
            overdue = threading.Timer(self._patience_s, process.kill)
            overdue.daemon = True
            overdue.start()
            try:
                return self._answer(process, {"text": text, "voice": voice, "speed": speed})
            finally:
                overdue.cancel()

    def close(self) -> None:
        """End the process, even while it is busy. Idempotent."""
        with self._changing:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            end_child(process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._closed:
                raise SpeechError(f"The voice '{self._name}' has been closed.", "Start a new session.")
            if self._process is None or self._process.poll() is not None:
                self._process = start_child(self._module)
            return self._process

    def _answer(self, process: subprocess.Popen[bytes], order: dict[str, object]) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        kind, content = b"", b""
        with suppress(OSError, ValueError):  # it died or was closed meanwhile, so there is no answer
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            header = process.stdout.read(HEADER.size)
            kind, length = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0)
            content = process.stdout.read(length) if length <= MAX_ANSWER_BYTES else b""
            kind = kind if len(content) == length else b""
        if kind == SOUND:
            return content
        if kind == FAILURE:
            logger.info("%s cannot read a sentence: %s", self._name, content.decode("utf-8", "replace")[:300])
        else:
            end_child(process)
            logger.warning("The process of the voice %s died, or took too long.", self._name)
        raise SpeechError(f"The voice '{self._name}' cannot read this sentence.", "Put it in other words.")


def serve(speak: Callable[[str, str, float], bytes], orders: BinaryIO, answers: BinaryIO) -> None:
    """Runs in the process: answer each order with what speak(text, voice, speed) returns, until the input ends."""
    for line in orders:
        order = json.loads(line)
        try:
            kind, content = SOUND, speak(order["text"], order["voice"], order["speed"])
        except Exception as error:  # noqa: BLE001 - told to the one who asked; the next sentence may be fine
            kind, content = FAILURE, f"{type(error).__name__}: {error}".encode()
        answers.write(HEADER.pack(kind, len(content)) + content)
        answers.flush()
