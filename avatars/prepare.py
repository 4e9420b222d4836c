"""From an upload to an avatar, in stages that may be killed at any moment and run again.

    read_source   decode the upload: a photo as pixels, a clip or a foreign avatar as JPEGs at 25 a second   -> Source
    find_faces    follow the face, choose the part to use, make the face report and its strip of pictures   -> Found
    make_loop     animate a still, play a clip there and back; boxes, real mouths, poster, preview          -> Loop
    cut_out       if the upload asks for it, find the person in each picture of a clip (stills: make_loop) -> mattes
    write         write the bundle into the library

`stages` says what they hand to each other and how it is stored. A stage whose result is in the working directory loads
it and does nothing else. `progress` is called with 0 to 1 within the stage. If it raises, the stage ends cleanly with
that exception: this is how a preparation is cancelled.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle, decode_jpeg, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.clip_mattes import mattes_of_clip
from avatars.confined import run_confined
from avatars.detect import FaceAnalyzer, MediaPipeFaceAnalyzer
from avatars.disk import disk_full_explained
from avatars.finding import find_in_clip, find_in_photo, refuse_if_unusable
from avatars.geometry import mouth_boxes, mouth_mask
from avatars.idle_life import idle_life
from avatars.importers.account import source_with_agreement
from avatars.importers.crops import kept_crops
from avatars.layers import Layers
from avatars.library import AvatarLibrary, Preset
from avatars.life import enliven
from avatars.matte import PersonFinder, matte_by_alpha, person_matte
from avatars.mattes import Mattes, MattesMaker, keep_cutout
from avatars.preview import encode_preview, make_poster
from avatars.real_mouths import STILL, RealMouths, find_real_mouths
from avatars.records import DecodedRecord
from avatars.source import Upload, decode_source, decoding_limits, with_progress
from avatars.stages import (
    CUT_OUT,
    FIND_FACES,
    MAKE_LOOP,
    READ_SOURCE,
    STAGES,
    WRITE,
    ClipFace,
    Found,
    Loop,
    Source,
    StillFace,
    load_mattes,
    load_mouths,
    poster_file,
    preview_file,
    save_mattes,
    save_mouths,
)
from avatars.tracking import ping_pong, smooth
from avatars.workspace import ForeignFiles, FrameFile, PhotoFile, stage_output
from models.arrays import FloatArray, ImageArray

__all__ = [
    "STAGES",
    "AnalyzerFactory",
    "Progress",
    "Upload",
    "cut_out",
    "find_faces",
    "make_loop",
    "prepare_avatar",
    "prepare_preset",
    "preset_upload",
    "read_source",
    "report_strip",
    "write",
]

Progress = Callable[[float], None]
AnalyzerFactory = Callable[[bool], FaceAnalyzer]
"Called with True for a clip's pictures in their order, with False for a photo."

PRESET_SIDE_PX = 512
"The drawn portraits look best at this size, and a computer without a GPU can serve it to several viewers."
BOX_SIGMA = 2.0
UPPER_LIDS, LOWER_LIDS = (159, 386), (145, 374)
"Landmarks in the middle of the lids: the poster is the picture with the widest eyes."


def read_source(upload: Upload, work: Path, progress: Progress) -> Source:
    """Decode the upload into the working directory, in a confined process.

    Raises BadMedia, BadImport, DiskFull.
    """
    if not (work / READ_SOURCE).exists():
        with stage_output(work, READ_SOURCE) as output:
            facts = run_confined(decode_source, decoding_limits(upload.path), progress, upload, output)
            _source_of(upload, facts, output).save(output)
        progress(1.0)
    return Source.load(work)


def find_faces(work: Path, progress: Progress, analyzers: AnalyzerFactory | None = None) -> Found:
    """Find and follow the face.

    Raises FaceNotFound if no face can be used. The report and its pictures are kept even then (report_strip).
    """
    there = (work / FIND_FACES).exists()
    if not there:
        source = Source.load(work)
        with (
            closing((analyzers or _mediapipe)(source.kind == "clip")) as analyzer,
            stage_output(work, FIND_FACES) as output,
        ):
            if isinstance(source.pictures, PhotoFile):
                find_in_photo(source, source.pictures, analyzer).save(output)
            else:
                find_in_clip(source, source.pictures, analyzer, progress).save(output)
    found = Found.load(work)
    refuse_if_unusable(found.report)
    if not there:
        progress(1.0)
    return found


def make_loop(work: Path, progress: Progress) -> Loop:
    """Make the pictures and boxes of the loop, the poster and the preview; choose the real mouths of a clip."""
    source, found = Source.load(work), Found.load(work)
    if not (work / MAKE_LOOP).exists():
        with stage_output(work, MAKE_LOOP) as output:
            loop, mattes = _loop_of(source, found, output, progress)
            loop.save(output)
            save_mattes(output, mattes, loop.order)
            save_mouths(output, _real_mouths(source, loop, progress))
            poster_file(output).write_bytes(make_poster(decode_jpeg(_most_awake(loop))))
            encode_preview(map(decode_jpeg, loop.played()), preview_file(output))
        progress(1.0)
    return Loop.load(work, source, found)


def cut_out(work: Path, progress: Progress) -> None:
    """Find the person in each picture of a clip's loop, if the upload asked for it. For a still, make_loop does this.

    Raises AvatarError if the network's file is damaged.
    """
    source, found = Source.load(work), Found.load(work)
    if source.kind == "clip" and source.cutout and not (work / CUT_OUT).exists():
        loop = Loop.load(work, source, found)

        def pictures(frames: Sequence[int]) -> Iterator[ImageArray]:
            return map(decode_jpeg, loop.frames.at(loop.shown[frames].tolist()))

        with stage_output(work, CUT_OUT) as output:
            mattes = mattes_of_clip(pictures, loop.landmarks, PersonFinder().matte, progress)
            save_mattes(output, mattes, loop.order)
    progress(1.0)


def write(work: Path, library: AvatarLibrary, progress: Progress) -> str:
    """Write the bundle into the library; return its id.

    Raises DiskFull, BundleError.
    """
    source, found = Source.load(work), Found.load(work)
    loop = Loop.load(work, source, found)
    x0, y0, x1, y1 = loop.boxes[0].tolist()
    crops, mouths = kept_crops(source, found, loop), load_mouths(work)
    contents = BundleContents(
        id=source.avatar_id,
        name=source.name,
        kind=source.kind,
        frames=with_progress(loop.jpegs(), len(loop.boxes), progress),
        width=loop.width,
        height=loop.height,
        boxes=loop.boxes,
        masks=mouth_mask(x1 - x0, y1 - y0)[None],
        landmarks=loop.landmarks,
        loop=loop.order,
        source=source_with_agreement(source.facts, found.agreement, crops_kept=bool(crops), masks_kept=len(crops) > 1),
        report=found.report,
        mouth=mouths.to_json(),
        mouth_look=source.mouth_look,
        tensors={**crops, **mouths.tensors()},
        poster=poster_file(work / MAKE_LOOP).read_bytes(),
        preview=preview_file(work / MAKE_LOOP),
        mattes=load_mattes(work),
        networks=source.foreign.networks(),
    )
    with library.making(source.avatar_id) as folder:
        with disk_full_explained():
            bundle = write_bundle(contents, folder)
        keep_cutout(bundle)
    progress(1.0)
    return source.avatar_id


def prepare_avatar(upload: Upload, library: AvatarLibrary, progress: Callable[[str, float], None]) -> AvatarBundle:
    """Run all stages; `progress` gets the stage's name and 0 to 1 within it. For the command line and for tools.

    The working directory is temporary, so unlike a job this starts from the beginning after a kill. It takes less than
    a minute, and nothing would ever remove the files of an abandoned command.

    Raises BadMedia, BadImport, FaceNotFound, DiskFull.
    """
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as place:
        work = Path(place)
        read_source(upload, work, lambda part: progress(READ_SOURCE, part))
        find_faces(work, lambda part: progress(FIND_FACES, part))
        make_loop(work, lambda part: progress(MAKE_LOOP, part))
        cut_out(work, lambda part: progress(CUT_OUT, part))
        return library.open(write(work, library, lambda part: progress(WRITE, part)))


def preset_upload(preset: Preset) -> Upload:
    """One of our own characters as an upload."""
    return Upload(
        path=preset.picture,
        avatar_id=preset.id,
        name=preset.names["en"],
        closed_eyes=preset.closed_eyes,
        mouth_look=preset.mouth_look,
        side_px=PRESET_SIDE_PX,
        source={"file": preset.picture.name, "preset": True, "licence": "Apache-2.0", "names": dict(preset.names)},
    )


def prepare_preset(preset: Preset, library: AvatarLibrary) -> AvatarBundle:
    """Prepare one of our own characters, unless the library has it already."""
    if preset.id in library:
        return library.open(preset.id)
    return prepare_avatar(preset_upload(preset), library, lambda _stage, _part: None)


def report_strip(work: Path) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the face report of a preparation (see FaceReport.to_json) and its pictures, file name -> JPEG.

    Both are empty until find_faces has run; they are also there if it found no usable face.
    """
    if not (work / FIND_FACES).exists():
        return {}, {}
    found = Found.load(work)
    names = [entry["file"] for entry in found.report["strip"]]
    return dict(found.report), dict(zip(names, found.strip, strict=True))


