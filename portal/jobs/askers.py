"""Remembers who asked for the jobs that wait or run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

__all__ = ["Askers", "FileAskers"]

logger = logging.getLogger(__name__)

OWNER_ONLY: Final = 0o600
LOCKED_S: Final = 5.0
"How long a process waits for another one that writes the file."


class Askers(Protocol):
    """Keeps the asker's address of each job where all processes with these jobs see it.

    So all portals together count what an address has, and a restart gives nobody a new first turn. Addresses are
    personal data: those of ended jobs are removed when the next job is noted. Thread-safe.
    """

    def known(self) -> Mapping[str, str]:
        """Return the address that asked for each job, by the job's id. Jobs of the portal's own are missing.

        Raises DatabaseUnreachable.
        """

    def note(self, job_id: str, asker: str, active: Callable[[], Collection[str]]) -> None:
        """Note who asked for a job. If that fails, it is logged, because the job is accepted already.

        asker: an address, "" for nobody.
        active: returns the ids of all jobs that wait or run. It is called while nobody else can note anything. So
            whatever is noted and not active has ended.
        """

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""


class FileAskers:
    """Askers in a file that only the portal's user can read, for all processes with this data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "askers.json"

    def known(self) -> Mapping[str, str]:
        try:
            askers = json.loads(self._path.read_text())
            return {str(job): str(address) for job, address in askers.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("Who asked for which job is not known any more: %s", error)
            return {}

    def note(self, job_id: str, asker: str, active: Callable[[], Collection[str]]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=LOCKED_S):
                known = self.known()
                wanted = active()
                askers = {one: address for one, address in known.items() if one in wanted}
                askers |= {job_id: asker} if asker else {}
                if askers != known:
                    self._write(askers)
        except (OSError, Timeout) as error:
            logger.warning("Who asked for which job could not be kept: %s", error)

    def remove(self) -> None:
        """Remove the file, because its content is kept elsewhere now."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _write(self, askers: Mapping[str, str]) -> None:
        staging = self._path.with_suffix(".new")
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "w") as file:
            json.dump(askers, file)
        staging.replace(self._path)
