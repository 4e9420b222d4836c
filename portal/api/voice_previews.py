"""A short sentence of a voice, to hear it before it is chosen."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from portal.http.errors import ErrorRoute
from portal.http.proxies import address_of
from portal.voice_previews import VoicePreviews

__all__ = ["voice_previews_router"]

LOOKED_EVERY_S: Final = 0.25
"""Whether the one who asked is still there."""
CLIENT_HAS_LEFT: Final = 499
"""Nobody reads it; nginx logs the same."""


def voice_previews_router(previews: VoicePreviews) -> APIRouter:
    """A short sentence of a voice, to choose one by."""
    router = APIRouter(prefix="/api/backends/tts", tags=["backends"], route_class=ErrorRoute)

    @router.get("/{name}/preview", response_class=Response)
    async def hear(
        request: Request,
        name: str,
        voice: Annotated[str, Query(max_length=200, description="one of the backend's; its default if left out")] = "",
        language: Annotated[str, Query(max_length=10, description="for voices that speak several")] = "en",
    ) -> Response:
        """A WAV file. Who closes the connection stops the voice."""
        asked = asyncio.create_task(previews.of(name, voice, language, address_of(request.scope)))
        try:
            while not (await asyncio.wait({asked}, timeout=LOOKED_EVERY_S))[0]:
                if await request.is_disconnected():
                    return Response(status_code=CLIENT_HAS_LEFT)
            return Response(asked.result(), media_type="audio/wav")
        finally:
            asked.cancel()

    return router