def _mediapipe(tracking: bool) -> FaceAnalyzer:
    return MediaPipeFaceAnalyzer(tracking=tracking)


def _source_of(upload: Upload, decoded: DecodedRecord, output: Path) -> Source:
    """Combine the upload with `decoded`, the result of decode_source()."""
    is_still = decoded["kind"] == "still"
    prepared = datetime.now(UTC).isoformat(timespec="seconds")
    return Source(
        avatar_id=upload.avatar_id,
        name=upload.name,
        kind=decoded["kind"],
        side_px=upload.side_px,
        facts={**upload.source, **decoded["source"], "prepared": prepared},
        frame_count=decoded["frames"],
        pictures=PhotoFile(output) if is_still else FrameFile(output),
        foreign=ForeignFiles(output),
        mouth_look=upload.mouth_look,
        cutout=upload.cutout,
    )


def _loop_of(source: Source, found: Found, output: Path, progress: Progress) -> tuple[Loop, Mattes | None]:
    if isinstance(found.face, StillFace):
        return _loop_of_still(source.avatar_id, found.face, FrameFile(output), progress)
    if isinstance(found.face, ClipFace) and isinstance(source.pictures, FrameFile):
        return _loop_of_clip(found.face, source.pictures), None
    raise ValueError("no face was found, so there is no loop to be made")


