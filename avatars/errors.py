"""Errors of avatar making and keeping. Same shape as `pipeline.errors.VivavoceError`: code, message, hint.

AvatarError
├── AvatarNotFound     no avatar of that id
├── AvatarNotPrepared  the avatar lacks what a lip-sync backend needs of it (boxes, masks, latents)
├── NetworkMissing     a lip-sync backend has one network an avatar, and nobody has trained this one's
├── BundleError        a bundle on disk is damaged, foreign or of another version
├── DiskFull           no room left for what is being made
├── BadImport          a peer's avatar that is damaged, hostile or of no layout that we know
├── BadParameters      parameters of boxes and masks that do not fit, or leave nothing of a face
├── BadMedia           the upload is no picture or clip that we can read, or is over a limit
└── FaceNotFound       no usable face: none, too small, too far turned (the report: `avatars.prepare.report_strip`)
"""

from __future__ import annotations

__all__ = [
    "AvatarError",
    "AvatarNotFound",
    "AvatarNotPrepared",
    "BadImport",
    "BadMedia",
    "BadParameters",
    "BundleError",
    "DiskFull",
    "FaceNotFound",
    "NetworkMissing",
]


class AvatarError(Exception):
    """`cause`: which of several things `code` stands for, as in `pipeline.errors.VivavoceError`."""

    code = "avatar_error"

    def __init__(self, message: str, hint: str = "", *, cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class AvatarNotFound(AvatarError):
    code = "avatar_not_found"


class AvatarNotPrepared(AvatarError):
    code = "avatar_not_prepared"

    def __init__(self, avatar: str, backend: str) -> None:
        super().__init__(
            f"The avatar '{avatar}' is not prepared for {backend} yet.",
            f"Prepare it on the page, or with: python launch.py prepare {avatar} --for {backend}",
        )
        self.avatar = avatar
        self.backend = backend


class NetworkMissing(AvatarError):
    code = "network_missing"

    def __init__(self, avatar: str) -> None:
        super().__init__(
            f"The avatar '{avatar}' has no network of its own for Ultralight.",
            f"Import it from LiveTalking's folder, or put its file of weights at data/avatars/{avatar}/parts/"
            "ultralight.pth.",
        )


class BundleError(AvatarError):
    code = "bundle_damaged"


class DiskFull(AvatarError):
    code = "disk_full"


class BadImport(AvatarError):
    code = "bad_import"


class BadMedia(AvatarError):
    code = "bad_media"


class BadParameters(AvatarError):
    code = "bad_parameters"


class FaceNotFound(AvatarError):
    code = "no_face"
