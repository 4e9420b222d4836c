"""The Protocols that backends implement. Callers read a backend's capabilities from its attributes, never by hasattr.

A backend is one file plus one row in `pipeline/rows/`. Its class can be built without arguments. The constructor is
cheap, and raises `BackendUnavailable(name, reason, hint)` if something that the backend needs is missing. The slow
part is `load()`: it blocks, and is called once, in a thread, before the first use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import Protocol, runtime_checkable

from avatars.bundle import AvatarBundle
from pipeline.transports.stats import TransportStats
from pipeline.types import (
    AudioChunk,
    FacePatch,
    FeatureWindow,
    FloatArray,
    LipSyncRequest,
    MediaFrame,
    Message,
    Transcript,
)

__all__ = [
    "EndOfTurnDetector",
    "FeatureExtractor",
    "FeatureStream",
    "LanguageModel",
    "LipSync",
    "Output",
    "SpeechRecognizer",
    "SpeechSynthesizer",
    "Transport",
    "VoiceActivityDetector",
    "VoiceActivityStream",
]


@runtime_checkable
class LanguageModel(Protocol):
    """Answers a conversation. All sessions share one instance."""

    name: str

    def load(self) -> None: ...

    def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        """Yield the answer to `messages` in pieces as they come. Cancelling the consumer stops the request.

        Raises LanguageModelError.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class SpeechSynthesizer(Protocol):
    """Speaks sentences: a voice. All sessions share one instance."""

    name: str
    sample_rate: int
    "Sample rate of the chunks in Hz; constant once the backend is loaded."
    streaming: bool
    "True if the first chunks come before the whole sentence is synthesized."
    phoneme_timing: bool
    "True if chunks carry phonemes."
    languages: frozenset[str]
    "ISO 639-1 codes of the languages it can speak now."
    voices: tuple[str, ...]
    "The voices it offers; the first is the default."
    online_voices: frozenset[str]
    "The voices, among `voices`, that send their text to a service over the network."
    speeds: tuple[float, float]
    "Slowest and fastest speed it can speak at, relative to its natural speed; (1, 1) if it has one speed only."

    def load(self) -> None: ...

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk, None]:
        """Speak one sentence. The last chunk has final=True.

        speed: relative to the natural speed, within `speeds`. Phoneme times match the sound as it is at that speed.
        Raises SpeechError, and LanguageNotSupported before the first chunk.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns speech into one FeatureWindow per picture. The model is shared; each turn has its own stream."""

    name: str
    lookahead_ms: float
    "Longest stretch of later audio, in ms, that a window waits for unless flush() is called."
    on_device: bool
    "True if its streams run a network; they are then used on the device thread only."

    def load(self, device: str) -> None:
        """Load the model. device: torch's name for it, e.g. cpu, cuda:0, mps."""
        ...

    def stream(self) -> FeatureStream: ...

    def close(self) -> None: ...


@runtime_checkable
class FeatureStream(Protocol):
    """The state of ONE stream of speech.

    The windows do not depend on how the speech is split into pieces. Push the 16 kHz chunks of one sentence, then call
    flush(). By then it has given exactly ceil(samples / 640) windows, and it is ready for the next sentence.
    """

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        """Take speech, and return the windows that are complete."""
        ...

    def flush(self) -> list[FeatureWindow]:
        """End the sentence, and return its remaining windows."""
        ...

    def reset(self) -> None:
        """Drop an unfinished sentence."""
        ...


@runtime_checkable
class LipSync(Protocol):
    """Draws mouths. Everything except the constructor and prepared_from() is called on one thread only.

    Without a network (`on_device` is False), prepare() may run on another thread, at the same time as infer().
    """

    name: str
    features: str
    "Registry name of the FeatureExtractor that it needs."
    max_batch: int
    on_device: bool
    "True: a network that shares its device's thread with others. False: runs on a thread that no network ever blocks."
    draws_rest: bool
    "True: it also draws the resting mouth. False: it draws nothing in silence, and its mouths are faded in and out."

    def load(self, device: str) -> None:
        """Load the model. device: torch's name for it, e.g. cpu, cuda:0, mps.

        Raises BackendUnavailable if the weights are damaged or another network's, or if the device is absent or full.
        """
        ...

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """Return a key for the files that prepare() would read. A state made under another key is out of date.

        Takes milliseconds. It is called before load(), which may take a minute. Raises NetworkMissing, BundleError, and
        AvatarNotPrepared if the avatar has not been prepared for this backend.
        """
        ...

    def prepare(self, bundle: AvatarBundle) -> object:
        """Return whatever infer() needs of that avatar. The engine keeps it and shares it between sessions.

        It must not depend on the avatar's name or owner, because it is kept when these change.

        Raises AvatarNotPrepared, NetworkMissing, BundleError, and BackendUnavailable if an avatar's own network is
        damaged.
        """
        ...

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """Return one patch per request, in order. Requests may mix sessions and avatars.

        Raises DeviceOutOfMemory if a smaller batch may fit.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class VoiceActivityDetector(Protocol):
    """Tells speech from other sound. The network is shared; each microphone has its own stream."""

    name: str

    def load(self) -> None: ...

    def stream(self) -> VoiceActivityStream: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class VoiceActivityStream(Protocol):
    """The state of ONE microphone. Used by one thread at a time."""

    def push(self, window: FloatArray) -> float:
        """Return the probability, 0 to 1, of speech in the next window: (512,) float32 at 16 kHz. Takes under 1 ms."""
        ...

    def reset(self) -> None:
        """Forget what was heard, because the next window does not follow it."""
        ...


@runtime_checkable
class EndOfTurnDetector(Protocol):
    """Judges whether a speaker who pauses has finished. It is asked once per pause, on a thread."""

    name: str

    def load(self) -> None: ...

    def probability(self, samples: FloatArray) -> float:
        """Return the probability, 0 to 1, that the speaker is done.

        samples: (n,) float32 at 16 kHz: the end of the speech, with the pause. Only the last 8 s are used.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class SpeechRecognizer(Protocol):
    """Finds the words in speech. All sessions share one instance."""

    name: str
    languages: frozenset[str]
    "ISO 639-1 codes of the languages it understands."
    at_once: int
    "Number of utterances it works on at a time; callers hold back the rest."
    partial: bool
    "True while it is fast enough to be asked repeatedly as somebody speaks."

    def load(self) -> None: ...

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """Return the words of one utterance; the text is empty if there are none.

        samples: (n,) float32 at 16 kHz, 30 s at most.
        language: ISO 639-1; with None the recogniser detects the language, which takes longer.
        Raises RecognitionError.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Output(Protocol):
    """Takes the MediaFrames of a session: a transport, a recording, a push and the like.

    One clock drives all outputs of a session, so neither method ever waits. An output queues what it cannot take at
    once. Its queue is bounded, and each output documents what it drops when that is full.
    """

    name: str
    "Name shown to people, e.g. webrtc or recording."

    def send(self, frame: MediaFrame) -> None:
        """Take one frame. Called 25 times a second, with rising numbers. If it raises, only this output ends."""
        ...

    def flush(self) -> None:
        """Drop the queued frames that have not left yet, after an interrupt."""
        ...

    async def aclose(self) -> None:
        """Close the output and drop its queue. Idempotent. Called by the session that the output was attached to."""
        ...


@runtime_checkable
class Transport(Output, Protocol):
    """An output that carries frames to a viewer.

    It queues 200 ms of pictures. Beyond that it drops the oldest picture and counts it; the sound is kept.
    """

    def stats(self) -> TransportStats:
        """Return counts since the transport was made. They never fall, not even after aclose()."""
        ...
