"""The parts that make up a kind of job: a recipe, its steps, and the work that steps are given."""

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
    """The failure of a step. `data` is stored as JSON and becomes a JobFailure in the portal."""

    def __init__(
        self, code: str, message: str, hint: str, report: Mapping[str, object] | None = None, cause: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.data = {"code": code, "message": message, "hint": hint, "report": report, "cause": cause}

    def __reduce__(self) -> tuple[type[JobFailed], tuple[object, ...]]:
        """Rebuild it from all its parts. DBOS pickles the error of a step, for a worker that goes on after a crash."""
        return type(self), tuple(self.data.values())


class JobCancelled(Exception):
    """The job was cancelled. The progress callback raises this inside a running step."""


@dataclass(frozen=True, slots=True)
class JobWork:
    """What a step works with."""

    id: str
    inputs: JobInputs
    settings: Settings
    folders: JobFolders
    library: AvatarLibrary
    progress: Callable[[float], None]
    "takes the step's progress, 0..1; raises JobCancelled if the job was cancelled, so call it often"

    @property
    def upload(self) -> Path:
        """The uploaded file. Raises JobFailed if it is gone."""
        path = self.folders.upload(self.id)
        if path is None:
            raise JobFailed("upload_gone", "The uploaded file is gone.", "Upload it again.")
        return path

    @property
    def folder(self) -> Path:
        """The folder for files that one step hands on to the next.

        A step writes under another name and then renames, so that whatever is there is complete.
        """
        path = self.folders.work(self.id)
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a job. It must be safe to run twice, because it is run again unless it has finished."""

    name: str
    weight: float
    "its share of the job's time, relative to the other steps"
    run: Callable[[JobWork], object]
    "returns JSON; the last step's is the result of the job"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps of a kind of job."""

    kind: str
    steps: Sequence[Step]
    then: Callable[[JobWork, JobQueue], None] = lambda work, queue: None
    "called after success, to submit follow-up jobs; may be called twice"
