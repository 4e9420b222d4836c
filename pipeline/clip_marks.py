"""Marks in a clip's metadata that tell programs that AI made it, and with what."""

from __future__ import annotations

import json
from typing import Final

from pipeline.types import ImageArray

__all__ = ["PRODUCER", "SOURCE_TYPE", "clip_marks", "with_frame_mark"]

PRODUCER: Final = "Vivavoce"
SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photo, clip or drawing combined with what trained networks made: here the voice and the mouth."""


def clip_marks(clip: str, title: str) -> dict[str, str]:
    """Return the metadata: the key of China's GB 45438-2025, IPTC's kind of source, and a comment for all others.

    clip: unique id of the clip. title: left out if it is empty.
    """
    aigc = {
        "Label": "1",  # made by AI
        "ContentProducer": PRODUCER,
        "ProduceID": clip,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    told = {
        "comment": f"AI-generated: made with {PRODUCER}.",
        "AIGC": json.dumps(aigc),
        "DigitalSourceType": SOURCE_TYPE,
    }
    return {"title": title, **told} if title else told


def with_frame_mark(pixels: ImageArray) -> ImageArray:
    """Return a copy whose first row has even values only, like LiveTalking's pictures. uint8 (h, w, 3 or 4)."""
    marked = pixels.copy()
    marked[0, :, :3] &= 0xFE
    return marked
