"""A portal in a process of its own, as a user starts it, and what the system says it costs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PortalProcess", "free_port", "running_portal"]

ROOT = Path(__file__).resolve().parents[2]
READY_S = 240.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class PortalProcess:
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
        """As a crash does: nothing is ended in order, and its port is free again."""
        os.kill(self.pid, signal.SIGKILL)

    def cpu_s(self) -> float:
        """CPU seconds of the server process so far, all threads; the job worker is another process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def resident_mb(self) -> float:
        """Memory of the process's own (without file pages, which the system can take back)."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * PAGE_BYTES / 2**20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_portal(data_dir: Path, *options: str, port: int = 0) -> Iterator[PortalProcess]:
    """Start `launch.py` with these options and wait for its ready line; end it as Ctrl-C does. port 0: a free one."""
    port = port or free_port()
    log = data_dir / "portal.log"
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
        process = subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        _wait_ready(process, log)
        yield PortalProcess(process.pid, port, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while b"Vivavoce is ready" not in log.read_bytes():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"the portal did not start:\n{log.read_text(errors='replace')[-4000:]}")
