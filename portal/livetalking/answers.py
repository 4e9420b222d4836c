"""Answers in LiveTalking's form: always HTTP status 200, with `code`, `msg` and perhaps `data` in the body."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from models.errors import VivavoceError
from portal.api.schemas import checked
from portal.http.bodies import refuse_body_as

__all__ = ["NO_SERVER_FILES", "Body", "LiveTalkingRoute", "failed", "ok", "parse"]

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
NO_SERVER_FILES = "Files on the server cannot be named from outside."


class Body(BaseModel):
    """Base of the models of request bodies. Fields that have no meaning here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class LiveTalkingRoute(APIRoute):
    """A route that answers errors as LiveTalking does: HTTP status 200, `code` -1 and a message."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            refuse_body_as(request.scope, _error_response)
            try:
                return await handle(request)
            except VivavoceError as error:
                return _error_response(error)
            except ClientDisconnect:
                return failed("The request ended too early.")  # nobody will read it
            except Exception:  # whatever went wrong with this request, the caller has to learn of it
                logger.exception("%s %s could not be served", request.method, request.url.path)
                return failed("Something went wrong in the server; its log has the details.")

        return answer


def ok(data: object = None) -> JSONResponse:
    return JSONResponse({"code": 0, "msg": "ok"} if data is None else {"code": 0, "msg": "ok", "data": data})


def failed(message: str, code: int = -1) -> JSONResponse:
    return JSONResponse({"code": code, "msg": message})


def _error_response(error: VivavoceError) -> JSONResponse:
    return failed(error.message if not error.hint else f"{error.message} {error.hint}")


def parse(model: type[M], body: bytes | Mapping[str, object]) -> M:
    """Parse the body of a request into `model`. Raises BadRequest."""
    return checked(model, body, hint="")
