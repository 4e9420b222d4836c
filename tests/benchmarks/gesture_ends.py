"""How much a face jumps where a gesture begins and ends, against what it does by itself.

    python -m tests.benchmarks.gesture_ends CLIP OUT

CLIP shows a person. Its first ten seconds become an avatar, and two seconds from later on a gesture of that. A session
shows the loop, and the gesture at several places of it. A face detector looks at each picture by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle, decode_jpeg, encode_jpeg
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.gesture_making import read_gesture, write_gesture
from avatars.library import AvatarLibrary
from avatars.prepare import Upload, find_faces, prepare_avatar
from pipeline.clock import ManualClock
from pipeline.compositing import pixels_of
from pipeline.engine import Engine
from pipeline.gestures import DISSOLVED_PICTURES
from pipeline.types import GestureEvent
from tests.session_room import MEASURED, Room

__all__ = ["Jumps", "jumps_px"]

AVATAR_S, GESTURE_AT_S, GESTURE_S = 10, 30, 2
NAME = "look"
LOOP_S, TIMES, APART_S = 24.0, 6, 3.4


@dataclass(frozen=True, slots=True)
class Jumps:
    """Largest change of a landmark from one picture to the next, px of the avatar's picture."""

    loop: float
    "within the loop: a blink"
    begins: float
    ends: float


def jumps_px(clip: Path, folder: Path) -> Jumps:
    """Of the worst of several gestures."""
    bundle = _avatar_with_gesture(clip, folder)
    pictures, spans = asyncio.run(_shown(bundle))
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        points = [_points(analyzer, decode_jpeg(jpeg)) for jpeg in pictures]
    changes = [
        np.nan if a is None or b is None else float(np.linalg.norm(b - a, axis=1).max())
        for a, b in itertools.pairwise(points)
    ]
    before, after = 2, DISSOLVED_PICTURES + 2
    begins = [max(changes[begin - before : begin + after]) for begin, _ in spans]
    ends = [max(changes[end - after : end + after]) for _, end in spans]
    return Jumps(float(np.nanmax(changes[: spans[0][0] - before])), float(np.nanmax(begins)), float(np.nanmax(ends)))


def _points(analyzer: MediaPipeFaceAnalyzer, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
    faces = analyzer.analyse(rgb)
    return np.asarray(faces[0].landmarks, np.float64)[:, :2] if faces else None


def _avatar_with_gesture(clip: Path, folder: Path) -> AvatarBundle:
    library = AvatarLibrary(folder / "avatars")
    if "lively" not in library:
        prepare_avatar(Upload(_cut(clip, folder / "avatar.mp4", 0, AVATAR_S), "lively", "Lively"), library, _quietly)
        work = folder / "gesture"
        work.mkdir()
        upload = Upload(_cut(clip, folder / "gesture.mp4", GESTURE_AT_S, GESTURE_S), "lively", NAME)
        read_gesture(upload, work, lambda _share: None)
        find_faces(work, lambda _share: None)
        write_gesture(work, library.open("lively"), NAME, None, lambda _share: None)
    return library.open("lively")


def _quietly(_stage: str, _share: float) -> None:
    """Of what is prepared nothing is said."""


def _cut(clip: Path, path: Path, begin_s: float, seconds: float) -> Path:
    """Those seconds of a clip, without its sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(clip)) as read, av.open(str(path), "w") as written:
        video = read.streams.video[0]
        stream = written.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast", "crf": "12"})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in read.decode(video):
            if begin_s <= frame.time < begin_s + seconds:
                picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
                written.mux(stream.encode(picture))
        written.mux(stream.encode())
    return path


async def _shown(bundle: AvatarBundle) -> tuple[Sequence[bytes], Sequence[tuple[int, int]]]:
    """All pictures that a session shows as JPEG, and the numbers of first pictures: of gestures, and after them."""
    engine = Engine(clock=(clock := ManualClock()))
    await engine.start()
    room = Room(engine, await engine.open_session("bench", bundle, MEASURED), clock)
    await room.session.attach(room.transport)
    await room.pass_time(LOOP_S)
    spans = []
    for _ in range(TIMES):
        room.told.clear()
        room.session.begin_gesture(NAME)
        await room.until(lambda: any(isinstance(e, GestureEvent) and e.begins for e in room.told))
        begin = len(room.transport.frames) - 1
        await room.until(lambda: any(isinstance(e, GestureEvent) and not e.begins for e in room.told))
        spans.append((begin, len(room.transport.frames) - 1))
        await room.pass_time(APART_S)
    pictures = [encode_jpeg(pixels_of(frame.picture), 95) for frame in room.transport.frames]
    await engine.aclose()
    return pictures, spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    print(jumps_px(given.clip, given.out))


if __name__ == "__main__":
    main()
