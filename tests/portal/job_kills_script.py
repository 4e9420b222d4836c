"""The worker process of job_kills.py: a real worker, whose short jobs record each step.

A step that finds another process in the same job writes the line "overlap" to `<data_dir>/trace`.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from portal.jobs.records import CLIP
from portal.worker.job_work import JobWork, Recipe, Step
from portal.worker.runner import run_worker

STEPS = ("one", "two", "three")
LONGEST_STEP_S = 0.4


def note(work: JobWork, *words: str) -> None:
    with (work.settings.data_dir / "trace").open("a") as file:
        file.write(" ".join((*words, work.id)) + "\n")


@contextmanager
def alone(work: JobWork) -> Iterator[None]:
    """Lock the job during a step. The system releases the lock when the process is killed."""
    with (work.settings.data_dir / "locks" / work.id).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(work, "overlap")
        yield


def write(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text)
    half.rename(path)


def step(name: str, work: JobWork) -> dict[str, Any]:
    with alone(work):
        note(work, "begin", name)
        until_s = time.monotonic() + random.uniform(0, LONGEST_STEP_S)
        while time.monotonic() < until_s:
            time.sleep(0.01)
            work.progress(0.5)
        made = STEPS[: STEPS.index(name)]
        words = [(work.folder / one).read_text() for one in made] + [str(work.inputs["text"])]
        write(work.folder / name, str(work.inputs["text"]))
        if name == STEPS[-1]:
            write(work.folders.clip(work.id), " ".join(words))
        note(work, "end", name)
    return {"clip": work.id, "words": words}


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    data_dir = Path(given["data_dir"])
    settings: Any = SimpleNamespace(
        data_dir=data_dir, database_url=SecretStr(given["database_url"]), job_silence_s=600.0, store_url=""
    )
    recipe = Recipe(CLIP, tuple(Step(name, 1, partial(step, name)) for name in STEPS))
    sys.exit(run_worker(settings, [recipe], is_one_of_many=True))
