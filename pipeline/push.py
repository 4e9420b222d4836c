"""Push: an output that sends a session to a streaming server or the virtual camera, through a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import numpy as np

from avatars.errors import AvatarError
from pipeline.camera import CAMERA
from pipeline.channel import Channel
from pipeline.child_process import end_child, start_child
from pipeline.clip_label import ClipLabel
from pipeline.clock import Clock
from pipeline.coded_frames import even_size, fitted
from pipeline.compositing import pixels_of
from pipeline.push_child import HEADER, LIVE, TROUBLES
from pipeline.stream_address import host_of, is_whip
from pipeline.types import FPS, MediaFrame

__all__ = ["Push"]

logger = logging.getLogger(__name__)

R = TypeVar("R")

FRAMES_BOUND: Final = 2 * FPS
CONNECTED_WITHIN_S: Final = 20.0
STALLED_S: Final = 10.0
"""After this long without progress, the server is given up."""
COMPLETED_WITHIN_S: Final = 5.0
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
NICENESS: Final = 5
"""Niceness of a stream's process: the conversation has priority."""
RTMP_CHILD: Final = "pipeline.push_child"
WHIP_CHILD: Final = "pipeline.transports.whip_child"
CAMERA_CHILD: Final = "pipeline.camera_child"


class Push:
    """See Output. It connects, and reconnects whenever the connection ends, until aclose().

    Without a connection, frames are dropped. With one, up to FRAMES_BOUND frames are queued; beyond that the oldest is
    dropped and counted. An interrupt drops nothing here, because the queued frames were played to the viewer.
    """

    name = "push"

    def __init__(
        self,
        address: str,
        width: int,
        height: int,
        clock: Clock,
        label: ClipLabel | None = None,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """address: see parse_stream_address(), or CAMERA. It may hold a key, which only the server should see.

        width, height: size of the avatar's pictures. label: drawn into them. tell: called when `state` has changed.

        Raises BadRequest.
        """
        self.host = address if address == CAMERA else host_of(address)
        self.state = "connecting"
        "connecting, live, waiting (for the next try) or closed"
        self.connected = asyncio.Event()
        "Set once a connection was made."
        self.connections = 0
        self.frames_dropped = 0
        self.trouble = ""
        "Why the last connection failed or ended, for people."
        self.trouble_code = ""
        "The same for programs: one of TROUBLES, or empty if there is no trouble."
        self._address = address
        self._size = even_size(width, height)
        self._clock = clock
        self._label = label
        self._tell = tell
        self._waiting: Channel[MediaFrame] = Channel(FRAMES_BOUND)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="push")
        self._pushing = asyncio.create_task(self._keep_pushing(), name=f"push to {self.host}")

    @property
    def waiting(self) -> int:
        """Number of frames waiting to be sent."""
        return len(self._waiting)

    def send(self, frame: MediaFrame) -> None:
        """Take a frame. Ignored while there is no connection."""
        if self.state == "live":
            self.frames_dropped += len(self._waiting.push(frame))

    def flush(self) -> None:
        """Do nothing: the queued frames were played to the viewer, so the stream keeps them."""

    async def aclose(self) -> None:
        """Send the queued frames, for COMPLETED_WITHIN_S at most, and end the stream. Idempotent."""
        self._waiting.close()
        if self.state == "live":
            await asyncio.wait([self._pushing], timeout=COMPLETED_WITHIN_S)
        self._pushing.cancel()
        await asyncio.gather(self._pushing, return_exceptions=True)
        self._thread.shutdown(wait=False)
        self._set_state("closed")

    async def _keep_pushing(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            before = self.connections
            self._set_state("connecting")
            await self._push_once()
            if self._waiting.closed:
                return
            self._set_state("waiting")
            pause_s = FIRST_PAUSE_S if self.connections > before else min(2 * pause_s, LONGEST_PAUSE_S)
            logger.warning("The stream to %s is interrupted: %s. Next try in %.0f s.", self.host, self.trouble, pause_s)
            await self._clock.sleep_until(self._clock.now_s() + pause_s)

    def _note(self, code: str, words: str) -> None:
        self.trouble_code, self.trouble = code, words

    def _set_state(self, state: str) -> None:
        self.state = state
        self._tell()

    async def _push_once(self) -> None:
        """Connect and send frames until the connection ends. Returns at once if it cannot be made."""
        try:
            process = start_child(_child_for(self._address), niceness=NICENESS)
        except OSError as error:  # out of memory or of file handles
            self._note("failed", error.strerror or str(error))
            return
        try:
            async with asyncio.timeout(CONNECTED_WITHIN_S):
                answer = await self._in_thread(self._connect, process)
            if answer != LIVE:
                self._note(*_trouble_of(answer))
                return
            self.connections += 1
            self._set_state("live")
            self.connected.set()
            async for frame in self._waiting:
                async with asyncio.timeout(STALLED_S):
                    await self._in_thread(self._hand_over, process, frame)
            async with asyncio.timeout(COMPLETED_WITHIN_S):
                await self._in_thread(_complete, process)
        except TimeoutError:
            self._note("silent", "the server takes nothing")
        except AvatarError as error:
            self._note("damaged", error.message)
        except OSError:  # the process has ended; its last line says why
            self._note(*_trouble_of(await self._in_thread(_last_words, process)))
        finally:
            self._waiting.clear()
            end_child(process)

    def _connect(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        width, height = self._size
        order = {"address": self._address, "width": width, "height": height}
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        return process.stdout.readline()

    def _hand_over(self, process: subprocess.Popen[bytes], frame: MediaFrame) -> None:
        assert process.stdin is not None
        rgb = pixels_of(frame.picture)
        if self._label is not None:
            rgb = self._label.draw(rgb, frame.number)
        width, height = self._size
        picture = np.ascontiguousarray(
            fitted(rgb[:height, :width] if rgb.shape[0] - height < 2 else rgb, width, height)
        )
        process.stdin.write(HEADER.pack(frame.number))
        process.stdin.write(np.ascontiguousarray(frame.audio, np.float32).data)
        process.stdin.write(picture.data)
        process.stdin.flush()

    async def _in_thread(self, work: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _child_for(address: str) -> str:
    if address == CAMERA:
        return CAMERA_CHILD
    return WHIP_CHILD if is_whip(address) else RTMP_CHILD


def _complete(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _last_words(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        return process.stdout.readline()
    return b""


def _trouble_of(answer: bytes) -> tuple[str, str]:
    """Return code and words from a line of tell_trouble(). A killed process wrote none, and gets a general text."""
    code, _, words = answer.decode("utf-8", "replace").strip().partition(" ")
    if code in TROUBLES and words:
        return code, words[:200]
    return "failed", "the process that sends it has ended"
