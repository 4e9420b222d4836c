"""Errors of making and keeping avatars.

AvatarError            (a VivavoceError: models/errors.py)
├── AvatarNotFound     there is no avatar with that id
├── AvatarNotPrepared  the avatar lacks the parts that a lip-sync backend needs (boxes, masks, latents)
├── GestureNotFound    the avatar has no gesture of that name
├── VoiceSampleNotFound  the avatar has no voice sample
├── NoRealMouths       the avatar was to speak with the person's own mouths, but has none
├── NetworkMissing     a lip-sync backend needs one network per avatar, and this avatar has none
├── BundleError        a bundle on disk is damaged, foreign or of another version
├── StoreUnreachable   the store that several machines share cannot be used
├── DiskFull           the disk has no room for what is being made
├── BadImport          a foreign avatar is damaged, hostile or has an unknown layout
├── BadParameters      parameters of boxes and masks do not fit, or leave nothing of a face
├── BadMedia           the upload is no picture or clip that we can read, or is over a limit
├── FaceFinderMissing  MediaPipe cannot be loaded, most often because the system lacks a library
└── FaceNotFound       no usable face: none, too small, too far turned (the report: `avatars.prepare.report_strip`)
"""

from __future__ import annotations

from models.errors import VivavoceError

__all__ = [
    "AvatarError",
    "AvatarNotFound",
    "AvatarNotPrepared",
    "BadImport",
    "BadMedia",
    "BadParameters",
    "BundleError",
    "DiskFull",
    "FaceFinderMissing",
    "FaceNotFound",
    "GestureNotFound",
    "NetworkMissing",
    "NoRealMouths",
    "StoreUnreachable",
    "VoiceSampleNotFound",
]


class AvatarError(VivavoceError, code="avatar_error"): ...


class AvatarNotFound(AvatarError, code="avatar_not_found", http_status=404, retryable=False): ...


class AvatarNotPrepared(AvatarError, code="avatar_not_prepared", http_status=409):
    def __init__(self, avatar: str, backend: str) -> None:
        super().__init__(
            f"The avatar '{avatar}' is not prepared for {backend} yet.",
            f"Prepare it on the page, or with: python launch.py prepare {avatar} --for {backend}",
        )
        self.avatar = avatar
        self.backend = backend


class GestureNotFound(AvatarError, code="gesture_not_found", http_status=404, retryable=False): ...


class VoiceSampleNotFound(AvatarError, code="voice_sample_not_found", http_status=404, retryable=False): ...


class NoRealMouths(AvatarError, code="no_real_mouths", http_status=409, retryable=False): ...


class NetworkMissing(AvatarError, code="network_missing", http_status=409):
    def __init__(self, avatar: str, backend: str) -> None:
        super().__init__(
            f"The avatar '{avatar}' has no network of its own for {backend}.",
            f"Import it from LiveTalking's folder, or put its file of weights at data/avatars/{avatar}/parts/"
            f"{backend}.pth.",
        )


class BundleError(AvatarError, code="bundle_damaged"): ...


class StoreUnreachable(AvatarError, code="store_unreachable", http_status=503): ...


class DiskFull(AvatarError, code="disk_full", http_status=507): ...


class BadImport(AvatarError, code="bad_import", http_status=422, retryable=False): ...


class BadMedia(AvatarError, code="bad_media", http_status=422, retryable=False): ...


class BadParameters(AvatarError, code="bad_parameters", http_status=400, retryable=False): ...


class FaceFinderMissing(AvatarError, code="face_finder_missing", http_status=503):
    def __init__(self, reason: object) -> None:
        super().__init__(
            f"No face can be found: MediaPipe cannot be loaded ({reason}).",
            "The operator has to install what is missing. On Debian and Ubuntu: apt install libegl1 libgles2",
        )


class FaceNotFound(AvatarError, code="no_face", http_status=422, retryable=False): ...
