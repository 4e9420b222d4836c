"""The worker process as a child of the portal: `python -m portal.worker.child`, started by `portal.worker.process`."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from portal.logs import begin_logging
from portal.settings import Settings
from portal.worker.recipes import recipes
from portal.worker.runner import leave, run_worker

__all__ = ["main"]


def _leash() -> None:
    """End the process when its parent is gone: then its end of our standard input closes."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


def main() -> NoReturn:
    """Run a worker with the settings in the first line of standard input, which then stays open as a leash."""
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    begin_logging(settings.log_level, "worker: %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_leash, name="leash", daemon=True).start()
    leave(run_worker(settings, recipes(), idle_exit_s=settings.worker_idle_s))


if __name__ == "__main__":
    main()
