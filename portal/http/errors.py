"""Answers errors as JSON: `{"error": {code, message, hint, cause}}`, with the fitting HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.errors import VivavoceError

if TYPE_CHECKING:
    from fastapi import FastAPI  # workers load this module, and FastAPI would be a quarter of the time they start in

__all__ = ["answer_errors", "error_response", "error_response_for", "internal_error"]

FRAMEWORK_ERRORS = {
    404: ("not_found", "There is nothing at this address.", "See /docs."),
    405: ("method_not_allowed", "This address does not take that method.", "See /docs, or the header Allow."),
    413: ("upload_too_large", "The request is larger than this address takes.", "Send less at one time."),
}
"Code, message and hint for requests that Starlette and FastAPI refuse themselves, by HTTP status."


def error_response(
    code: str,
    message: str,
    hint: str = "",
    *,
    status: int,
    cause: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an answer with an error. cause: tells apart the several things that a code may stand for."""
    body = {"error": {"code": code, "message": message, "hint": hint, "cause": cause}}
    return JSONResponse(body, status_code=status, headers=headers)


def error_response_for(error: VivavoceError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer for an error of ours."""
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer", **(headers or {})}  # required with 401 (RFC 9110, 15.5.2)
    return error_response(
        error.code, error.message, error.hint, status=error.http_status, cause=error.cause, headers=headers
    )


def internal_error() -> JSONResponse:
    """Return the answer for an error that nobody foresaw. It gives no details."""
    return error_response(
        "internal",
        "Something went wrong in the server.",
        "Try again; if it stays so, the server's log has the details.",
        status=500,
    )


def answer_errors(app: FastAPI) -> None:
    """Make the application answer errors outside our routes, e.g. a wrong method or a missing file, in our form."""

    @app.exception_handler(HTTPException)
    async def answer(_request: Request, error: HTTPException) -> Response:
        code, message, hint = FRAMEWORK_ERRORS.get(
            error.status_code, ("bad_request", f"The request was refused: {error.detail}", "See /docs.")
        )
        return error_response(code, message, hint, status=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def apologise(_request: Request, _error: Exception) -> Response:
        return internal_error()  # Starlette raises the error again, and LastResort (door.py) logs it
