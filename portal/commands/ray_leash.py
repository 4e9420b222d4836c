"""`python -m portal.commands.ray_leash ARGUMENTS`: launch.py's command line on a leash, for `ray_post`.

A post may go at any time, with its Ray node or by Ray. What it runs must not go on unwatched, but viewers should hear
their answers to the end. So it stops as by SIGTERM when the post's end of its standard input closes. Ray kills the
children of its processes when these end, though not their grandchildren. So the portal or worker is one of the latter.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from portal.commands.cli import run

__all__ = ["main"]


def main() -> int:
    """Returns the exit status of what was run, as a shell would."""
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return status if status >= 0 else 128 - status
    threading.Thread(target=_leash, name="leash", daemon=True).start()
    return run()


def _leash() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
