"""Errors of network weights. Same shape as `pipeline.errors.VivavoceError`: code, message, hint.

WeightsError
├── WeightsMissing      a file is not in the weights folder
├── WeightsDamaged      truncated, no weights file at all, or one that wants to run code
├── WrongArchitecture   the tensors in the file are not those of the network it was taken for
└── DownloadFailed      no network, the server refuses, or what came is not what was published
"""

from __future__ import annotations

__all__ = ["DownloadFailed", "WeightsDamaged", "WeightsError", "WeightsMissing", "WrongArchitecture"]


class WeightsError(Exception):
    code = "weights_error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class WeightsMissing(WeightsError):
    code = "weights_missing"


class WeightsDamaged(WeightsError):
    code = "weights_damaged"


class WrongArchitecture(WeightsError):
    code = "wrong_architecture"


class DownloadFailed(WeightsError):
    code = "download_failed"
