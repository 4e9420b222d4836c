"""What the stages of a preparation hand to each other, and where each keeps it in the working directory.

    Source   of read_source/: source.json; a photo (PhotoFile) or a clip (FrameFile); what a foreign avatar came with
    Found    of find_faces/: report.json and its strip; picture.npy, landmarks.npy, closed.npy, alpha.npy of a still, or
             track.npz
    Loop     of make_loop/: loop.npz, mouths.npz, poster.jpg, preview.mp4, and the frames and mattes.bin of a still
    mattes   of cut_out/: mattes.bin of a clip, if they were asked for

A stage's directory is its checkpoint: `workspace.stage_output` lets it appear whole or not at all, and a stage whose
directory is there does nothing. That holds in a job and on the command line alike. The job queue notes finished steps
as well; for a stage that spares the call and no more.

Names of files are known here and in `workspace` only. They stay: a preparation that an older version has begun goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from avatars.mattes import Mattes
from avatars.mouth_look import MouthLook, look_of
from avatars.real_mouths import NOT_LOOKED_AT, RealMouths
from avatars.records import Agreement, FaceReportRecord, SourceRecord
from avatars.workspace import ForeignFiles, FrameFile, PhotoFile, read_json, write_json
from models.arrays import FloatArray, ImageArray, IntArray

__all__ = [
    "CUT_OUT",
    "FIND_FACES",
    "MAKE_LOOP",
    "READ_SOURCE",
    "STAGES",
    "WRITE",
    "ClipFace",
    "Found",
    "Loop",
    "Source",
    "StillFace",
    "load_mattes",
    "load_mouths",
    "poster_file",
    "preview_file",
    "save_mattes",
    "save_mouths",
]


READ_SOURCE: Final = "read_source"
FIND_FACES: Final = "find_faces"
MAKE_LOOP: Final = "make_loop"
CUT_OUT: Final = "cut_out"
WRITE: Final = "write"
STAGES: Final = (READ_SOURCE, FIND_FACES, MAKE_LOOP, CUT_OUT, WRITE)

_SOURCE: Final = "source.json"
_REPORT: Final = "report.json"
_AGREEMENT: Final = "agreement.json"
_PICTURE: Final = "picture.npy"
_CLOSED: Final = "closed.npy"
_LANDMARKS: Final = "landmarks.npy"
_TRACK: Final = "track.npz"
_LOOP: Final = "loop.npz"
_MOUTHS: Final = "mouths.npz"
_MATTES: Final = "mattes.bin"
_ALPHA: Final = "alpha.npy"


@dataclass(frozen=True, slots=True)
class Source:
    """A decoded upload. Its pictures stay in their file: those of a clip do not fit into memory."""

    avatar_id: str
    name: str
    "as the person calls the avatar"
    kind: str
    "still or clip"
    side_px: int
    "longer side of the avatar's picture at most"
    facts: SourceRecord
    "where it came from, as the manifest keeps it"
    frame_count: int
    "of a clip; 1 of a still"
    pictures: PhotoFile | FrameFile
    "a photo for a still, frames at 25 a second for a clip"
    foreign: ForeignFiles
    "what an avatar of another project came with; empty for any other upload"
    mouth_look: MouthLook | None = None
    "of a drawn character that brings its own"
    cutout: bool = False
    "whether the person is to be cut out of the pictures of a clip"

    @property
    def crops_of(self) -> str | None:
        """The lip-sync backend whose crops a foreign avatar's boxes are; None where there are none."""
        imported = self.facts.get("imported")
        return None if imported is None else imported.get("crops_of")

    def save(self, directory: Path) -> None:
        """All but the pictures, which are there already."""
        known = {
            "id": self.avatar_id,
            "name": self.name,
            "side_px": self.side_px,
            "kind": self.kind,
            "cutout": self.cutout,
        }
        look = {} if self.mouth_look is None else {"mouth_look": self.mouth_look.to_json()}
        write_json(directory / _SOURCE, {**known, **look, "frames": self.frame_count, "source": dict(self.facts)})

    @classmethod
    def load(cls, work: Path) -> Source:
        """Raises AvatarError: damaged."""
        directory = work / READ_SOURCE
        known = read_json(directory / _SOURCE)
        return cls(
            avatar_id=known["id"],
            name=known["name"],
            kind=known["kind"],
            side_px=known["side_px"],
            facts=known["source"],
            frame_count=known.get("frames", 1),
            pictures=PhotoFile(directory) if known["kind"] == "still" else FrameFile(directory),
            foreign=ForeignFiles(directory),
            mouth_look=look_of(known),
            cutout=known.get("cutout", False),  # versions before 2026-11-30 noted nothing
        )


@dataclass(frozen=True, slots=True, eq=False)
class StillFace:
    """The face in a photo, in the picture that is made of it."""

    picture: ImageArray
    "uint8 RGB (h, w, 3): what of the photo is used, at the size of the avatar"
    landmarks: FloatArray
    "(478, 3) float32 px of that picture"
    closed: ImageArray | None
    "the same picture with closed eyes, where there is one"
    alpha: ImageArray | None = None
    "uint8 (h, w), where the photo has transparent parts; in `picture` they are white"


