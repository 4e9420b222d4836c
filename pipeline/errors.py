"""Every error that Vivavoce raises on purpose.

    VivavoceError                 code, message, hint: fit to be shown to a person
    ├── BackendUnavailable        a backend was chosen that cannot run here (missing package, weights, network)
    ├── UnknownBackend            no such name in the registry
    ├── DeviceOutOfMemory         a batch was too large for the device; told only if a single picture is
    ├── NetworkOverflow           a network drew no numbers: its float type is too small for it
    ├── AtCapacity                no room for another session now
    ├── SessionClosed             the session has ended
    ├── BadRequest                malformed or unknown message, oversized text
    │   └── BadSignalling         an SDP offer or an ICE candidate that cannot be used
    ├── AskedTooOften      a session asks the language model more often than it may
    ├── SpeechError               the speech synthesizer failed or hung on a sentence
    │   └── LanguageNotSupported  no reachable voice speaks the language of the sentence
    ├── LanguageModelError        the language model failed or hung
    └── RenderError               an offline rendering could not be made

Errors about pictures and bundles are drawn in `avatars/errors.py`; they are VivavoceError-shaped (code, message,
hint) without importing this module, because avatars may not import pipeline.
"""

from __future__ import annotations

__all__ = [
    "AskedTooOften",
    "AtCapacity",
    "BackendUnavailable",
    "BadRequest",
    "BadSignalling",
    "DeviceOutOfMemory",
    "LanguageModelError",
    "LanguageNotSupported",
    "NetworkOverflow",
    "RenderError",
    "SessionClosed",
    "SpeechError",
    "UnknownBackend",
    "VivavoceError",
]


class VivavoceError(Exception):
    """Base of all our errors: `message` names the cause, `hint` the remedy, `code` is stable for programs.

    `cause`: which of several a code stands for, for who tells it in another language; stable, often empty.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "", *, cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BackendUnavailable(VivavoceError):
    """Raised when a backend is chosen, never in the middle of a turn."""

    code = "backend_unavailable"

    def __init__(self, name: str, reason: str = "", hint: str = "") -> None:
        super().__init__(f"The backend '{name}' cannot run here{': ' + reason if reason else ''}.", hint)
        self.name = name


class UnknownBackend(VivavoceError):
    code = "unknown_backend"


class DeviceOutOfMemory(VivavoceError):
    code = "device_out_of_memory"


class NetworkOverflow(VivavoceError):
    code = "network_overflow"


class AtCapacity(VivavoceError):
    code = "at_capacity"


class SessionClosed(VivavoceError):
    code = "session_closed"


class BadRequest(VivavoceError):
    code = "bad_request"


class BadSignalling(BadRequest):
    code = "bad_signalling"


class AskedTooOften(VivavoceError):
    code = "too_often"


class SpeechError(VivavoceError):
    code = "speech_failed"


class LanguageNotSupported(SpeechError):
    code = "language_not_supported"


class LanguageModelError(VivavoceError):
    """message and hint are for a viewer, who neither knows nor should know where the model runs; `detail` is for the
    log.
    """

    code = "language_model_failed"

    def __init__(self, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint)
        self.detail = detail


class RenderError(VivavoceError):
    """`code` where something has a code of its own: what the voice could not do, say, is told as in a session."""

    code = "render_failed"

    def __init__(self, message: str, hint: str = "", code: str = code, *, cause: str = "") -> None:
        super().__init__(message, hint, cause=cause)
        self.code = code
