"""The process of a Push by RTMP: takes frames from its input, encodes them, and sends them to a streaming server.

It is a process of its own for two reasons: FFmpeg may hold Python's interpreter lock while it connects, and a server
that reads slowly would hold up everybody else. Its input is one line of JSON ({address, width, height}), followed by
frames until the input closes. It answers LIVE once the server has accepted the connection. If something goes wrong, it
answers with a line made by tell_trouble().
"""

from __future__ import annotations

import errno
import json
import os
import struct
import sys
from typing import BinaryIO, Final

import av
import numpy as np
from av.error import FFmpegError

from pipeline.coded_frames import LIVE_AAC, CodedFrames, Coding
from pipeline.transports.encoders import i420, tag_bt601
from pipeline.types import FPS, SAMPLES_PER_PICTURE, FloatArray, ImageArray

__all__ = ["FLAWED", "HEADER", "LIVE", "TROUBLES", "read_frame", "serve", "tell", "tell_trouble"]

LIVE: Final = b"live\n"
TROUBLES: Final = ("unreachable", "refused", "no_media", "silent", "lost", "camera", "damaged", "failed")
"""Codes of what may go wrong with a stream, for programs and for pages that have their own texts."""
UNREACHABLE: Final = frozenset(
    # FFmpeg reports a host name that cannot be resolved as EIO.
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EIO}
)
HEADER: Final = struct.Struct("<q")
"""Precedes each frame: its number. The sound (float32) and the picture (RGB) follow."""
SOUND_BYTES: Final = 4 * SAMPLES_PER_PICTURE
CODING: Final = Coding(
    i420,
    tag_bt601,
    {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "main",
        "crf": "23",
        "x264-params": "aq-mode=0",  # adaptive quantization takes time, and does not show on a portrait
        "maxrate": "4M",
        "bufsize": "4M",
        "g": str(2 * FPS),  # platforms want a key frame every 2 to 4 s
        "threads": "1",
    },
    sound_encoder=LIVE_AAC,
)
FLAWED: Final = 1


def serve(frames: BinaryIO, answers: BinaryIO) -> int:
    """Stream until the input ends. Returns the exit status."""
    order = json.loads(frames.readline())
    width, height = order["width"], order["height"]
    is_live = False
    try:
        with av.open(order["address"], "w", format="flv") as file:
            coded = CodedFrames(file, width, height, CODING)
            file.start_encoding()  # connects
            tell(answers, LIVE)
            is_live = True
            while (frame := read_frame(frames, width, height)) is not None:
                number, sound, picture = frame
                coded.write(picture, sound, number)
            coded.finish()
    except (FFmpegError, OSError) as error:
        before = "unreachable" if error.errno in UNREACHABLE else "refused"
        tell_trouble(answers, "lost" if is_live else before, str(error.strerror or error))
        return FLAWED
    return 0


def read_frame(frames: BinaryIO, width: int, height: int) -> tuple[int, FloatArray, ImageArray] | None:
    """Wait for the next frame. Returns its number, sound and picture; None if there are no more."""
    header = frames.read(HEADER.size)
    sound = frames.read(SOUND_BYTES)
    picture = frames.read(3 * width * height)
    if len(picture) < 3 * width * height:
        return None
    (number,) = HEADER.unpack(header)
    return number, np.frombuffer(sound, np.float32), np.frombuffer(picture, np.uint8).reshape(height, width, 3)


def tell(answers: BinaryIO, line: bytes) -> None:
    """Send a line to the process that started this one."""
    answers.write(line)
    answers.flush()


def tell_trouble(answers: BinaryIO, code: str, words: str) -> None:
    """Report why there is no stream. code: one of TROUBLES. words: for people; several lines are joined into one."""
    tell(answers, f"{code} {' '.join(words.split())}\n".encode())


if __name__ == "__main__":
    # Skip the interpreter's shutdown: it would close a broken connection again, which may wait for the server.
    os._exit(serve(sys.stdin.buffer, sys.stdout.buffer))
