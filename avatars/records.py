"""The JSON records of an avatar, in its manifest and in the working directory of its preparation."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = [
    "Agreement",
    "DecodedRecord",
    "FaceReportRecord",
    "ImportRecord",
    "Manifest",
    "MouthLookRecord",
    "MouthRecord",
    "SourceRecord",
    "StripRecord",
]


class StripRecord(TypedDict):
    """One picture of the face report's strip."""

    file: str
    frame: int
    status: str
    used: bool


class FaceReportRecord(TypedDict):
    """JSON of a FaceReport, which explains the fields. Reports by older versions lack the last two."""

    frames: int
    used: list[int]
    "first, stop"
    counts: dict[str, int]
    runs: list[list[str | int]]
    face_px: float
    words: list[str]
    strip: list[StripRecord]
    rest_gap_iod: NotRequired[float]
    concerns: NotRequired[list[str]]


class Agreement(TypedDict):
    """How well the boxes of a foreign avatar agree with the faces we found."""

    compared: int
    "number of pictures compared"
    median_iou: float | None


ImportRecord = TypedDict(
    "ImportRecord",
    {
        "from": str,
        "pictures": int,
        "used": int,
        "doubled": bool,
        "ignored": int,
        "crops_of": str | None,
        "faceless": int,
        "networks": list[str],
        "noted": dict[str, object],
        "compared": NotRequired[int],
        "median_iou": NotRequired[float | None],
        "crops_kept": NotRequired[bool],
        "masks_kept": NotRequired[bool],
    },
)
"""Origin of a foreign avatar: which project made it, and what of it was used. The agreement of its boxes is added after
its faces were found."""


class SourceRecord(TypedDict, total=False):
    """Where an avatar came from."""

    file: str
    consent: bool
    job: str
    preset: bool
    licence: str
    owner: str
    "name of the person who made it; missing or empty if nobody had logged in"
    names: dict[str, str]
    "for a preset: language -> name"
    format: str
    width: int
    height: int
    duration_s: float | None
    fps: float | None
    imported: ImportRecord
    prepared: str
    "ISO 8601, UTC"
    idle: bool
    "for a gesture: whether it is an idle clip"


class DecodedRecord(TypedDict):
    """What is known about an upload once it is decoded."""

    kind: str
    "still or clip"
    frames: int
    source: SourceRecord


class MouthRecord(TypedDict, total=False):
    """JSON of RealMouths, and of what was chosen afterwards."""

    version: int
    drawn: str
    "personal or painted: what the clip allows, whatever was chosen"
    why_not: str
    "why it is painted; empty for personal"
    painted_by_choice: bool
    "true: somebody chose painted mouths for an avatar that has real ones; missing until somebody chooses"


class MouthLookRecord(TypedDict):
    """JSON of MouthLook. Colours are RGB, 0 to 255."""

    enamel: list[int]
    gum: list[int]
    tongue: list[int]
    cavity: list[int]
    single_teeth: bool


class Manifest(TypedDict):
    """The manifest.json of the present version."""

    format: str
    version: int
    id: str
    name: str
    kind: str
    fps: int
    width: int
    height: int
    frames: int
    source: SourceRecord
    report: FaceReportRecord
    mouth: NotRequired[MouthRecord]
    mouth_look: NotRequired[MouthLookRecord]
    "for a drawn character that brings its own"
    shared: NotRequired[bool]
    "whether everybody may use it, not only its owner"