@dataclass(frozen=True, slots=True, eq=False)
class ClipFace:
    """The face in a clip of n frames."""

    landmarks: FloatArray
    "(n, 478, 3) float32 px; NaN where there is none"
    first: int
    stop: int
    "the stretch [first, stop) that can be used"
    shown: npt.NDArray[np.int64]
    "(n,) the frame that is shown in the place of each: itself, or the last one before a frame that belongs elsewhere"


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen in an upload, whether it can be used or not."""

    report: FaceReportRecord
    "FaceReport.to_json()"
    strip: tuple[bytes, ...]
    "JPEGs of the report's strip, in its order"
    face: StillFace | ClipFace | None
    "None for a photo without a face that can be used"
    agreement: Agreement | None
    "how well the boxes of a foreign avatar and ours agree; None for any other upload"

    def save(self, directory: Path) -> None:
        write_json(directory / _REPORT, self.report)
        for entry, jpeg in zip(self.report["strip"], self.strip, strict=True):
            (directory / entry["file"]).write_bytes(jpeg)
        if self.agreement is not None:
            write_json(directory / _AGREEMENT, self.agreement)
        if isinstance(self.face, StillFace):
            np.save(directory / _PICTURE, self.face.picture)
            np.save(directory / _LANDMARKS, self.face.landmarks[None])
            if self.face.closed is not None:
                np.save(directory / _CLOSED, self.face.closed)
            if self.face.alpha is not None:
                np.save(directory / _ALPHA, self.face.alpha)
        elif self.face is not None:
            stretch = np.array([self.face.first, self.face.stop])
            np.savez(directory / _TRACK, landmarks=self.face.landmarks, stretch=stretch, shown=self.face.shown)

    @classmethod
    def load(cls, work: Path) -> Found:
        """Raises AvatarError: damaged."""
        directory = work / FIND_FACES
        report: FaceReportRecord = read_json(directory / _REPORT)
        compared = (directory / _AGREEMENT).exists()
        return cls(
            report=report,
            strip=tuple((directory / entry["file"]).read_bytes() for entry in report["strip"]),
            face=_load_face(directory),
            agreement=read_json(directory / _AGREEMENT) if compared else None,
        )


def _load_face(directory: Path) -> StillFace | ClipFace | None:
    if (directory / _PICTURE).exists():
        closed, alpha = directory / _CLOSED, directory / _ALPHA
        return StillFace(
            picture=np.load(directory / _PICTURE),
            landmarks=np.load(directory / _LANDMARKS)[0],
            closed=np.load(closed) if closed.exists() else None,
            alpha=np.load(alpha) if alpha.exists() else None,
        )
    if not (directory / _TRACK).exists():
        return None
    with np.load(directory / _TRACK) as track:
        landmarks = track["landmarks"]
        first, stop = track["stretch"].tolist()
        # A preparation that an older version has begun knows of no frames to be passed over.
        shown = track["shown"] if "shown" in track else np.arange(len(landmarks))
    return ClipFace(landmarks, first, stop, shown)


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """The loop of an avatar: n frames and the order in which they are played."""

    landmarks: FloatArray
    "(n, 478, 3) float32 px"
    boxes: IntArray
    "(n, 4) int32 x0, y0, x1, y1 of the mouth, all of one size"
    order: IntArray
    "(m,) int32 frames in playing order"
    first: int
    "the frame of the clip that is the loop's first; 0 of a still"
    width: int
    height: int
    frames: FrameFile
    "a still's own, or those of the whole clip"
    shown: npt.NDArray[np.int64]
    "(n,) where in that file each frame of the loop is"

    def jpegs(self, first: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The frames [first, stop) of the loop; None is the end."""
        return self.frames.at(self.shown[first:stop].tolist())

    def played(self) -> Iterator[bytes]:
        """The frames in playing order."""
        return self.frames.at(self.shown[self.order].tolist())

    def save(self, directory: Path) -> None:
        """All but the frames, which are there already, and what galleries show."""
        np.savez(
            directory / _LOOP,
            landmarks=self.landmarks,
            boxes=self.boxes,
            loop=self.order,
            stretch=np.array([self.first, self.first + len(self.landmarks)]),
            size=np.array([self.width, self.height]),
        )

    @classmethod
    def load(cls, work: Path, source: Source, found: Found) -> Loop:
        with np.load(work / MAKE_LOOP / _LOOP) as kept:
            first, stop = kept["stretch"].tolist()
            width, height = kept["size"].tolist()
            landmarks, boxes, order = kept["landmarks"], kept["boxes"], kept["loop"]
        if isinstance(found.face, ClipFace) and isinstance(source.pictures, FrameFile):
            frames, shown = source.pictures, found.face.shown[first:stop]
        else:
            frames, shown = FrameFile(work / MAKE_LOOP), np.arange(len(landmarks))
        return cls(landmarks, boxes, order, first, width, height, frames, shown)


def save_mouths(directory: Path, mouths: RealMouths) -> None:
    """Into the directory of make_loop."""
    np.savez(directory / _MOUTHS, why_not=np.array(mouths.why_not), exemplars=mouths.exemplars, skin=mouths.skin)


def load_mouths(work: Path) -> RealMouths:
    """A preparation that an older version has begun has none, which is no fault."""
    file = work / MAKE_LOOP / _MOUTHS
    if not file.exists():
        return RealMouths.none(NOT_LOOKED_AT)
    with np.load(file) as kept:
        return RealMouths(str(kept["why_not"]), kept["exemplars"], kept["skin"])


def save_mattes(directory: Path, mattes: Mattes | None, order: IntArray) -> None:
    """Into the directory of a stage, where there are any; `order` in which the frames are played."""
    if mattes is not None:
        (directory / _MATTES).write_bytes(mattes.to_bytes(order))


def load_mattes(work: Path) -> bytes:
    """As the bundle keeps them. A preparation that an older version has begun has none, and many an avatar has none."""
    files = (work / stage / _MATTES for stage in (MAKE_LOOP, CUT_OUT))
    return next((file.read_bytes() for file in files if file.exists()), b"")


def poster_file(directory: Path) -> Path:
    """Where make_loop keeps the poster in its directory."""
    return directory / "poster.jpg"


def preview_file(directory: Path) -> Path:
    """Where make_loop keeps the moving preview in its directory."""
    return directory / "preview.mp4"
