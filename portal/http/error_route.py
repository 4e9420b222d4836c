"""Answers errors of our routes as JSON, those of FastAPI's own checks too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from models.errors import VivavoceError
from portal.http.errors import error_response, error_response_for, internal_error
from portal.http.faults import describe_fault

__all__ = ["ErrorRoute"]

logger = logging.getLogger(__name__)

MAX_FAULTS = 5
"Most faults of one request that its answer lists."


class ErrorRoute(APIRoute):
    """A route that answers errors as JSON. Give it to an APIRouter as `route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except VivavoceError as error:
                return error_response_for(error)
            except RequestValidationError as error:
                faults = "; ".join(
                    describe_fault(fault["loc"][1:], fault["msg"]) for fault in error.errors()[:MAX_FAULTS]
                )
                return error_response("bad_request", f"The request is malformed: {faults}", "See /docs.", status=400)
            except ClientDisconnect:
                # Nobody receives this answer.
                return error_response("bad_request", "The request ended too early.", "Send it again.", status=400)
            except HTTPException:
                raise
            except Exception:  # the outermost handler of a request: whatever went wrong, the client needs an answer
                logger.exception("%s %s could not be served", request.method, request.url.path)
                return internal_error()

        return answer
