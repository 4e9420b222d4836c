"""Errors of the portal itself, beside those of the engine (`pipeline.errors`) and of avatars (`avatars.errors`).

VivavoceError
├── AddressFull        viewers from this address have as many places as one address may have (an AtCapacity)
├── QueueFull          too many jobs wait already
├── JobNotFound        no job of that id
├── UploadTooLarge     an upload is over the limit; found while reading, not after
├── UnsupportedMedia   the bytes of an upload are no picture, clip or sound that we know
└── DiskFull           no room left to store an upload or a result

AvatarNotPrepared
└── AvatarBeingPrepared  a lip-sync backend needs more of the avatar, and a job is making it
"""

from __future__ import annotations

from avatars.errors import AvatarNotPrepared
from pipeline.errors import AtCapacity, VivavoceError

__all__ = [
    "AddressFull",
    "AvatarBeingPrepared",
    "DiskFull",
    "JobNotFound",
    "QueueFull",
    "UnsupportedMedia",
    "UploadTooLarge",
]


class AddressFull(AtCapacity):
    code = "too_many"


class QueueFull(VivavoceError):
    code = "queue_full"


class JobNotFound(VivavoceError):
    code = "job_not_found"


class UploadTooLarge(VivavoceError):
    code = "upload_too_large"


class UnsupportedMedia(VivavoceError):
    code = "unsupported_media"


class DiskFull(VivavoceError):
    code = "disk_full"


class AvatarBeingPrepared(AvatarNotPrepared):
    """`job` is the id of the job that prepares it."""

    def __init__(self, avatar: str, backend: str, job: str) -> None:
        super().__init__(avatar, backend)
        self.hint = "It is being prepared now; start again when that job is done."
        self.job = job
