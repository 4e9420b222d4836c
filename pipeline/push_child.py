"""The process of a Push by RTMP: takes frames from its input, codes them, and sends them to a streaming server.

It is a process of its own because FFmpeg may hold Python's interpreter lock while it connects, and because a server
that reads slowly then holds up nobody else. Its input is one line of JSON ({address, width, height}) and then frames,
until the input closes. It answers with one line: LIVE once the server has taken the connection, or else what is wrong.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import BinaryIO, Final

import av
import numpy as np
from av.error import FFmpegError

from pipeline.coded_frames import CodedFrames, Coding
from pipeline.transports.encoders import i420, tag_bt601
from pipeline.types import FPS, SAMPLES_PER_PICTURE, FloatArray, ImageArray

__all__ = ["FLAWED", "HEADER", "LIVE", "read_frame", "serve", "tell"]

LIVE: Final = b"live\n"
HEADER: Final = struct.Struct("<q")
"""Before each frame: its number. Then its sound (float32), then its picture (RGB)."""
SOUND_BYTES: Final = 4 * SAMPLES_PER_PICTURE
CODING: Final = Coding(
    i420,
    tag_bt601,
    {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "main",
        "crf": "21",
        "maxrate": "4M",
        "bufsize": "4M",
        "g": str(2 * FPS),  # platforms want a key frame every 2 to 4 s
        "threads": "1",
    },
)
FLAWED: Final = 1


def serve(frames: BinaryIO, answers: BinaryIO) -> int:
    """Returns the exit status."""
    order = json.loads(frames.readline())
    width, height = order["width"], order["height"]
    try:
        with av.open(order["address"], "w", format="flv") as file:
            coded = CodedFrames(file, width, height, CODING)
            file.start_encoding()  # connects
            tell(answers, LIVE)
            while (frame := read_frame(frames, width, height)) is not None:
                number, sound, picture = frame
                coded.write(picture, sound, number)
            coded.finish()
    except (FFmpegError, OSError) as error:
        tell(answers, f"{error.strerror or error}\n".encode())
        return FLAWED
    return 0


def read_frame(frames: BinaryIO, width: int, height: int) -> tuple[int, FloatArray, ImageArray] | None:
    """Number, sound and picture of the next frame. Waits for it; None: there are no more."""
    header = frames.read(HEADER.size)
    sound = frames.read(SOUND_BYTES)
    picture = frames.read(3 * width * height)
    if len(picture) < 3 * width * height:
        return None
    (number,) = HEADER.unpack(header)
    return number, np.frombuffer(sound, np.float32), np.frombuffer(picture, np.uint8).reshape(height, width, 3)


def tell(answers: BinaryIO, line: bytes) -> None:
    """Answer who started this process."""
    answers.write(line)
    answers.flush()


if __name__ == "__main__":
    # Without the end of the interpreter: closing a broken connection a second time may wait for the server.
    os._exit(serve(sys.stdin.buffer, sys.stdout.buffer))
