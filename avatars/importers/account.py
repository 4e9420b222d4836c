"""Reports on an import: how well the project's boxes agree with the faces found, and what was not taken over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from avatars.face_formats import FACE_FORMATS
from avatars.records import Agreement, ImportRecord, SourceRecord
from avatars.stages import Source
from models.arrays import FloatArray

__all__ = [
    "AGREES",
    "compare_with_foreign",
    "import_words",
    "source_with_agreement",
]


AGREES: Final = 0.5
"""From this overlap on, two boxes count as the same face. A crop from brow to chin and a box of the whole face overlap
by about 0.7."""


def compare_with_foreign(source: Source, landmarks: FloatArray, usable: Sequence[bool]) -> Agreement | None:
    """Compare the project's boxes with the faces found; None if the source is not an import.

    Boxes that are a network's crops are compared with the crops that we would cut for that network.
    landmarks: (n, 478, 3) in pixels of the pictures written by read_import(). usable: (n,) pictures with a usable face.
    """
    theirs = source.foreign.boxes()
    if theirs is None:
        return None
    both = np.asarray(usable) & np.isfinite(theirs).all(axis=1)
    overlaps = overlap(theirs[both], _our_boxes(landmarks[both], source.crops_of))
    median = round(float(np.median(overlaps)), 3) if len(overlaps) else None
    return {"compared": len(overlaps), "median_iou": median}


def _our_boxes(landmarks: FloatArray, crops_of: str | None) -> FloatArray:
    known = FACE_FORMATS.get(crops_of or "")
    if known is not None and not known.whole_face:
        no_size = (0, 0)  # the rules for such boxes ignore the picture's size
        return known.boxes(landmarks, no_size, known.defaults).astype(np.float32)
    points = landmarks[:, :, :2]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def overlap(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the intersection over union (n,) of boxes (n, 4) and (n, 4), each x0, y0, x1, y1."""
    inner = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.clip(inner, 0, None).prod(axis=1)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1)
    return np.asarray(shared / (areas - shared), np.float32)


def source_with_agreement(
    facts: SourceRecord, agreement: Agreement | None, *, crops_kept: bool, masks_kept: bool
) -> SourceRecord:
    """Return the source facts for the manifest. For an import, the agreement is added, and whether the project's crops
    and masks are kept.
    """
    if agreement is None:
        return facts
    imported: ImportRecord = {
        **facts["imported"],
        **agreement,
        "crops_kept": crops_kept,
        "masks_kept": masks_kept,
    }
    return {**facts, "imported": imported}


def import_words(imported: ImportRecord) -> list[str]:
    """Describe an import to a person, in English."""
    project, pictures = imported["from"], imported["pictures"]
    words = [f"Imported from {project}: {pictures} pictures."]
    if imported["doubled"]:
        words.append("Its cycle was stored forward and back again; each picture was taken once.")
    if imported.get("ignored"):
        words.append(f"{imported['ignored']} more in the same folder were left out: no box belongs to them.")
    if imported["used"] < pictures:
        words.append(f"Only the first {imported['used']} pictures are used.")
    if imported["faceless"]:
        words.append(
            f"{project} had seen no face in {imported['faceless']} of them; the face report shows what we saw."
        )
    if imported["median_iou"] is None:
        words.append("Its boxes could not be compared with the faces found.")
    else:
        share, compared = imported["median_iou"], imported["compared"]
        verdict = "agree" if share >= AGREES else "do NOT agree: look at the face report"
        words.append(f"Its face boxes and ours {verdict} (median overlap {share:.2f} over {compared} pictures).")
    if imported.get("masks_kept"):
        words.append("Its masks were kept. Its latents were not: backends make their own from the pictures.")
    else:
        words.append("Its masks and latents were not taken over: backends make their own from the pictures.")
    if crops_of := imported.get("crops_of"):
        kept = f"Its own boxes were kept for {crops_of}."
        left = f"For {crops_of} our boxes are used: its own are not certain to fit every picture that is used."
        words.append(kept if imported["crops_kept"] else left)
    return words + [f"Its own network for {backend} was taken over." for backend in imported.get("networks", ())]