def _loop_of_still(
    avatar_id: str, face: StillFace, frames: FrameFile, progress: Progress
) -> tuple[Loop, Mattes | None]:
    """Draw the frames into `frames`. The seed is the avatar's id, so no two avatars idle alike."""
    life = idle_life(zlib.crc32(avatar_id.encode()))
    matte = None if face.alpha is None else matte_by_alpha(face.alpha, face.landmarks)
    if matte is None:
        matte = person_matte(face.picture, face.landmarks)
    layers = None if matte is None else Layers(face.picture, matte)
    moved: list[FloatArray] = []
    mattes = MattesMaker()

    def jpegs() -> Iterator[bytes]:
        for rgb, points, where in enliven(face.picture, face.landmarks, life, layers, face.closed):
            moved.append(points)
            mattes.add(where)
            yield encode_jpeg(rgb)

    count = frames.write(with_progress(jpegs(), len(life.poses), progress))
    height, width = face.picture.shape[:2]
    landmarks = np.stack(moved)
    loop = Loop(landmarks, _boxes(landmarks, width, height), life.order, 0, width, height, frames, np.arange(count))
    return loop, None if layers is None else mattes.made(layers.background)


def _loop_of_clip(face: ClipFace, frames: FrameFile) -> Loop:
    """Use a part of the clip's frames, played forwards and backwards."""
    landmarks = smooth(face.landmarks[face.first : face.stop])
    turn_first, turn_stop, order = ping_pong(landmarks)
    first = face.first + turn_first
    landmarks = landmarks[turn_first:turn_stop]
    height, width = decode_jpeg(next(frames.read(first, first + 1))).shape[:2]
    shown = face.shown[first : first + len(landmarks)]
    return Loop(landmarks, _boxes(landmarks, width, height), order, first, width, height, frames, shown)


def _real_mouths(source: Source, loop: Loop, progress: Progress) -> RealMouths:
    if source.kind == "still":
        return RealMouths.none(STILL)
    pictures = map(decode_jpeg, with_progress(loop.jpegs(), len(loop.boxes), progress))
    return find_real_mouths(loop.landmarks, pictures)


def _boxes(landmarks: FloatArray, width: int, height: int) -> npt.NDArray[np.int32]:
    return mouth_boxes(smooth(landmarks, BOX_SIGMA), width, height)


def _most_awake(loop: Loop) -> bytes:
    """Return the frame with the widest eyes, as JPEG."""
    lids = loop.landmarks[:, list(LOWER_LIDS), 1] - loop.landmarks[:, list(UPPER_LIDS), 1]
    awake = int(np.argmax(lids.mean(axis=1)))
    return next(loop.jpegs(awake, awake + 1))
