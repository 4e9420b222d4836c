"""The Protocols that backends implement. Capabilities are attributes that callers read; nobody probes with hasattr.

A backend is one file plus one row in `pipeline/rows/`. Its class is built without required arguments; the
constructor is cheap and raises `BackendUnavailable(name, reason, hint)` when something it needs is missing. `load()`
does the slow part (blocking; called in a thread, once, before the first use).
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
    name: str
    sample_rate: int
    "Hz of the chunks; constant for a loaded backend"
    streaming: bool
    "True if chunks come before the whole sentence is synthesized"
    phoneme_timing: bool
    "True if chunks carry phonemes"
    languages: frozenset[str]
    "ISO 639-1 codes it can speak now"
    voices: tuple[str, ...]
    "first is the default"
    online_voices: frozenset[str]
    "those of them that need a network: what they speak is sent to a service"
    speeds: tuple[float, float]
    "the slowest and the fastest it can speak, in times as fast as by itself; (1, 1): it has one speed"

    def load(self) -> None: ...

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk, None]:
        """Speak one sentence. The last chunk has final=True.

        speed: within `speeds`. Phonemes have the times of the sound as it is.
        Raises SpeechError, LanguageNotSupported (before the first chunk).
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns speech into one FeatureWindow a picture: the shared model, of which each turn has a stream of its own."""

    name: str
    lookahead_ms: float
    "how much later audio a window waits for at most, when nobody flushes"
    on_device: bool
    "True: its streams run a network, and are used on the device thread only"

    def load(self, device: str) -> None:
        """device: torch's name of it, e.g. cpu, cuda:0, mps."""
        ...

    def stream(self) -> FeatureStream: ...

    def close(self) -> None: ...


@runtime_checkable
class FeatureStream(Protocol):
    """The state of ONE stream of speech.

    Fed in pieces of any size it gives the same windows as fed in one go. Push 16 kHz chunks of one sentence, then
    flush(): it has then given exactly ceil(samples / 640) windows, and is ready for the next sentence.
    """

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]: ...

    def flush(self) -> list[FeatureWindow]: ...

    def reset(self) -> None: ...


@runtime_checkable
class LipSync(Protocol):
    """Draws mouths. All but the constructor and prepared_from() is called on one thread only."""

    name: str
    features: str
    "registry name of the FeatureExtractor it eats"
    max_batch: int
    on_device: bool
    "True: a network, on its device's thread with the others there. False: on a thread that no network ever holds up"
    draws_rest: bool
    "True: draws the resting mouth itself. False: in silence it is not asked, and its mouths are faded in and out"

    def load(self, device: str) -> None:
        """device: torch's name of it, e.g. cpu, cuda:0, mps.

        Raises BackendUnavailable: damaged weights, another network's, a device that is absent or full.
        """
        ...

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """What prepare() would read, told apart from what was there before: state made from other is out of date.

        Takes milliseconds, and comes before load(), which may take a minute. Raises AvatarNotPrepared if the avatar has
        not been prepared for this backend, NetworkMissing, BundleError.
        """
        ...

    def prepare(self, bundle: AvatarBundle) -> object:
        """Whatever infer() needs of that avatar; kept by the engine, shared by its sessions.

        Raises AvatarNotPrepared, NetworkMissing, BundleError, BackendUnavailable (an avatar's own network is damaged).
        """
        ...

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """One patch a request, in order. Requests may mix sessions and avatars.

        Raises DeviceOutOfMemory when a smaller batch may fit.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class VoiceActivityDetector(Protocol):
    """Tells speech from other sound: the shared network, of which each microphone has a stream of its own."""

    name: str

    def load(self) -> None: ...

    def stream(self) -> VoiceActivityStream: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class VoiceActivityStream(Protocol):
    """The state of ONE microphone. Used by one thread at a time."""

    def push(self, window: FloatArray) -> float:
        """How likely somebody speaks, 0 to 1, in the next (512,) float32 samples at 16 kHz. Takes under 1 ms."""
        ...

    def reset(self) -> None:
        """Forget what was heard: what comes next does not follow it."""
        ...


@runtime_checkable
class EndOfTurnDetector(Protocol):
    """Says whether somebody who pauses has said all. It is asked once per pause, on a thread."""

    name: str

    def load(self) -> None: ...

    def probability(self, samples: FloatArray) -> float:
        """How likely the speaker is done, 0 to 1.

        samples: (n,) float32 at 16 kHz, the end of what was said with its pause; older than 8 s is not looked at.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class SpeechRecognizer(Protocol):
    """Finds the words in speech. One is shared by all sessions."""

    name: str
    languages: frozenset[str]
    "ISO 639-1 codes of what it understands"
    at_once: int
    "how many utterances it works on at one time; more wait outside"
    partial: bool
    "True while it is quick enough to be asked again and again as somebody speaks"

    def load(self) -> None: ...

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """The words of one utterance; an empty text if there are none.

        samples: (n,) float32 at 16 kHz, 30 s at most. language: ISO 639-1; None: finds it out, which takes longer.
        Raises RecognitionError.
        """
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Output(Protocol):
    """Takes the MediaFrames of a session: a transport, a recording, a push and the like.

    One clock serves all outputs of a session, so neither method ever waits. What an output cannot take at once waits in
    its own bounded queue, and the output says what it gives up when that is full.
    """

    name: str
    "for people, e.g. webrtc or recording"

    def send(self, frame: MediaFrame) -> None:
        """Take one frame. Called 25 times a second, numbers rising. Whatever it raises ends this output only."""
        ...

    def flush(self) -> None:
        """Forget queued frames that have not left yet (an interrupt)."""
        ...

    async def aclose(self) -> None:
        """Give up what waits. Idempotent. Called by the session that the output was attached to."""
        ...


@runtime_checkable
class Transport(Output, Protocol):
    """An output that carries frames to a viewer.

    It holds 200 ms of pictures. Beyond that the oldest is dropped and counted; its sound is kept.
    """

    def stats(self) -> TransportStats:
        """Counts since it was made; they never fall, also after aclose()."""
        ...
