"""What a kind of job is made of: a recipe, its steps, and the work that they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.library import AvatarLibrary
from portal.jobs.queue import JobQueue
from portal.jobs.records import JobFolders, JobInputs

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["JobCancelled", "JobFailed", "JobWork", "Recipe", "Step"]


class JobFailed(Exception):
    """A step's failure. Its `data` is kept as JSON and becomes a JobFailure in the portal."""

    def __init__(
        self, code: str, message: str, hint: str, report: Mapping[str, object] | None = None, cause: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.data = {"code": code, "message": message, "hint": hint, "report": report, "cause": cause}


class JobCancelled(Exception):
    """Raised through a running step by its progress callback."""


@dataclass(frozen=True, slots=True)
class JobWork:
    """What a step is given."""

    id: str
    inputs: JobInputs
    settings: Settings
    folders: JobFolders
    library: AvatarLibrary
    progress: Callable[[float], None]
    "takes 0..1 of this step; raises when the job was cancelled, so call it often"

    @property
    def upload(self) -> Path:
        """The uploaded file. Raises JobFailed when it is gone."""
        path = self.folders.upload(self.id)
        if path is None:
            raise JobFailed("upload_gone", "The uploaded file is gone.", "Upload it again.")
        return path

    @property
    def folder(self) -> Path:
        """Where steps hand files on. What a step puts there it puts there whole, by renaming."""
        path = self.folders.work(self.id)
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a job: safe to run twice, never run again once it has returned."""

    name: str
    weight: float
    "its share of the whole time"
    run: Callable[[JobWork], object]
    "gives JSON; that of the last step is the result of the job"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kind of job is done."""

    kind: str
    steps: Sequence[Step]
    then: Callable[[JobWork, JobQueue], None] = lambda work, queue: None
    "what to submit after success; may be called twice"
