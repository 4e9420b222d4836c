"""Backends: what there is to choose from, and what is missing where one cannot run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from portal.api.errors import ErrorRoute
from portal.api.schemas import BackendView, backend_view
from portal.backends import backend_choices, backend_options

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["backends_router"]

KINDS = ("llm", "tts", "lipsync")
"What a person may choose."


def backends_router(settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/api/backends", tags=["backends"], route_class=ErrorRoute)

    @router.get("")
    def list_backends() -> dict[str, list[BackendView]]:
        """By kind (llm, tts, lipsync), the default of each first. Looked up anew each time."""
        options = backend_options(settings)
        return {kind: [backend_view(choice) for choice in backend_choices(kind, options)] for kind in KINDS}

    return router
