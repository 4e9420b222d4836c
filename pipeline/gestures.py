"""Gestures in a session: their pictures and sound, and how they join what is shown before and after."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avatars.bundle import AvatarBundle, Gesture, GestureTrack
from avatars.errors import GestureNotFound
from pipeline.audio import SPEECH_DBFS, StreamResampler, amplify, fade_in, fade_out
from pipeline.compositing import Dissolve
from pipeline.idle import GestureRun
from pipeline.types import (
    PLAYOUT_RATE_HZ,
    SAMPLES_PER_PICTURE,
    FloatArray,
    GestureEvent,
    ImageArray,
    LoopPictures,
    MediaFrame,
    Picture,
)

__all__ = ["GestureShow", "Gestures"]

DISSOLVED_PICTURES = 5
"""Length of the dissolve at either end of a gesture: 0.2 s."""
FADE_SAMPLES = PLAYOUT_RATE_HZ // 50  # 20 ms
MIN_GAIN_DB, MAX_GAIN_DB = -40.0, 40.0


@dataclass(frozen=True, slots=True)
class _GesturePicture:
    """A picture of a gesture over which nobody speaks. A LazyPicture."""

    pictures: LoopPictures
    frame_index: int

    def frame(self) -> ImageArray:
        return self.pictures.frame(self.frame_index)


class Gestures:
    """The gestures of an avatar, shared by its sessions. Make it in a thread, because it resamples their sound.

    bundle: with its gestures (avatars.gestures.open_with_gestures). loop: the pictures of the idle avatar.
    """

    def __init__(self, bundle: AvatarBundle, loop: LoopPictures) -> None:
        self._bundle = bundle
        self._loop = loop
        self._places = len(bundle.loop)
        self._by_name = {gesture.name: gesture for gesture in bundle.gestures}
        self._sounds = {
            gesture.name: _sound_of(gesture.track, gesture.frame_count)
            for gesture in bundle.gestures
            if gesture.track is not None and not gesture.is_idle
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the gestures that can be requested."""
        return tuple(name for name, gesture in self._by_name.items() if not gesture.is_idle)

    @property
    def idle_names(self) -> tuple[str, ...]:
        """Names of the idle clips, which the avatar shows by itself."""
        return tuple(name for name, gesture in self._by_name.items() if gesture.is_idle)

    def run(self, name: str, *, spoken_over: bool) -> GestureRun:
        """Return a run of that gesture for LoopCursor.begin(). Raises GestureNotFound."""
        gesture = self._by_name.get(name)
        if gesture is None:
            known = ", ".join(self.names)
            raise GestureNotFound(
                f"This avatar has no gesture {name[:80]!r}.", f"It has: {known}." if known else "Add one to the avatar."
            )
        return GestureRun(self._place_of(gesture), gesture.frame_count, self._loop_place_like, spoken_over)

    def at(self, place: int) -> Gesture | None:
        """Return the gesture at this place; None if the place is in the loop."""
        frame = self._bundle.frame_index(place)
        if frame < self._bundle.frame_count:
            return None
        return next((one for one in self._bundle.gestures if frame < one.first_frame + one.frame_count), None)

    def picture(self, place: int) -> Picture:
        """Return the picture at a gesture's place while nobody speaks."""
        gesture = self.at(place)
        # If the gesture has its person's sound, the lips move as they were filmed. Otherwise they rest, as in the loop.
        filmed = gesture is not None and gesture.name in self._sounds
        return _GesturePicture(self._bundle if filmed else self._loop, self._bundle.frame_index(place))

    def face(self, place: int) -> FloatArray:
        """Return (n, 2) px: points of the face in the picture at a place."""
        points: FloatArray = self._bundle.landmarks[self._bundle.frame_index(place), ::8, :2]
        return points

    def sound(self, place: int) -> FloatArray | None:
        """Return (SAMPLES_PER_PICTURE,) at PLAYOUT_RATE_HZ for a place; None: silence."""
        gesture = self.at(place)
        if gesture is None or gesture.name not in self._sounds:
            return None
        first = (place - self._place_of(gesture)) * SAMPLES_PER_PICTURE
        return self._sounds[gesture.name][first : first + SAMPLES_PER_PICTURE]

    def _place_of(self, gesture: Gesture) -> int:
        return self._places + gesture.first_frame - self._bundle.frame_count

    def _loop_place_like(self, place: int) -> int:
        return self._bundle.loop_place_like(self._bundle.frame_index(place))


