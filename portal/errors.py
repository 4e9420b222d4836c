"""Errors of the portal itself, beside those of the engine (`pipeline.errors`) and of avatars (`avatars.errors`).

VivavoceError          the root: models/errors.py
├── AddressFull        viewers from this address have as many places as one address may have (an AtCapacity)
├── PortalStops        this portal is about to end, and takes no new sessions (an AtCapacity)
├── QueueFull          too many jobs wait already
├── DatabaseUnreachable  the database of jobs, on Postgres, does not answer
├── DatabaseTaken      it keeps the jobs of another data folder
├── WorkerLeftOut      a worker that must not have jobs from that database; told in its log
├── JobNotFound        no job of that id
├── JobUnfinished      a job that was waited for ended without a result
├── RecordingNotFound  no recording of that id
├── SessionNotFound    no session of that id that is driven by requests
│   └── PeerNotFound   no peer connection of that id
├── UploadTooLarge     an upload is over the limit; found while reading, not after
└── UnsupportedMedia   the bytes of an upload are no picture, clip or sound that we know

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
    """Starting it again does not help: somebody has to bring it up to date."""


class JobNotFound(VivavoceError, code="job_not_found", http_status=404): ...


class JobUnfinished(VivavoceError, code="job_unfinished", http_status=409):
    """With the message and the hint of the job's own error."""


class ErasureUnfinished(VivavoceError, code="erasure_unfinished", http_status=503):
    """The rest is erased without being asked for again."""


class RecordingNotFound(VivavoceError, code="recording_not_found", http_status=404): ...


class SessionNotFound(VivavoceError, code="session_not_found", http_status=404): ...


class PeerNotFound(SessionNotFound):
    """A connection by which such a session was watched has ended."""


class UploadTooLarge(VivavoceError, code="upload_too_large", http_status=413, retryable=False): ...


class UnsupportedMedia(VivavoceError, code="unsupported_media", http_status=415, retryable=False): ...


class AvatarBeingPrepared(AvatarNotPrepared):
    """`job` is the id of the job that prepares it."""

    def __init__(self, avatar: str, backend: str, job: str) -> None:
        super().__init__(avatar, backend)
        self.hint = "It is being prepared now; start again when that job is done."
        self.job = job
