"""From an upload to an avatar, in stages that can be killed at any moment and run again.

    read_source   decode the upload: a photo as pixels, a clip or a peer's avatar as JPEGs at 25 a second
    find_faces    follow the face, choose what is used, write the face report and its strip of pictures
    make_loop     a still comes alive, a clip becomes ping-pong; boxes, poster, preview
    write         the bundle, into the library

Each stage leaves its result in a directory of its name under the working directory of the preparation, whole or not at
all, and does nothing if that is there already. `progress` is called with 0 to 1 within the stage; what it raises ends
the stage cleanly, which is how a preparation is cancelled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle, BundleContents, decode_jpeg, encode_jpeg, write_bundle
from avatars.confined import run_confined
from avatars.cuts import face_changes, scene_cuts, small_picture
from avatars.detect import Face, FaceAnalyzer, MediaPipeFaceAnalyzer
from avatars.disk import disk_full_explained
from avatars.errors import FaceNotFound
from avatars.geometry import mouth_boxes, mouth_mask
from avatars.importers.account import compare_with_peer, source_with_agreement
from avatars.importers.crops import kept_crops
from avatars.importers.reading import networks_in
from avatars.library import AvatarLibrary, Preset
from avatars.life import LOOP_FRAMES, enliven
from avatars.media_limits import FPS, MAX_SIDE_PX, even_size, fit_within
from avatars.preview import encode_preview, make_poster
from avatars.report import Concern, concerns_of, draw_strip, read_report, report_of, write_report
from avatars.source import Upload, counted, decode_source, decoding_limits
from avatars.tracking import FaceStatus, Track, follow, ping_pong, smooth
from avatars.workspace import FrameFile, read_json, stage_output, write_json

__all__ = [
    "STAGES",
    "AnalyzerFactory",
    "Progress",
    "Upload",
    "find_faces",
    "make_loop",
    "prepare_avatar",
    "prepare_preset",
    "preset_upload",
    "read_source",
    "report_strip",
    "write",
]

ImageArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Progress = Callable[[float], None]
AnalyzerFactory = Callable[[bool], FaceAnalyzer]
"called with True for the pictures of a clip in their order, False for a photo"

STAGES = ("read_source", "find_faces", "make_loop", "write")

SMALLEST_FACE = 0.18
"height of the face in parts of the picture below which a photo is cut closer to it"
FACE_AFTER_CUT = 0.30
FACE_FROM_TOP = 0.46
"where the middle of the face comes in a photo that was cut"
MAX_STILL_PIXELS = 1_250_000
"a 4:3 photo keeps 1280 px; squarer ones a little less, for the sake of time"
PRESET_SIDE_PX = 512
"the drawn portraits look best at this size, and it is what a bare CPU serves to several viewers"
MIN_PICTURE_PX = 512
"longer side to which a small photo is enlarged"
MIN_CLIP_S = 1.0
GAPING_IOD = 0.22
"gap between the lips of a still from which no mouth at rest can be made"
BOX_SIGMA = 2.0
UPPER_LIDS, LOWER_LIDS = (159, 386), (145, 374)
"middles of the lids: the poster is the picture with the widest eyes"


def read_source(upload: Upload, work: Path, progress: Progress) -> None:
    """Decode the upload into the working directory, in a process of its own.

    Raises BadMedia, BadImport, DiskFull.
    """
    if (work / "read_source").exists():
        return
    with stage_output(work, "read_source") as output:
        facts = run_confined(decode_source, decoding_limits(upload.path), progress, upload, output)
        prepared = datetime.now(UTC).isoformat(timespec="seconds")
        source = {**upload.source, **facts["source"], "prepared": prepared}
        known = {"id": upload.avatar_id, "name": upload.name, "side_px": upload.side_px}
        write_json(output / "source.json", {**known, **facts, "source": source})
    progress(1.0)


def find_faces(work: Path, progress: Progress, analyzers: AnalyzerFactory | None = None) -> None:
    """Find and follow the face; write report.json, strip-*.jpg and the landmarks.

    Raises FaceNotFound if there is none that can be used; the report is written all the same.
    """
    if (work / "find_faces").exists():
        _refuse_if_unusable(work)
        return
    source = work / "read_source"
    with (
        closing((analyzers or _mediapipe)(read_json(source / "source.json")["kind"] == "clip")) as analyzer,
        stage_output(work, "find_faces") as output,
    ):
        if (source / "photo.npy").exists():
            _find_in_photo(source, output, analyzer)
        else:
            _find_in_clip(source, output, analyzer, progress)
    _refuse_if_unusable(work)
    progress(1.0)


def make_loop(work: Path, progress: Progress) -> None:
    """Make the pictures and boxes of the loop, the poster and the preview."""
    if (work / "make_loop").exists():
        return
    found = work / "find_faces"
    with stage_output(work, "make_loop") as output:
        if (found / "picture.npy").exists():
            _loop_of_still(found, output, progress)
        else:
            _loop_of_clip(work / "read_source", found, output)
        _draw_poster_and_preview(work, output)
    progress(1.0)


def write(work: Path, library: AvatarLibrary, progress: Progress) -> str:
    """Put the bundle into the library; returns its id.

    Raises DiskFull, BundleError.
    """
    facts = read_json(work / "read_source" / "source.json")
    output = work / "make_loop"
    loop = np.load(output / "loop.npz")
    boxes = loop["boxes"]
    x0, y0, x1, y1 = boxes[0]
    crops = kept_crops(work)
    contents = BundleContents(
        id=facts["id"],
        name=facts["name"],
        kind=facts["kind"],
        frames=counted(_loop_jpegs(work), len(boxes), progress),
        width=int(loop["size"][0]),
        height=int(loop["size"][1]),
        boxes=boxes,
        masks=mouth_mask(int(x1 - x0), int(y1 - y0))[None],
        landmarks=loop["landmarks"],
        loop=loop["loop"],
        source=source_with_agreement(
            facts["source"], work / "find_faces", crops_kept=bool(crops), masks_kept=len(crops) > 1
        ),
        report=read_report(work / "find_faces"),
        tensors=crops,
        poster=(output / "poster.jpg").read_bytes(),
        preview=output / "preview.mp4",
        networks=networks_in(work / "read_source"),
    )
    with disk_full_explained():
        write_bundle(contents, library.path_of(facts["id"]))
    progress(1.0)
    return str(facts["id"])


def prepare_avatar(upload: Upload, library: AvatarLibrary, progress: Callable[[str, float], None]) -> AvatarBundle:
    """All stages in a temporary directory; `progress` gets the stage's name and 0 to 1 within it.

    Raises BadMedia, BadImport, FaceNotFound, DiskFull.
    """
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as place:
        work = Path(place)
        read_source(upload, work, lambda part: progress("read_source", part))
        find_faces(work, lambda part: progress("find_faces", part))
        make_loop(work, lambda part: progress("make_loop", part))
        return library.open(write(work, library, lambda part: progress("write", part)))


def preset_upload(preset: Preset) -> Upload:
    """One of our own characters as an upload."""
    return Upload(
        path=preset.picture,
        avatar_id=preset.id,
        name=preset.names["en"],
        closed_eyes=preset.closed_eyes,
        side_px=PRESET_SIDE_PX,
        source={"file": preset.picture.name, "preset": True, "licence": "Apache-2.0", "names": dict(preset.names)},
    )


def prepare_preset(preset: Preset, library: AvatarLibrary) -> AvatarBundle:
    """Prepare one of our own characters, unless the library has it already."""
    if preset.id in library:
        return library.open(preset.id)
    return prepare_avatar(preset_upload(preset), library, lambda _stage, _part: None)


def report_strip(work: Path) -> tuple[dict[str, Any], list[Path]]:
    """The face report of a preparation (see FaceReport.to_json) and the pictures of its strip, once find_faces has run,
    also if it has refused. Empty before."""
    found = work / "find_faces"
    if not found.exists():
        return {}, []
    report = read_report(found)
    return report, [found / one["file"] for one in report["strip"]]


def _mediapipe(tracking: bool) -> FaceAnalyzer:
    return MediaPipeFaceAnalyzer(tracking=tracking)


# find_faces


def _find_in_photo(source: Path, output: Path, analyzer: FaceAnalyzer) -> None:
    photo: ImageArray = np.load(source / "photo.npy")
    seen = fit_within(photo, MAX_SIDE_PX)
    scale = photo.shape[1] / seen.shape[1]
    faces = [Face.from_landmarks(face.landmarks * np.float32(scale)) for face in analyzer.analyse(seen)]
    track = follow([faces])
    compare_with_peer(source, track.landmarks, [status.usable for status in track.statuses], output)
    face_px = faces[0].size_px if faces else 0.0
    picture, landmarks = photo, track.landmarks
    if track.good:
        x0, y0, side_x, side_y = _closeup(faces[0], photo.shape[1], photo.shape[0])
        size = _still_size(side_x, side_y, read_json(source / "source.json")["side_px"])
        cut = (slice(y0, y0 + side_y), slice(x0, x0 + side_x))
        picture = _resized(photo[cut], size)
        landmarks = _landmarks_in(analyzer, picture, faces[0], (x0, y0), size[0] / side_x)
        if (source / "closed.npy").exists():
            np.save(output / "closed.npy", _resized(np.load(source / "closed.npy")[cut], size))
        np.save(output / "picture.npy", picture)
        np.save(output / "landmarks.npy", landmarks)
    shown = Track(landmarks, track.statuses, track.first, track.stop)
    concerns = concerns_of(track, photo.shape[1], photo.shape[0])
    _write_report(shown, face_px, concerns, lambda _index: picture, output)


def _closeup(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """What of a photo is used, x0, y0, width, height: all of it, or a square about a face that is small in it."""
    if face.size_px >= SMALLEST_FACE * min(width, height):
        return 0, 0, width, height
    side = min(round(face.size_px / FACE_AFTER_CUT), width, height)
    x0 = int(np.clip(face.centre[0] - side / 2, 0, width - side))
    y0 = int(np.clip(face.centre[1] - side * FACE_FROM_TOP, 0, height - side))
    return x0, y0, side, side


def _still_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    scale = min(1.0, side_px / max(width, height), (MAX_STILL_PIXELS / (width * height)) ** 0.5)
    scale = max(scale, MIN_PICTURE_PX / max(width, height))
    return even_size(width * scale, height * scale, MAX_SIDE_PX)


def _resized(rgb: ImageArray, size: tuple[int, int]) -> ImageArray:
    if (rgb.shape[1], rgb.shape[0]) == size:
        return np.ascontiguousarray(rgb)
    shrinks = size[0] < rgb.shape[1]
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def _landmarks_in(
    analyzer: FaceAnalyzer, picture: ImageArray, face: Face, corner: tuple[int, int], scale: float
) -> FloatArray:
    """Landmarks (1, 478, 3) in the final picture: fitted anew, since it shows the face larger than the whole photo."""
    expected = (face.landmarks - np.array([*corner, 0], np.float32)) * np.float32(scale)
    moved = Face.from_landmarks(expected)
    again = follow([[moved], analyzer.analyse(picture)])
    return again.landmarks[1:]


def _find_in_clip(source: Path, output: Path, analyzer: FaceAnalyzer, progress: Progress) -> None:
    frames = FrameFile(source)
    count = read_json(source / "source.json")["frames"]
    track = _followed(counted(frames.read(), count, progress), analyzer)
    sizes = [Face.from_landmarks(points).size_px for points in track.landmarks if np.isfinite(points).all()]
    compare_with_peer(source, track.landmarks, [status.usable for status in track.statuses], output)
    shown = _shown_pictures(track)
    stretch = np.array([track.first, track.stop])
    np.savez(output / "track.npz", landmarks=track.landmarks[shown], stretch=stretch, shown=shown)
    _write_report(
        track,
        float(np.median(sizes)) if sizes else 0.0,
        concerns_of(track, *decode_jpeg(next(frames.read(0, 1))).shape[1::-1]),
        lambda index: decode_jpeg(next(frames.read(index, index + 1))),
        output,
    )


def _followed(jpegs: Iterable[bytes], analyzer: FaceAnalyzer) -> Track:
    """The face of a clip, as far as the clip shows one scene and one person."""
    faces: list[list[Face]] = []
    smalls: list[ImageArray] = []
    width = 0
    for jpeg in jpegs:
        rgb = decode_jpeg(jpeg)
        width = rgb.shape[1]
        faces.append(analyzer.analyse(rgb))
        smalls.append(small_picture(rgb))
    scenes = scene_cuts(smalls)
    track = follow(faces, scenes.cuts, scenes.foreign)
    others = face_changes(smalls, track.landmarks, width, [status.usable for status in track.statuses])
    return follow(faces, scenes.cuts | others, scenes.foreign) if others else track


def _shown_pictures(track: Track) -> npt.NDArray[np.int64]:
    """Which picture of the clip is shown in the place of each (n,): its own, or of a foreign one the last before."""
    shown = np.arange(len(track.statuses))
    for index in sorted(track.foreign):
        shown[index] = shown[index - 1]
    return shown


def _write_report(
    track: Track,
    face_px: float,
    concerns: tuple[Concern, ...],
    picture: Callable[[int], ImageArray],
    output: Path,
) -> None:
    write_report(report_of(track, face_px, concerns, draw_strip(track, picture, output)), output)


def _refuse_if_unusable(work: Path) -> None:
    report = read_report(work / "find_faces")
    frames, (first, stop) = report["frames"], report["used"]
    if frames == 1 and report.get("rest_gap_iod", 0.0) > GAPING_IOD:
        raise FaceNotFound(
            "The mouth in this picture is wide open.", "Use one in which the lips are closed.", cause="mouth_open"
        )
    if stop - first >= (MIN_CLIP_S * FPS if frames > 1 else 1):
        return
    counts = report["counts"]
    worst = max((s for s in FaceStatus if not s.usable), key=lambda status: int(counts[status]))
    what = "picture" if frames == 1 else "clip"
    if counts[worst] == 0:
        raise FaceNotFound(
            f"The clip is only {frames / FPS:.1f} seconds long.",
            f"Upload at least {MIN_CLIP_S:.0f} second of a face.",
            cause="too_short",
        )
    if worst is FaceStatus.TOO_SMALL:
        raise FaceNotFound(
            f"The face in this {what} is only {report['face_px']:.0f} px high.",
            "It needs at least 60 px from forehead to chin: come closer, or upload a larger picture.",
            cause="too_small",
        )
    if worst is FaceStatus.TURNED_AWAY:
        raise FaceNotFound(
            f"The face in this {what} is turned too far away.",
            "Use one that looks roughly into the camera.",
            cause="turned_away",
        )
    raise FaceNotFound(
        f"No face was found in this {what}." if not stop else "There is no second of good pictures in this clip.",
        "Use one that shows one face from the front, well lit and not covered.",
        cause="none" if not stop else "too_few",
    )


# make_loop


def _loop_of_still(found: Path, output: Path, progress: Progress) -> None:
    picture: ImageArray = np.load(found / "picture.npy")
    closed = np.load(found / "closed.npy") if (found / "closed.npy").exists() else None
    landmarks: list[FloatArray] = []

    def jpegs() -> Iterator[bytes]:
        for rgb, points in enliven(picture, np.load(found / "landmarks.npy")[0], closed):
            landmarks.append(points)
            yield encode_jpeg(rgb)

    count = FrameFile(output).write(counted(jpegs(), LOOP_FRAMES, progress))
    _save_loop(output, np.stack(landmarks), 0, np.arange(count, dtype=np.int32), picture.shape[1::-1])


def _loop_of_clip(source: Path, found: Path, output: Path) -> None:
    track = np.load(found / "track.npz")
    first, stop = (int(bound) for bound in track["stretch"])
    landmarks = smooth(track["landmarks"][first:stop])
    turn_first, turn_stop, loop = ping_pong(landmarks)
    height, width = decode_jpeg(next(FrameFile(source).read(first, first + 1))).shape[:2]
    _save_loop(output, landmarks[turn_first:turn_stop], first + turn_first, loop, (width, height))


def _save_loop(
    output: Path, landmarks: FloatArray, first: int, loop: npt.NDArray[np.int32], size: tuple[int, ...]
) -> None:
    width, height = size
    np.savez(
        output / "loop.npz",
        landmarks=landmarks,
        boxes=mouth_boxes(smooth(landmarks, BOX_SIGMA), width, height),
        loop=loop,
        stretch=np.array([first, first + len(landmarks)]),
        size=np.array([width, height]),
    )


def _frames_of_loop(work: Path, output: Path) -> Callable[[int, int], Iterator[bytes]]:
    """JPEGs of the loop's frames [first, stop): a still's own ones, or those of the clip's stretch that is used."""
    stills = FrameFile(output)
    if stills.exists():
        return stills.read
    offset = int(np.load(output / "loop.npz")["stretch"][0])
    clip = FrameFile(work / "read_source")
    with np.load(work / "find_faces" / "track.npz") as track:
        shown = track.get("shown")  # a preparation that an older version has begun has none
    if shown is None or np.array_equal(shown, np.arange(len(shown))):
        return lambda first, stop: clip.read(offset + first, offset + stop)
    return lambda first, stop: (
        next(clip.read(index, index + 1)) for index in shown[offset + first : offset + stop].tolist()
    )


def _loop_jpegs(work: Path) -> Iterator[bytes]:
    output = work / "make_loop"
    return _frames_of_loop(work, output)(0, len(np.load(output / "loop.npz")["boxes"]))


def _draw_poster_and_preview(work: Path, output: Path) -> None:
    landmarks: FloatArray = np.load(output / "loop.npz")["landmarks"]
    frames = _frames_of_loop(work, output)
    lids = landmarks[:, list(LOWER_LIDS), 1] - landmarks[:, list(UPPER_LIDS), 1]
    awake = int(np.argmax(lids.mean(axis=1)))
    (output / "poster.jpg").write_bytes(make_poster(decode_jpeg(next(frames(awake, awake + 1)))))
    encode_preview((decode_jpeg(jpeg) for jpeg in frames(0, len(landmarks))), output / "preview.mp4")
