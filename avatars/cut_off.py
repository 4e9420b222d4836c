"""Whether a file ends before its end, in forms of which FFmpeg does not say so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from avatars.signatures import first_bytes

__all__ = ["lacks_last_page", "matroska_share", "tells_frames", "wav_share"]

SEGMENT: Final = b"\x18\x53\x80\x67"
"id of the element of a Matroska or WebM file that all but its first element lie in"
TAIL_BYTES: Final = 70_000
"more than the largest page of Ogg"
PAGE_HEAD_BYTES: Final = 27
LAST_PAGE: Final = 4
"flag of the last page of a stream"


def matroska_share(path: Path) -> float:
    """The part of a Matroska or WebM file that is there, 1.0 also where its header does not tell its size."""
    head = first_bytes(path)
    begin = head.find(SEGMENT) + len(SEGMENT)
    if begin < len(SEGMENT) or begin >= len(head) or not head[begin]:
        return 1.0
    length = 9 - head[begin].bit_length()  # of the size, whose first bit that is set tells it
    size = int.from_bytes(head[begin : begin + length], "big") & ((1 << 7 * length) - 1)
    there, told = path.stat().st_size, begin + length + size
    is_unknown = size == (1 << 7 * length) - 1  # of what is written while it is recorded
    return 1.0 if is_unknown or not told else min(1.0, there / told)


def wav_share(path: Path) -> float:
    """The part of a WAV file's sound that is there, 1.0 also where its header does not tell."""
    head = first_bytes(path)
    begin = head.find(b"data") + 8
    there, told = path.stat().st_size - begin, int.from_bytes(head[begin - 4 : begin], "little")
    return there / told if 7 < begin <= len(head) and told > there > 0 else 1.0


def lacks_last_page(path: Path) -> bool:
    """Whether an Ogg file ends in mid-stream: its last page is not marked as the last, or is not there as a whole."""
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
    """Whether an MP3 begins with a frame that tells how many there are; else its length is an estimate."""
    head = first_bytes(path, 10)
    begin = 0
    if head.startswith(b"ID3") and len(head) == 10:  # 7 bits of each byte are the length of the tag
        begin = 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    with path.open("rb") as file:
        file.seek(begin)
        frame = file.read(256)
    return b"Xing" in frame or b"Info" in frame
