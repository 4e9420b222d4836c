"""The process of a Push: takes frames from its input, codes them, and sends them to a streaming server.

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
from pipeline.types import FPS, SAMPLES_PER_PICTURE

__all__ = ["HEADER", "LIVE", "serve"]

LIVE: Final = b"live\n"
HEADER: Final = struct.Struct("<q?")
"""Before each frame: its number, and whether its picture is there. Then its sound (float32), then its picture (RGB)."""
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
            _tell(answers, LIVE)
            while len(header := frames.read(HEADER.size)) == HEADER.size:
                number, has_picture = HEADER.unpack(header)
                sound = np.frombuffer(frames.read(SOUND_BYTES), np.float32)
                picture = None
                if has_picture:
                    picture = np.frombuffer(frames.read(3 * width * height), np.uint8).reshape(height, width, 3)
                coded.write(picture, sound, number)
            coded.finish()
    except (FFmpegError, OSError) as error:
        _tell(answers, f"{error.strerror or error}\n".encode())
        return FLAWED
    return 0


def _tell(answers: BinaryIO, line: bytes) -> None:
    answers.write(line)
    answers.flush()


if __name__ == "__main__":
    # Without the end of the interpreter: closing a broken connection a second time may wait for the server.
    os._exit(serve(sys.stdin.buffer, sys.stdout.buffer))
