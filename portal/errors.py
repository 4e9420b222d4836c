"""Errors of the portal itself, in addition to those of the engine (`pipeline.errors`) and avatars (`avatars.errors`).

VivavoceError          the root: models/errors.py
├── AddressFull        viewers from this address have as many places as one address may have (an AtCapacity)
├── PortalStops        this portal is about to end, and takes no new sessions (an AtCapacity)
├── QueueFull          too many jobs wait already
├── DatabaseUnreachable  the database of jobs, on Postgres, does not answer
├── DatabaseTaken      that database already keeps the jobs of another data folder
├── WorkerLeftOut      this worker must not take jobs from that database; said in its log
├── JobNotFound        there is no job with this id
├── JobUnfinished      a job that was waited for ended without a result
├── ErasureUnfinished  an avatar is erased, and the rest made from it follows later
├── RecordingNotFound  there is no recording with this id
├── SessionNotFound    there is no session with this id that is driven by requests
│   └── PeerNotFound   there is no peer connection with this id
├── UploadTooLarge     an upload is over the limit; raised while it is still being read
└── UnsupportedMedia   the bytes of an upload are no picture, clip or sound that we can read

AvatarNotPrepared
└── AvatarBeingPrepared  a lip-sync backend needs more of the avatar, and a job is making it
"""

from __future__ import annotations

from avatars.errors import AvatarNotPrepared
from models.errors import VivavoceError
from pipeline.errors import AtCapacity

__all__ = [
    "AddressFull",
    "AvatarBeingPrepared",
    "DatabaseTaken",
    "DatabaseUnreachable",
    "ErasureUnfinished",
    "JobNotFound",
    "JobUnfinished",
    "OtherCode",
    "PeerNotFound",
    "PortalStops",
    "QueueFull",
    "RecordingNotFound",
    "SessionNotFound",
    "UnsupportedMedia",
    "UploadTooLarge",
    "WorkerLeftOut",
]


class AddressFull(AtCapacity, code="too_many", http_status=429): ...


class PortalStops(AtCapacity, code="portal_stops", http_status=503):
    def __init__(self) -> None:
        super().__init__("This portal is about to stop.", "Try again in a minute.")


class QueueFull(VivavoceError, code="queue_full", http_status=429): ...


class DatabaseUnreachable(VivavoceError, code="database_unreachable", http_status=503): ...


class DatabaseTaken(VivavoceError, code="database_taken", http_status=503, retryable=False): ...


class WorkerLeftOut(VivavoceError, code="worker_left_out"): ...


class OtherCode(WorkerLeftOut):
    """The worker runs other code than the portal. Restarting it does not help: somebody has to update it."""


class JobNotFound(VivavoceError, code="job_not_found", http_status=404): ...


class JobUnfinished(VivavoceError, code="job_unfinished", http_status=409):
    """A job that was waited for ended without a result. Message and hint are those of the job's own error."""


class ErasureUnfinished(VivavoceError, code="erasure_unfinished", http_status=503):
    """An avatar is erased, but not yet everything made from it. The portal erases the rest by itself later."""


class RecordingNotFound(VivavoceError, code="recording_not_found", http_status=404): ...


class SessionNotFound(VivavoceError, code="session_not_found", http_status=404): ...


class PeerNotFound(SessionNotFound):
    """The connection by which a session was watched has ended or never existed."""


class UploadTooLarge(VivavoceError, code="upload_too_large", http_status=413, retryable=False): ...


class UnsupportedMedia(VivavoceError, code="unsupported_media", http_status=415, retryable=False): ...


class AvatarBeingPrepared(AvatarNotPrepared):
    """A lip-sync backend needs more parts of the avatar, and they are being made. job: id of the job that does so."""

    def __init__(self, avatar: str, backend: str, job: str) -> None:
        super().__init__(avatar, backend)
        self.hint = "It is being prepared now; start again when that job is done."
        self.job = job
