"""The root of all errors that Vivavoce raises on purpose, and the errors of network weights.

VivavoceError                code, message, hint, cause: can be shown to a person
├── WeightsError             errors of network weights
│   ├── WeightsMissing       a file is not in the weights folder
│   ├── WeightsDamaged       truncated, no weights file at all, or one that would run code
│   ├── WrongArchitecture    the tensors in the file belong to another network
│   └── DownloadFailed       no network, a refusal by the server, or a file that is not the published one
├── AvatarError              errors of making and storing avatars: avatars/errors.py
└── ...                      of the engine: pipeline/errors.py; of the portal: portal/errors.py

The root is here because every layer may import models, and models imports none of them.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = [
    "DownloadFailed",
    "VivavoceError",
    "WeightsDamaged",
    "WeightsError",
    "WeightsMissing",
    "WrongArchitecture",
    "kinds_of_errors",
]


class VivavoceError(Exception):
    """Base of all our errors: `message` names the cause, `hint` the remedy, `code` is stable for programs.

    `cause`: tells apart several cases with the same code, e.g. for translation. It is stable, and often empty.
    A class declares what differs from its base: `class NotThere(VivavoceError, code="not_there", http_status=404): ...`
    """

    code = "error"
    http_status = 500
    "status of an HTTP answer that reports it; 500 means the fault is ours"
    retryable = True
    "whether the same request may succeed later; False: the input is at fault"

    def __init_subclass__(cls, *, code: str = "", http_status: int = 0, retryable: bool | None = None) -> None:
        super().__init_subclass__()
        cls.code = code or cls.code
        cls.http_status = http_status or cls.http_status
        cls.retryable = cls.retryable if retryable is None else retryable

    def __init__(self, message: str, hint: str = "", *, cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def kinds_of_errors() -> Iterator[type[VivavoceError]]:
    """Yield every error class in the loaded modules, the root first."""
    waiting: list[type[VivavoceError]] = [VivavoceError]
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += kind.__subclasses__()


class WeightsError(VivavoceError, code="weights_error"): ...


class WeightsMissing(WeightsError, code="weights_missing"): ...


class WeightsDamaged(WeightsError, code="weights_damaged"): ...


class WrongArchitecture(WeightsError, code="wrong_architecture"): ...


class DownloadFailed(WeightsError, code="download_failed"): ...
