"""Errors as JSON: what the caller did wrong is told, what went wrong inside is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ragguard.errors import DeadlineExceededError, InvalidInputError, RAGGuardError, RetrieverError, StoreError
from ragguard.serve.schema import BODY, ErrorKind, Problem

LOGGER = logging.getLogger("ragguard")

KINDS: Mapping[int, ErrorKind] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid_input",
    429: "too_many_requests",
    500: "guard_failed",
    503: "store_unavailable",
    504: "too_late",
}

MESSAGES: Mapping[int, str] = {
    400: "the body cannot be read; send JSON in UTF-8",
    404: "there are POST /guard, GET /health and GET /openapi.json",
    405: "there are POST /guard, GET /health and GET /openapi.json",
    413: f"the body has more than {BODY} bytes; send fewer hits, or shorter ones",
    500: "the guard failed, and nothing is returned unguarded; its log says why",
    503: "the store of evidence does not answer, and nothing is returned unguarded; its log says why",
    504: "the guard's deadline passed; send fewer hits, prepare evidence ahead, or raise --deadline",
}


class ASCIIResponse(JSONResponse):
    """JSON in which a lone half of a surrogate pair, which clients may send, is an escape and not an error."""

    def render(self, content: object) -> bytes:
        """As bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def problem(status: int, message: str = "", headers: Mapping[str, str] | None = None) -> ASCIIResponse:
    """The answer of a status code."""
    body = Problem(error=KINDS.get(status, "bad_request"), message=message or MESSAGES.get(status, ""))
    return ASCIIResponse(body.model_dump(), status, headers)


def _sentence(place: Sequence[object], message: str) -> str:
    own = message.removeprefix("Value error, ")  # of a validator, which names what it is about
    where = ".".join(map(str, place[1:])) or "the body, as application/json"
    return own if own != message else f"{where}: {message}"


def handle(app: FastAPI) -> None:
    """Have an application answer every error in this form."""

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> ASCIIResponse:
        sentences = [_sentence(detail["loc"], detail["msg"]) for detail in error.errors()]
        more = f"; and {len(sentences) - 3} more" if len(sentences) > 3 else ""
        return problem(422, "; ".join(sentences[:3]) + more)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> ASCIIResponse:
        return problem(error.status_code, headers=error.headers)

    @app.exception_handler(InvalidInputError)
    @app.exception_handler(RetrieverError)  # the hits came from the caller
    async def refused(_: Request, error: RAGGuardError) -> ASCIIResponse:
        return problem(422, str(error))

    @app.exception_handler(DeadlineExceededError)
    async def late(_: Request, error: DeadlineExceededError) -> ASCIIResponse:
        LOGGER.error(str(error))
        return problem(504)

    @app.exception_handler(StoreError)
    async def gone(_: Request, error: StoreError) -> ASCIIResponse:
        LOGGER.error(str(error))
        return problem(503)

    @app.exception_handler(RAGGuardError)
    async def failed(_: Request, error: RAGGuardError) -> ASCIIResponse:
        LOGGER.error(str(error))
        return problem(500)

    @app.exception_handler(Exception)  # and its traceback is logged by the server
    async def broken(_: Request, __: Exception) -> ASCIIResponse:
        return problem(500)
