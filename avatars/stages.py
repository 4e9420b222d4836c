"""What the stages of a preparation hand to each other, and which files of the working directory hold it.

    Source   by read_source(): source.json; a photo (PhotoFile) or a clip (FrameFile); extra files of a foreign avatar
    Found    by find_faces(): report.json and its strip; for a still picture.npy, landmarks.npy, closed.npy, alpha.npy;
             for a clip track.npz
    Loop     by make_loop(): loop.npz, mouths.npz, poster.jpg, preview.mp4; for a still also its frames and mattes.bin
    mattes   by cut_out(): mattes.bin of a clip, if the upload asked for them

A stage's directory is its checkpoint. `workspace.stage_output` makes it appear whole or not at all, and a stage whose
directory exists does nothing. This holds in a job and on the command line alike. The job queue also notes finished
steps, but that only saves it the call.

File names are known here and in `workspace` only. They must not change, because a preparation that an older version
started is continued by a newer one.
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
    """A decoded upload. Its pictures stay on disk: those of a clip do not fit into memory."""

    avatar_id: str
    name: str
    "the name that its owner gave the avatar"
    kind: str
    "still or clip"
    side_px: int
    "upper limit for the longer side of the avatar's picture"
    facts: SourceRecord
    "origin of the upload, as the manifest keeps it"
    frame_count: int
    "number of frames of a clip; 1 for a still"
    pictures: PhotoFile | FrameFile
    "a photo for a still, frames at 25 a second for a clip"
    foreign: ForeignFiles
    "extra files of a foreign avatar; empty for any other upload"
    mouth_look: MouthLook | None = None
    "mouth colours of a drawn character that brings its own"
    cutout: bool = False
    "whether to cut the person out of a clip's pictures"

    @property
    def crops_of(self) -> str | None:
        """The lip-sync backend for which a foreign avatar's boxes were made; None if it has no such boxes."""
        imported = self.facts.get("imported")
        return None if imported is None else imported.get("crops_of")

    def save(self, directory: Path) -> None:
        """Write source.json. The pictures are in the directory already."""
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
        """Read it back from a working directory. Raises AvatarError if it is damaged."""
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
            cutout=known.get("cutout", False),  # versions before 2026-11-30 did not write it
        )


@dataclass(frozen=True, slots=True, eq=False)
class StillFace:
    """The face in a photo, and the picture made from that photo."""

    picture: ImageArray
    "uint8 RGB (h, w, 3): the used part of the photo, at the avatar's size"
    landmarks: FloatArray
    "(478, 3) float32 px of that picture"
    closed: ImageArray | None
    "the same picture with closed eyes, if there is one"
    alpha: ImageArray | None = None
    "uint8 (h, w), if the photo has transparent parts; they are white in `picture`"


@dataclass(frozen=True, slots=True, eq=False)
class ClipFace:
    """The face in a clip of n frames."""

    landmarks: FloatArray
    "(n, 478, 3) float32 px; NaN in frames without a face"
    first: int
    stop: int
    "[first, stop) is the usable stretch"
    shown: npt.NDArray[np.int64]
    "(n,) which frame is shown in each place: that frame, or the last one before it if it belongs to another scene"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of looking for a face in an upload, usable or not."""

    report: FaceReportRecord
    "FaceReport.to_json()"
    strip: tuple[bytes, ...]
    "JPEGs of the report's strip, in its order"
    face: StillFace | ClipFace | None
    "None for a photo without a usable face"
    agreement: Agreement | None
    "how well a foreign avatar's boxes agree with ours; None for any other upload"

    def save(self, directory: Path) -> None:
        """Write the result into the stage's directory."""
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
        """Read it back from a working directory. Raises AvatarError if it is damaged."""
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
        # A preparation started by an older version has no `shown`: every frame stands for itself.
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
    "number of the loop's first frame in the clip; 0 for a still"
    width: int
    height: int
    frames: FrameFile
    "a still's own frames, or those of the whole clip"
    shown: npt.NDArray[np.int64]
    "(n,) index in `frames` of each frame of the loop"

    def jpegs(self, first: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the frames [first, stop) of the loop; stop None means up to the end."""
        return self.frames.at(self.shown[first:stop].tolist())

    def played(self) -> Iterator[bytes]:
        """Give the frames in playing order."""
        return self.frames.at(self.shown[self.order].tolist())

    def save(self, directory: Path) -> None:
        """Write loop.npz. The frames and the pictures for galleries are written separately."""
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
        """Read it back from a working directory."""
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
    """Write them into the directory of make_loop."""
    np.savez(directory / _MOUTHS, why_not=np.array(mouths.why_not), exemplars=mouths.exemplars, skin=mouths.skin)


def load_mouths(work: Path) -> RealMouths:
    """Read them back. A preparation started by an older version has no such file, which is not an error."""
    file = work / MAKE_LOOP / _MOUTHS
    if not file.exists():
        return RealMouths.none(NOT_LOOKED_AT)
    with np.load(file) as kept:
        return RealMouths(str(kept["why_not"]), kept["exemplars"], kept["skin"])


def save_mattes(directory: Path, mattes: Mattes | None, order: IntArray) -> None:
    """Write the mattes, if any, into a stage's directory. order: (m,) the frames in playing order."""
    if mattes is not None:
        (directory / _MATTES).write_bytes(mattes.to_bytes(order))


def load_mattes(work: Path) -> bytes:
    """Return the mattes as the bundle keeps them; b"" if the preparation made none, as older versions did."""
    files = (work / stage / _MATTES for stage in (MAKE_LOOP, CUT_OUT))
    return next((file.read_bytes() for file in files if file.exists()), b"")


def poster_file(directory: Path) -> Path:
    """Path of the poster in the directory of make_loop."""
    return directory / "poster.jpg"


def preview_file(directory: Path) -> Path:
    """Path of the moving preview in the directory of make_loop."""
    return directory / "preview.mp4"
