"""The worker process of test_jobs_worker.py: a real worker, with jobs that do what the test needs.

Each step writes a line to `<data_dir>/trace`. The step "gated" then waits for a byte in the FIFO `<data_dir>/gate`.
While the file `<data_dir>/full` exists, the end of the next step cannot be stored; that failure removes the file.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dbos import DBOS
from pydantic import SecretStr

from avatars.errors import BadMedia
from portal.jobs.records import CLIP, PREPARE
from portal.worker.job_work import JobWork, Recipe, Step
from portal.worker.runner import run_worker


def overflow() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA max_page_count = 3")
        database.execute("CREATE TABLE t AS SELECT zeroblob(100000)")


def note(work: JobWork, step: str) -> None:
    with (work.settings.data_dir / "trace").open("a") as file:
        file.write(f"{step}\n")


def first(work: JobWork) -> None:
    note(work, "first")
    (work.folder / "handed on").write_text(work.inputs["file_name"])


def gated(work: JobWork) -> None:
    note(work, "gated")
    with (work.settings.data_dir / "gate").open("rb") as gate:
        gate.read(1)


def last(work: JobWork) -> dict[str, Any]:
    note(work, "last")
    return {"avatar": (work.folder / "handed on").read_text(), "bytes": work.upload.stat().st_size}


def speak(work: JobWork) -> dict[str, Any]:
    """End as the text says: well, with an error, or (also for a recording) never until it is cancelled."""
    match work.inputs["text"]:
        case "bad media":
            raise BadMedia("It is no picture.", "Upload a JPEG.")
        case "disk full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "database full":
            overflow()
        case "surprise":
            raise ZeroDivisionError("by nought")
        case "for ever" | None:
            while True:
                work.progress(0.5)
    return {"clip": work.id}


RECIPES = (
    Recipe(PREPARE, (Step("first", 1, first), Step("gated", 2, gated), Step("last", 1, last))),
    Recipe(CLIP, (Step("speak", 1, speak),)),
)

if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    settings: Any = SimpleNamespace(
        data_dir=Path(given["data_dir"]),
        database_url=SecretStr(given["database_url"]),
        job_silence_s=600.0,
        store_url=given.get("store_url", ""),
        store_copies_bytes=10**9,
    )
    run_step = DBOS.run_step

    def run_step_while_there_is_space(*args: Any) -> Any:
        try:
            return run_step(*args)
        finally:  # DBOS has recorded how the step ended, and the worker ends before the job does
            if (settings.data_dir / "full").exists():
                (settings.data_dir / "full").unlink()
                overflow()

    DBOS.run_step = staticmethod(run_step_while_there_is_space)
    sys.exit(run_worker(settings, RECIPES, idle_exit_s=60.0, is_one_of_many=given.get("is_one_of_many", False)))
