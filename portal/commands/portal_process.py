"""Starts a portal in a process of its own, as a user would, for notebooks, benchmarks and tests."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PortalProcess", "free_port", "running_portal"]

ROOT = Path(__file__).resolve().parents[2]
READY_S = 240.0
PORTS, PORTS_TRIED = range(20_000, 32_768), 100
ENDS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class PortalProcess:
    """A running portal. Its CPU time and memory are read from /proc, which only Linux has."""

    pid: int
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/session"

    def kill(self) -> None:
        """End the process at once, as a crash would: nothing is shut down in order, and the port becomes free."""
        os.kill(self.pid, signal.SIGKILL)

    def cpu_s(self) -> float:
        """CPU seconds that all threads of the server process have used. The job worker is another process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Resident memory of the process in MiB, without file pages, which the system can take back."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    """Return a TCP port of this machine on which nobody listens.

    It is outside the range of ephemeral ports (from 32768 on Linux, from 49152 elsewhere). Otherwise an outgoing
    connection could get it before the caller uses it. Raises OSError if none is found.
    """
    for port in random.SystemRandom().sample(PORTS, PORTS_TRIED):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(errno.EADDRINUSE, "no free port was found")


@contextlib.contextmanager
def running_portal(
    data_dir: Path,
    *options: str,
    port: int = 0,
    says: str = "Vivavoce is ready",
    log_name: str = "portal.log",
    surroundings: Mapping[str, str] | None = None,
) -> Iterator[PortalProcess]:
    """Start `launch.py` with these options, wait until it is ready, and end it after the block as Ctrl-C does.

    port: 0 for a free one. says: the output that shows that it is ready. log_name: the file in the data folder that
    gets its output. surroundings: environment variables in addition to ours. Raises RuntimeError if it does not start.
    """
    port = port or free_port()
    log = data_dir / log_name
    command = [
        sys.executable,
        str(ROOT / "launch.py"),
        "--port",
        str(port),
        "--data-dir",
        str(data_dir),
        "--no-browser",
    ]
    with log.open("wb") as output:
        # In a session of its own, because Jupyter interrupts a cell by a signal to all processes of its kernel's
        # session, and that must not end the portal.
        process = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
            env={**os.environ, **(surroundings or {})},
        )
    try:
        _wait_ready(process, log, says)
        yield PortalProcess(process.pid, port, log)
    finally:
        _end(process)


def _wait_ready(process: subprocess.Popen[bytes], log: Path, says: str) -> None:
    deadline_s = time.monotonic() + READY_S
    while says.encode() not in log.read_bytes():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)  # a pause that a dying process ends early
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"the portal did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # On Windows no signal that a process can handle can be sent to one process alone.
    process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
    try:
        process.wait(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
