"""Drive an avatar of a Vivavoce portal from Python: let it speak, ask it questions, and get its pictures and sound.

    from vivavoce_client import Session

    with Session("http://127.0.0.1:7860", avatar="mira") as session:
        session.say("Hello there.")
        for frame in session.frames():
            ...  # frame.image is (height, width, 3) uint8 RGB, frame.sound (1920,) float32 at 48 kHz

The session ends when the block is left. `AsyncSession` is the same for asyncio. Both use the portal's session socket,
which docs/protocol.md of the portal describes.
"""

from vivavoce_client._blocking import Session
from vivavoce_client._session import AsyncSession
from vivavoce_client._sound import SpokenSound
from vivavoce_client._types import SAMPLE_RATE_HZ, Frame, PortalError, Remark, Turn, Wish

__all__ = ["SAMPLE_RATE_HZ", "AsyncSession", "Frame", "PortalError", "Remark", "Session", "SpokenSound", "Turn", "Wish"]
