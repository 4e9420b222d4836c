"""Remembers who asked for the jobs that wait or run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

__all__ = ["Askers"]

logger = logging.getLogger(__name__)

OWNER_ONLY: Final = 0o600


class Askers:
    """Keeps the asker's address of each job in a file, so that a restart of the portal gives nobody a new first turn.

    Addresses are personal data. So those of ended jobs are removed when the next job is noted, and only the portal's
    user can read the file. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._askers = _read(path)

    def of(self, job_id: str) -> str:
        """Return the address that asked for a job; empty if it is not known, or the job is the portal's own."""
        return self._askers.get(job_id, "")

    def note(self, job_id: str, asker: str, active: Collection[str]) -> None:
        """Note who asked for a job. asker: an address, "" for nobody. active: ids of all jobs that wait or run."""
        askers = {one: address for one, address in self._askers.items() if one in active}
        if asker:
            askers[job_id] = asker
        if askers != self._askers:
            self._askers = askers
            self._write()

    def _write(self) -> None:
        staging = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "w") as file:
                json.dump(self._askers, file)
            staging.replace(self._path)
        except OSError as error:  # the job is accepted all the same; only its place in the line after a restart suffers
            logger.warning("Who asked for which job could not be kept: %s", error)


def _read(path: Path) -> dict[str, str]:
    try:
        askers = json.loads(path.read_text())
        return {str(job): str(address) for job, address in askers.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        logger.warning("Who asked for which job is not known any more: %s", error)
        return {}
