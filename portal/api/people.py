"""HTTP route that says who the sender is, for the page, which shows only what its viewer may do."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from portal.http.error_route import ErrorRoute
from portal.http.people import person_of

__all__ = ["PersonView", "people_router"]


class PersonView(BaseModel):
    """The person who asks. name: "" if they have none; login: whether people log in here at all."""

    name: str
    role: Literal["viewer", "maker", "admin"]
    login: bool


def people_router() -> APIRouter:
    router = APIRouter(prefix="/api/me", tags=["people"], route_class=ErrorRoute)

    @router.get("")
    def show_me(request: Request) -> PersonView:
        """Show your name and role: viewer (may talk), maker (may also make avatars and clips), or admin."""
        person = person_of(request.scope)
        role: Literal["viewer", "maker", "admin"] = person.role.name.lower()  # type: ignore[assignment]
        return PersonView(name=person.name, role=role, login=person.logged_in)

    return router
