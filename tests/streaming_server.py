"""A streaming server for one connection, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.commands.portal_process import free_port

__all__ = ["STREAM_PORT", "receiver"]

STREAM_PORT = free_port()
"""Port of the server to which the portal in browser tests may send; a test that needs the server starts it."""

RECEIVER = """
import av, sys
with av.open(sys.argv[1], options={"listen": "1", "timeout": "60"}) as source, av.open(
    sys.argv[2], "w", options={"flush_packets": "1"}  # what has come can be read while the stream goes on
) as file:
    streams = [file.add_stream_from_template(stream) for stream in source.streams]
    for packet in source.demux():
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            file.mux(packet)
"""


@contextmanager
def receiver(port: int, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a streaming server for one connection, which stores what it receives in `file`."""
    command = [sys.executable, "-c", RECEIVER, f"rtmp://127.0.0.1:{port}/live/secret", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
