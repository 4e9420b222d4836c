"""Errors of the engine.

VivavoceError                 the root: models/errors.py
├── BackendUnavailable        the chosen backend cannot run here (missing package, weights, network)
├── UnknownBackend            no such name in the registry
├── DeviceOutOfMemory         a batch was too large for the device; reported only if a single picture is
├── NetworkOverflow           a network's output was not finite: its float type is too small for it
├── AtCapacity                no room for another session now
├── SessionClosed             the session has ended
├── BadRequest                malformed or unknown message, oversized text
│   └── BadSignalling         an SDP offer or an ICE candidate that cannot be used
├── NoUdpPort                 no port is free for another WebRTC connection
├── AskedTooOften             a viewer asks the language model more often than allowed
├── SpeechError               the speech synthesizer failed or hung on a sentence
│   └── LanguageNotSupported  no reachable voice speaks the language of the sentence
├── RecognitionError          an utterance could not be recognised
│   └── EarsBusy              too many utterances wait for the recogniser
├── LanguageModelError        the language model failed or hung
├── NotSigned                 a clip or a recording exists, but without the signature that it should have
├── NotMarked                 a clip exists, but without the mark that its sound should have
└── RenderError               an offline rendering failed
"""

from __future__ import annotations

from models.errors import VivavoceError

__all__ = [
    "AskedTooOften",
    "AtCapacity",
    "BackendUnavailable",
    "BadRequest",
    "BadSignalling",
    "DeviceOutOfMemory",
    "EarsBusy",
    "LanguageModelError",
    "LanguageNotSupported",
    "NetworkOverflow",
    "NoUdpPort",
    "NotSigned",
    "RecognitionError",
    "RenderError",
    "SessionClosed",
    "SpeechError",
    "UnknownBackend",
]


class BackendUnavailable(VivavoceError, code="backend_unavailable", http_status=503):
    """Raised when a backend is chosen or loaded, never in the middle of a turn."""

    def __init__(self, name: str, reason: str = "", hint: str = "") -> None:
        super().__init__(f"The backend '{name}' cannot run here{': ' + reason if reason else ''}.", hint)
        self.name = name


class UnknownBackend(VivavoceError, code="unknown_backend", http_status=404): ...


class DeviceOutOfMemory(VivavoceError, code="device_out_of_memory"): ...


class NetworkOverflow(VivavoceError, code="network_overflow"): ...


class AtCapacity(VivavoceError, code="at_capacity", http_status=503): ...


class SessionClosed(VivavoceError, code="session_closed", http_status=410): ...


class BadRequest(VivavoceError, code="bad_request", http_status=400, retryable=False): ...


class BadSignalling(BadRequest, code="bad_signalling"): ...


class NoUdpPort(VivavoceError, code="no_udp_port", http_status=503):
    """No UDP port is free. The session goes on over its socket, so the viewer loses nothing."""


class AskedTooOften(VivavoceError, code="too_often", http_status=429): ...


class SpeechError(VivavoceError, code="speech_failed", http_status=502): ...


class LanguageNotSupported(SpeechError, code="language_not_supported"): ...


class RecognitionError(VivavoceError, code="recognition_failed"):
    """An utterance was not recognised. The conversation goes on, and the next one may be."""


class EarsBusy(RecognitionError, code="ears_busy"): ...


class LanguageModelError(VivavoceError, code="language_model_failed"):
    """message and hint are for a viewer, who need not know where the model runs; `detail` is for the log.

    retryable: whether the same question may be answered a moment later.
    """

    def __init__(self, message: str, hint: str = "", detail: str = "", *, retryable: bool = True) -> None:
        super().__init__(message, hint)
        self.detail = detail
        self.retryable = retryable


class NotSigned(VivavoceError, code="not_signed"):
    """A file is not signed. It is kept, and is otherwise complete."""


class NotMarked(VivavoceError, code="not_marked"):
    """The sound of a file is not marked. The file is kept, and is otherwise complete."""


class RenderError(VivavoceError, code="render_failed"):
    """code: code of the cause if it has its own, e.g. of a voice's failure; it is then reported as in a session."""

    def __init__(self, message: str, hint: str = "", code: str = "", *, cause: str = "") -> None:
        super().__init__(message, hint, cause=cause)
        self.code = code or self.code
