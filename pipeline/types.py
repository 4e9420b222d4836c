"""The nouns of the engine. All are frozen, and nobody but their maker writes to the arrays inside.

Colour is RGB. Time on the media clock is counted in pictures (25 a second) or in samples at PLAYOUT_RATE_HZ; both
start at 0 when a session's playout starts. Inside a turn, speech time starts at 0 with the turn's first sample.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from models.errors import VivavoceError

__all__ = [
    "FEATURE_RATE_HZ",
    "FPS",
    "LISTEN_RATE_HZ",
    "PICTURE_MS",
    "PLAYOUT_RATE_HZ",
    "SAMPLES_PER_PICTURE",
    "AudioChunk",
    "AvatarFiles",
    "CutEvent",
    "EarsEvent",
    "EarsState",
    "ErrorEvent",
    "FacePatch",
    "FeatureWindow",
    "FloatArray",
    "GestureEvent",
    "HoldEvent",
    "ImageArray",
    "LazyPicture",
    "LipSyncRequest",
    "ListenMode",
    "LoopPictures",
    "LoopPosition",
    "MediaFrame",
    "Message",
    "MetricsEvent",
    "NoticeEvent",
    "Phoneme",
    "Picture",
    "SessionEvent",
    "SessionStats",
    "SubtitleEvent",
    "TextEvent",
    "Transcript",
    "TranscriptEvent",
    "TurnEvent",
    "TurnState",
]

FPS = 25
PICTURE_MS = 1000 // FPS
PLAYOUT_RATE_HZ = 48_000
"""Rate at which speech is played. Features use a separate copy at 16 kHz."""
FEATURE_RATE_HZ = 16_000
LISTEN_RATE_HZ = 16_000
"""Rate at which a session takes a viewer's microphone."""
SAMPLES_PER_PICTURE = PLAYOUT_RATE_HZ // FPS  # 1920

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
ListenMode: TypeAlias = Literal["off", "open", "hold"]
"""How a microphone is used. open: speech is detected. hold: all sound until "off" is one utterance (push to talk)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation's history."""

    role: str
    "system, user or assistant"
    content: str


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One phoneme and when it sounds."""

    ipa: str
    "one IPA symbol without stress or length marks; '' is a pause"
    start_s: float
    "seconds from the first sample of the chunk that carries it"
    end_s: float


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A stretch of speech."""

    samples: FloatArray
    "float32 mono (n,) in [-1, 1]"
    sample_rate: int
    "Hz"
    start_sample: int = 0
    "samples, at sample_rate, from the start of the sentence (synthesizers) or of the turn (timeline)"
    turn: int = 0
    phonemes: tuple[Phoneme, ...] | None = None
    "Phoneme times. None: unknown. (): silence."
    final: bool = False
    "True on the last chunk of a sentence (it may be empty)"
    voice: str = ""
    "The voice that speaks, if it may differ from the one asked for; empty if unknown."

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class FeatureWindow:
    """The audio features that one picture is drawn from."""

    data: FloatArray
    "float32; shape depends on the extractor, e.g. (50, 384) for whisper15, (80, 16) for mel, (9,) for viseme"
    picture: int
    "index of the picture within the sentence, 0-based"


@dataclass(frozen=True, slots=True)
class FacePatch:
    """A rendered part of a face, ready for compositing."""

    pixels: ImageArray
    "uint8 RGB (h, w, 3) at the network's own size; compositing resizes it to the box"
    box: tuple[int, int, int, int]
    "x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive"
    mask: ImageArray | None
    "uint8 (y1 - y0, x1 - x0), 255 where the patch covers the frame; None: it covers the whole box"


@dataclass(frozen=True, slots=True)
class LipSyncRequest:
    """One picture to be made by a LipSync backend."""

    state: Any
    "what LipSync.prepare(bundle) returned"
    frame_index: int
    "index into the bundle's frames (not into its loop)"
    window: FeatureWindow
    deadline_s: float
    "clock time at which the picture is wanted; the device worker serves the earliest first"
    urgent: bool = False
    "True for a turn's first picture, which somebody is waiting for: it is served before those that are not urgent."
    read_frame: Callable[[], ImageArray] | None = None
    "Returns the frame's pixels. May be called only while this request is drawn. None: the backend decodes the frame."


class LazyPicture(Protocol):
    """A picture that is made only when needed.

    Most are never made: they are replayed from an encoded loop, or dropped.
    """

    def frame(self) -> ImageArray:
        """Return a new uint8 RGB (height, width, 3) array that the caller owns.

        Takes milliseconds. Raises BundleError.
        """
        ...


Picture: TypeAlias = ImageArray | LazyPicture
"""A picture as pixels, or as a recipe for them; pipeline.compositing.pixels_of() returns the pixels."""


class AvatarFiles(Protocol):
    """Identifies the files that pictures were read from. Equal, with equal hashes, for the same files."""

    @property
    def path(self) -> Path:
        """Folder of the avatar; it may have been deleted since."""
        ...


