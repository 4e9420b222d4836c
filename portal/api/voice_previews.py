"""HTTP route for a short sentence in a voice, so that one can hear the voice before choosing it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from portal.http.error_route import ErrorRoute
from portal.http.proxies import address_of
from portal.voice_previews import VoicePreviews

__all__ = ["voice_previews_router"]

LOOKED_EVERY_S: Final = 0.25
"""How often it is checked whether the client is still connected."""
CLIENT_HAS_LEFT: Final = 499
"""Status of the response when the client has left. Nobody reads it; nginx logs the same status."""


def voice_previews_router(previews: VoicePreviews) -> APIRouter:
    """Return the route for a short sentence in a voice."""
    router = APIRouter(prefix="/api/backends/tts", tags=["backends"], route_class=ErrorRoute)

    @router.get("/{name}/preview", response_class=Response)
    async def hear(
        request: Request,
        name: str,
        voice: Annotated[str, Query(max_length=200, description="one of the backend's; its default if left out")] = "",
        language: Annotated[str, Query(max_length=10, description="for voices that speak several")] = "en",
    ) -> Response:
        """Speak a short sentence, and return it as a WAV file. Closing the connection stops the voice."""
        asked = asyncio.create_task(previews.of(name, voice, language, address_of(request.scope)))
        try:
            while not (await asyncio.wait({asked}, timeout=LOOKED_EVERY_S))[0]:
                if await request.is_disconnected():
                    return Response(status_code=CLIENT_HAS_LEFT)
            return Response(asked.result(), media_type="audio/wav")
        finally:
            asked.cancel()

    return router
