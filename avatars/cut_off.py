"""Finds out whether a file was cut off, for formats in which FFmpeg does not report it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from avatars.signatures import first_bytes

__all__ = ["lacks_last_page", "matroska_share", "tells_frames", "wav_share"]

SEGMENT: Final = b"\x18\x53\x80\x67"
"Id of the element that contains everything in a Matroska or WebM file except the first element."
TAIL_BYTES: Final = 70_000
"More than the largest page of Ogg."
PAGE_HEAD_BYTES: Final = 27
LAST_PAGE: Final = 4
"Flag of the last page of a stream."


def matroska_share(path: Path) -> float:
    """Return the fraction of a Matroska or WebM file that is present; 1.0 also if its header gives no size."""
    head = first_bytes(path)
    begin = head.find(SEGMENT) + len(SEGMENT)
    if begin < len(SEGMENT) or begin >= len(head) or not head[begin]:
        return 1.0
    length = 9 - head[begin].bit_length()  # the first set bit gives the length of the size field in bytes
    size = int.from_bytes(head[begin : begin + length], "big") & ((1 << 7 * length) - 1)
    there, told = path.stat().st_size, begin + length + size
    is_unknown = size == (1 << 7 * length) - 1  # recorders write this while the length is not known
    return 1.0 if is_unknown or not told else min(1.0, there / told)


def wav_share(path: Path) -> float:
    """Return the fraction of a WAV file's sound that is present; 1.0 also if its header gives no size."""
    head = first_bytes(path)
    begin = head.find(b"data") + 8
    there, told = path.stat().st_size - begin, int.from_bytes(head[begin - 4 : begin], "little")
    return there / told if 7 < begin <= len(head) and told > there > 0 else 1.0


def lacks_last_page(path: Path) -> bool:
    """Whether an Ogg file ends midway: its last page is not marked as the last, or is incomplete."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES), os.SEEK_SET)
        tail = file.read(TAIL_BYTES)
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < PAGE_HEAD_BYTES or not page.startswith(b"OggS"):
        return True
    lengths = page[PAGE_HEAD_BYTES : PAGE_HEAD_BYTES + page[26]]
    whole = PAGE_HEAD_BYTES + page[26] + sum(lengths)
    return not page[5] & LAST_PAGE or len(page) < whole


def tells_frames(path: Path) -> bool:
    """Whether an MP3 begins with a frame that gives the number of frames; otherwise its length is an estimate."""
    head = first_bytes(path, 10)
    begin = 0
    if head.startswith(b"ID3") and len(head) == 10:  # the tag's length has 7 bits in each byte
        begin = 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    with path.open("rb") as file:
        file.seek(begin)
        frame = file.read(256)
    return b"Xing" in frame or b"Info" in frame
