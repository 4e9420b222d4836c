"""A stand-in for the online voice: local MP3, in pieces and with failures as a test wants them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from pipeline.types import FloatArray

RATE_HZ = 24_000


def tone(seconds: float) -> FloatArray:
    """Return 440 Hz that begins after a quarter of a second, as a voice does."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.where(t < 0.25, 0.0, 0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def mp3(samples: FloatArray, rate_hz: int = RATE_HZ) -> bytes:
    """Return MP3 as the service sends it: 48 kbit/s mono, no header."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=rate_hz, layout="mono", bit_rate=48_000)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


@dataclass
class FakeEdge:
    """Speaks a tone that lasts a twentieth of a second per character."""

    after: str = "done"
    "what follows half of the speech: done (the other half), hang, or an exception"
    failure: Exception | None = None
    "raised before the first piece"
    is_reachable: bool = True
    piece_bytes: int = 720
    spoken: list[tuple[str, str]] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    "the speed of each text in `spoken`"
    probes: int = 0
    open_streams: int = 0

    async def speaking(self, text: str, voice: str, speed: float) -> AsyncGenerator[dict[str, Any], None]:
        self.spoken.append((text, voice))
        self.speeds.append(speed)
        self.open_streams += 1
        try:
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            yield {"type": "SentenceBoundary", "text": text}
            sound = mp3(tone(max(0.5, len(text) / 20) / speed))
            pieces = [sound[at : at + self.piece_bytes] for at in range(0, len(sound), self.piece_bytes)]
            for number, piece in enumerate(pieces):
                if number == len(pieces) // 2 and self.after == "hang":
                    await asyncio.Event().wait()
                if number == len(pieces) // 2 and self.after == "die":
                    raise ConnectionResetError("cut")
                yield {"type": "audio", "data": piece}
        finally:
            self.open_streams -= 1

    async def reach(self) -> None:
        self.probes += 1
        if not self.is_reachable:
            raise OSError("no network")
