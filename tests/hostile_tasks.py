"""Tasks for avatars.confined that behave like a decoder which an untrusted file has taken over."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from avatars.confined import Emit
from avatars.errors import BadImport


def echo(emit: Emit, *items: object) -> str:
    for item in items:
        emit(item)
    return "done"


def eat_memory_of_opencv(emit: Emit) -> None:
    """Like eat_memory(), but it is OpenCV that gets no more."""
    big = np.zeros((2000, 2000, 3), np.uint8)
    pictures = []
    while True:
        pictures.append(cv2.cvtColor(big, cv2.COLOR_RGB2BGR))


def eat_memory(emit: Emit) -> None:
    held: list[object] = []
    while True:
        held.append(bytearray(16 * 2**20))


def spin(emit: Emit) -> None:
    while True:
        pass


def spin_for_ever_after(emit: Emit) -> None:
    """Ignore the signals that end a process after its time, and run on."""
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    spin(emit)


def sleep_for_ever(emit: Emit) -> None:
    emit(os.getpid())
    while True:
        time.sleep(60)


def die(emit: Emit, signal: int) -> None:
    os.kill(os.getpid(), signal)


def write_much(emit: Emit, path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(100):
            file.write(bytes(2**20))


def open_many(emit: Emit, path: Path) -> None:
    held: list[object] = []
    while len(held) < 10_000:
        held.append(path.open("rb"))


def fail(emit: Emit, kind: str) -> None:
    if kind == "told":
        raise BadImport("It is no avatar.", "Use another one.")
    raise ZeroDivisionError("by nought")


def chatter(emit: Emit) -> str:
    """Print to standard output and error, as libraries do."""
    sys.stdout.write("to standard output")
    sys.stdout.flush()
    os.write(1, b"from C")
    sys.stderr.write("and errors")
    return "whole"


def forged(emit: Emit) -> None:
    """Send a message that claims to be longer than any may be, as a decoder that was taken over might."""
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, b"D\xff\xff\xff\xff" + bytes(100))
        except OSError:
            continue
    os._exit(0)


def environment(emit: Emit) -> list[str]:
    return sorted(os.environ)
