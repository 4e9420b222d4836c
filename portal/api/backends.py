"""HTTP route for backends: which ones can be chosen, and what is missing for those that cannot run."""

from __future__ import annotations

from fastapi import APIRouter

from portal.api.schemas import BackendView, backend_view
from portal.backends import BackendCatalogue
from portal.http.error_route import ErrorRoute

__all__ = ["backends_router"]


def backends_router(catalogue: BackendCatalogue) -> APIRouter:
    router = APIRouter(prefix="/api/backends", tags=["backends"], route_class=ErrorRoute)

    @router.get("")
    def list_backends() -> dict[str, list[BackendView]]:
        """List backends by kind (llm, tts, lipsync), the default of each kind first. New ones appear within seconds."""
        return {kind: [backend_view(choice) for choice in found] for kind, found in catalogue.look().items()}

    return router