def _sound_of(track: GestureTrack, pictures: int) -> FloatArray:
    """Return float32 (pictures * SAMPLES_PER_PICTURE,) at the level of voices, faded in and out."""
    samples = track.samples.astype(np.float32) / np.float32(32768)
    gain_db = float(np.clip(SPEECH_DBFS - track.level_dbfs, MIN_GAIN_DB, MAX_GAIN_DB))
    resampler = StreamResampler(track.rate_hz, PLAYOUT_RATE_HZ)
    played = np.concatenate([resampler.push(amplify(samples, gain_db)), resampler.flush()])
    played = played[: pictures * SAMPLES_PER_PICTURE]
    played = fade_out(fade_in(played, PLAYOUT_RATE_HZ), PLAYOUT_RATE_HZ)
    return np.pad(played, (0, pictures * SAMPLES_PER_PICTURE - len(played)))


class GestureShow:
    """Tracks what a session has shown of gestures, to add the right dissolves, sound and events: see joined()."""

    def __init__(self, gestures: Gestures) -> None:
        self._gestures = gestures
        self._shown: Gesture | None = None
        self._place = 0  # of the last frame
        self._picture: Picture | None = None  # of the last frame
        self._before: Picture | None = None  # the picture that dissolves into the present one
        self._before_face: FloatArray = np.zeros((0, 2), np.float32)
        self._dissolved = 0
        self._heard: int | None = None  # place whose sound was released with the last frame; None: it had none
        self._hushed = False

    def hush(self) -> None:
        """Silence the gesture that is shown. Its pictures go on."""
        self._hushed = True

    def joined(self, frame: MediaFrame) -> MediaFrame:
        """Add to the frame what a gesture contributes: sound while nobody speaks, a dissolve at its ends, events."""
        gesture = self._gestures.at(frame.loop_index)
        # A gesture that is started again jumps back. A head that sways goes back by one place only.
        begins = gesture is not None and (gesture is not self._shown or frame.loop_index < self._place - 1)
        ends = self._shown is not None and (begins or gesture is None)
        if begins or ends:
            self._begin_dissolve()
        self._hushed = self._hushed and not begins
        events = [
            GestureEvent(told.name, begins=is_new)
            for told, is_new in ((self._shown if ends else None, False), (gesture if begins else None, True))
            if told is not None and not told.is_idle
        ]
        audio = self._with_sound(frame)
        picture = self._dissolving(frame.picture, frame.loop_index)
        self._shown, self._place, self._picture = gesture, frame.loop_index, picture
        speaking = frame.speaking or audio is not frame.audio
        return replace(frame, picture=picture, audio=audio, speaking=speaking, events=(*frame.events, *events))

    def _begin_dissolve(self) -> None:
        before = self._picture
        if isinstance(before, Dissolve):  # go on from the nearer of its pictures, so that dissolves never nest
            is_nearly_there = before.share >= 0.5
            self._before_face = before.face_after if is_nearly_there else before.face_before
            before = before.after if is_nearly_there else before.before
        elif before is not None:
            self._before_face = self._gestures.face(self._place)
        self._before, self._dissolved = before, 0

    def _dissolving(self, picture: Picture, place: int) -> Picture:
        if self._before is None:
            return picture
        self._dissolved += 1
        share = self._dissolved / (DISSOLVED_PICTURES + 1)
        mixed = Dissolve(self._before, picture, share, self._before_face, self._gestures.face(place))
        if self._dissolved == DISSOLVED_PICTURES:
            self._before = None
        return mixed

    def _with_sound(self, frame: MediaFrame) -> FloatArray:
        sound = None if frame.speaking or self._hushed else self._gestures.sound(frame.loop_index)
        if sound is not None:
            self._heard = frame.loop_index
            return sound
        heard, self._heard = self._heard, None
        if heard is None or self._gestures.at(heard + 1) is not self._shown:
            return frame.audio
        rest = self._gestures.sound(heard + 1)
        if rest is None:
            return frame.audio
        # Silenced in the middle of its sound: fade out over the next samples, so that there is no click.
        self._hushed = True
        ending = np.zeros(SAMPLES_PER_PICTURE, np.float32)
        ending[:FADE_SAMPLES] = rest[:FADE_SAMPLES] * np.linspace(1, 0, FADE_SAMPLES, dtype=np.float32)
        return np.asarray(np.clip(frame.audio + ending, -1, 1), np.float32)