class LoopPictures(Protocol):
    """The pictures an avatar shows while it is idle. An AvatarBundle is one that shows its frames unchanged.

    Two objects with equal `files` have the same pictures, so `files` is the key under which encoded loops are cached.
    """

    @property
    def id(self) -> str:
        """Id of the avatar."""
        ...

    @property
    def files(self) -> AvatarFiles: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def loop(self) -> npt.NDArray[np.int32]:
        """(m,) frame indices in playing order."""
        ...

    def frame_index(self, loop_index: int) -> int:
        """Return the index of the frame shown at a place of the loop. Any integer is allowed; it wraps."""
        ...

    def frame(self, frame_index: int) -> ImageArray:
        """Return a new uint8 RGB (height, width, 3) array that the caller owns.

        Takes milliseconds. Raises BundleError.
        """
        ...

    def quieted(self, frame: ImageArray, frame_index: int, strength: float = 1.0) -> ImageArray:
        """Blend the resting mouth that is shown in silence into a frame of the avatar, in place.

        strength: 0 leaves the frame as it is, 1 shows the mouth fully at rest. Returns the frame.
        """
        ...

    def jpeg(self, frame_index: int) -> bytes | None:
        """Return the same picture as JPEG if one is stored; None: it has to be encoded."""
        ...


@dataclass(frozen=True, slots=True)
class LoopPosition:
    """An idle picture, named by its place in an avatar's loop so that transports can replay a cached encoding."""

    pictures: LoopPictures
    index: int
    "0 <= index < len(pictures.loop)"

    def frame(self) -> ImageArray:
        """See LoopPictures.frame()."""
        return self.pictures.frame(self.pictures.frame_index(self.index))


@dataclass(frozen=True, slots=True)
class MediaFrame:
    """ONE picture plus exactly its audio."""

    picture: Picture
    "uint8 RGB (height, width, 3) while speaking, a LoopPosition while idle; another LazyPicture around gestures"
    audio: FloatArray
    "float32 (SAMPLES_PER_PICTURE,) mono at PLAYOUT_RATE_HZ"
    number: int
    "Number of frames released before this one; its audio begins at sample number * SAMPLES_PER_PICTURE."
    speaking: bool = False
    "True if a voice or a gesture may be heard: none of the sound may be dropped or repeated."
    turn: int = 0
    "id of the turn it belongs to, 0 for none"
    loop_index: int = 0
    "Loop position of this picture, speaking or idle; positions from the length of the loop on belong to gestures."
    events: tuple[SessionEvent, ...] = ()
    "Events that become true when this frame is played."
    questions: tuple[str, ...] = ()
    "Questions that the viewer typed or spoke since the previous frame."


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words that a recogniser found in an utterance."""

    text: str
    "without space around it; empty if there are no words"
    language: str
    "ISO 639-1, empty if unknown"


class TurnState(enum.StrEnum):
    """The states of a turn. It ends as DONE, also if it failed, or as INTERRUPTED."""

    QUEUED = "queued"
    THINKING = "thinking"
    SPEAKING = "speaking"
    DONE = "done"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """A turn changed its state."""

    turn: int
    state: TurnState


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """Somebody speaks over a turn, and its speech is held; or it resumes from shortly before the cut."""

    turn: int
    held: bool


@dataclass(frozen=True, slots=True)
class CutEvent:
    """How much of an answer had been played at the viewer when it was interrupted."""

    turn: int
    played: int
    "Length of the played text in UTF-16 code units, as browsers count."


@dataclass(frozen=True, slots=True)
class GestureEvent:
    """A gesture began with the frame just released, or had ended before it."""

    name: str
    begins: bool


@dataclass(frozen=True, slots=True)
class TextEvent:
    """A piece of the assistant's answer, as the language model streams it. The chat column shows it."""

    turn: int
    delta: str


@dataclass(frozen=True, slots=True)
class SubtitleEvent:
    """A sentence to show as a subtitle, from start_s to end_s."""

    turn: int
    text: str
    start_s: float
    "seconds on the media clock"
    end_s: float
    spoken: bool = True
    "False: no voice speaks the sentence. It is shown for as long as reading it takes."


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """Something a person should know, though they did nothing wrong, e.g. that no voice here can speak a sentence."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error of ours, as it is reported to the viewer."""

    code: str
    message: str
    hint: str = ""
    cause: str = ""
    "Which of several cases the code stands for."

    @classmethod
    def of(cls, error: VivavoceError) -> ErrorEvent:
        """Make the event that reports this error."""
        return cls(error.code, error.message, error.hint, error.cause)


@dataclass(frozen=True, slots=True)
class MetricsEvent:
    """The marks of one turn's latency."""

    turn: int
    stages_ms: dict[str, float] = field(default_factory=dict)
    "milliseconds from the question, by mark, e.g. llm_first_token, first_sentence, first_audio, first_frame"


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """The viewer's words, as far as they are recognised. A final transcript is asked next, unless it is empty."""

    text: str
    "text of the whole utterance; each event replaces the one before"
    final: bool
    language: str
    "ISO 639-1, empty if unknown"


class EarsState(enum.StrEnum):
    """The states of the ears."""

    OFF = "off"
    LISTENING = "listening"
    HEARING = "hearing"
    RECOGNISING = "recognising"


@dataclass(frozen=True, slots=True)
class EarsEvent:
    """The state of the ears: off, waiting for speech, hearing some, or finding its words."""

    state: EarsState


class SessionStats(TypedDict):
    """What Session.stats() tells."""

    session: str
    avatar: str
    choice: dict[str, object]
    pts: int
    "how many pictures were released"
    turn: int
    state: str
    queued_pictures: int
    starved_pictures: int
    repeated_pictures: int
    slipped_ms: int
    transport: str
    ears: dict[str, object]


SessionEvent: TypeAlias = (
    TurnEvent
    | HoldEvent
    | CutEvent
    | GestureEvent
    | TextEvent
    | SubtitleEvent
    | NoticeEvent
    | ErrorEvent
    | MetricsEvent
    | TranscriptEvent
    | EarsEvent
)
