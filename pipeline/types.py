"""The nouns of the engine. All frozen; arrays inside are treated as read-only by everyone but their maker.

Colour is RGB. Time on the media clock is counted in pictures (25 a second) or in samples at PLAYOUT_RATE_HZ; both
start at 0 when a session's playout starts. Inside a turn, speech time starts at 0 with the turn's first sample.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

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
"""Rate at which speech is played; never the 16 kHz copy that features use."""
FEATURE_RATE_HZ = 16_000
LISTEN_RATE_HZ = 16_000
"""Rate of a viewer's microphone, as a session takes it."""
SAMPLES_PER_PICTURE = PLAYOUT_RATE_HZ // FPS  # 1920

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
ListenMode: TypeAlias = Literal["off", "open", "hold"]
"""open: speech is found by itself; hold: from here to "off" is one utterance (push to talk)."""


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
    "timing, when the synthesizer knows it; None means unknown, () means silence"
    final: bool = False
    "True on the last chunk of a sentence (it may be empty)"
    voice: str = ""
    "who speaks, where that may be another than was asked for; empty where it is not known"

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class FeatureWindow:
    """What one picture needs from the audio."""

    data: FloatArray
    "float32; shape depends on the extractor, e.g. (50, 384) for whisper15, (80, 16) for mel, (9,) for viseme"
    picture: int
    "index of the picture within the sentence, 0-based"


@dataclass(frozen=True, slots=True)
class FacePatch:
    """A rendered part of a face, ready for compositing."""

    pixels: ImageArray
    "uint8 RGB (h, w, 3), as large as the network draws; resized to the box when it is composed"
    box: tuple[int, int, int, int]
    "x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive"
    mask: ImageArray | None
    "uint8 (y1 - y0, x1 - x0), 255 where the patch covers the frame; None: it covers it everywhere"


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
    "a turn's first picture, which somebody waits for: served before all that are not"
    read_frame: Callable[[], ImageArray] | None = None
    "gives the frame's pixels, to be read only while this is drawn; None: a backend decodes the frame if it needs it"


class LazyPicture(Protocol):
    """A picture that is made only where it is needed: most are replayed from an encoded loop, or dropped."""

    def frame(self) -> ImageArray:
        """A fresh uint8 RGB (height, width, 3) that the caller owns. Takes milliseconds. Raises BundleError."""
        ...


Picture: TypeAlias = ImageArray | LazyPicture
"""pipeline.compositing.pixels_of() gives its pixels."""


class AvatarFiles(Protocol):
    """Which files pictures were read from: equal, and of the same hash, for the same files."""

    @property
    def path(self) -> Path:
        """Where the avatar is, or was."""
        ...


class LoopPictures(Protocol):
    """What an avatar shows while it says nothing. An AvatarBundle is one: it shows its frames as they are.

    Its pictures are those of any other with the same `files`: encoded loops are kept by them.
    """

    @property
    def id(self) -> str:
        """The avatar's."""
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
        """Frame shown at a place of the loop (any int; wraps)."""
        ...

    def frame(self, frame_index: int) -> ImageArray:
        """A fresh uint8 RGB (height, width, 3) that the caller owns. Takes milliseconds. Raises BundleError."""
        ...

    def quieted(self, frame: ImageArray, frame_index: int, strength: float = 1.0) -> ImageArray:
        """The avatar's own frame with so much of what it shows in silence, changed in place."""
        ...

    def jpeg(self, frame_index: int) -> bytes | None:
        """The same picture as JPEG where that is at hand; None: it has to be made."""
        ...


@dataclass(frozen=True, slots=True)
class LoopPosition:
    """An idle picture: a place in an avatar's loop, so that transports may replay a cached encoding of it."""

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
    "frames since playout began; its audio begins at sample number * SAMPLES_PER_PICTURE"
    speaking: bool = False
    "a voice or a gesture may be heard: none of its sound may be left out or doubled"
    turn: int = 0
    "id of the turn it belongs to, 0 for none"
    loop_index: int = 0
    "where in the loop this picture is, speaking or idle; from the length of the loop on it is a gesture's"
    events: tuple[SessionEvent, ...] = ()
    "what becomes true when this frame is played"
    questions: tuple[str, ...] = ()
    "what the viewer asked, typed or spoken, since the frame before"


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words that a recogniser found in an utterance."""

    text: str
    "without space around it; empty if there are no words"
    language: str
    "ISO 639-1, empty if unknown"


class TurnState(enum.StrEnum):
    QUEUED = "queued"
    THINKING = "thinking"
    SPEAKING = "speaking"
    DONE = "done"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class TurnEvent:
    turn: int
    state: TurnState


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """Somebody speaks over a turn: its speech is held, or goes on from a little before where it was cut."""

    turn: int
    held: bool


@dataclass(frozen=True, slots=True)
class CutEvent:
    """How much of an answer was played at the viewer; told as it is interrupted."""

    turn: int
    played: int
    "characters of the answer's text, as UTF-16 counts them (browsers do)"


@dataclass(frozen=True, slots=True)
class GestureEvent:
    """The first picture of a gesture was released, or the one after its last."""

    name: str
    begins: bool


@dataclass(frozen=True, slots=True)
class TextEvent:
    """A piece of the assistant's answer as the language model streams it (for the chat column)."""

    turn: int
    delta: str


@dataclass(frozen=True, slots=True)
class SubtitleEvent:
    turn: int
    text: str
    start_s: float
    "on the media clock"
    end_s: float
    spoken: bool = True
    "False: no voice says it, it is only to be read; times are those of reading"


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """Something a person should know that is not an error of theirs, e.g. a sentence that no voice here can speak."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """What went wrong, as an error of ours has it."""

    code: str
    message: str
    hint: str = ""
    cause: str = ""
    "which of several things the code stands for"

    @classmethod
    def of(cls, error: VivavoceError) -> ErrorEvent:
        return cls(error.code, error.message, error.hint, error.cause)


@dataclass(frozen=True, slots=True)
class MetricsEvent:
    """Per-stage times of one turn."""

    turn: int
    stages_ms: dict[str, float] = field(default_factory=dict)
    "e.g. llm_first_token, first_sentence, first_audio, first_frame: milliseconds from the question"


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """What the viewer said, as far as it is recognised. A final one is asked next; a final empty one was nothing."""

    text: str
    "of the whole utterance; each event replaces the one before"
    final: bool
    language: str
    "ISO 639-1, empty if unknown"


class EarsState(enum.StrEnum):
    OFF = "off"
    LISTENING = "listening"
    HEARING = "hearing"
    RECOGNISING = "recognising"


@dataclass(frozen=True, slots=True)
class EarsEvent:
    """What the ears do now: nothing, wait for speech, hear some, or find out its words."""

    state: EarsState


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
