"""The application: GET / lists what is in quarantine, GET /texts/KEY shows one text, POST /texts/KEY decides about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from ragguard.errors import InvalidInputError, StoreError
from ragguard.quarantine import LONGEST, Entry, Quarantine, State
from ragguard.review.guarded import Guarded, Token
from ragguard.text.shown import cut, pieces, visible

LOGGER = logging.getLogger("ragguard")

PAGE = 50
"""Texts on a page of the list."""

EXCERPT = 200
"""Characters of anything hostile in the list."""

PART = 20_000
"""Characters of a text on one page: of nothing but unseen ones, each different from the last, it is two megabytes."""

FORM = 64 * 1024
"""Bytes of a form: an actor and a reason in any script, percent-encoded."""


def application(quarantine: Quarantine) -> ASGIApp:
    """An ASGI application over a quarantine, for people on this machine. It has no login: actors are who they say they are.

    Args:
        quarantine: Shown, and decided about.
    """
    app = FastAPI(title="RAGGuard: quarantine", docs_url=None, redoc_url=None, openapi_url=None)
    page, token = partial(_page, _environment()), Token()

    def text_page(entry: Entry, part: int = 1, status: int = 200, **form: str) -> HTMLResponse:
        return page("text.html", status, entry=entry, part=part, token=token.value, size=PART, longest=LONGEST, form=form)

    @app.get("/")
    def every(
        state: State | None = None, by: str | None = None, before: Annotated[int | None, Query(ge=1, lt=2**31)] = None
    ) -> HTMLResponse:
        entries = quarantine.entries(state, by, before=before, limit=PAGE + 1)
        return page(
            "list.html",
            name=quarantine.name,
            entries=entries[:PAGE],
            more=len(entries) > PAGE,
            counts=quarantine.counts(),
            holders=quarantine.holders(),
            state=state,
            by=by,
            excerpt=EXCERPT,
        )

    @app.get("/texts/{key}")
    def text(key: str, part: Annotated[int, Query(ge=1)] = 1) -> HTMLResponse:
        return text_page(_entry_of(quarantine, key), part)

    @app.post("/texts/{key}")
    async def decide(request: Request, key: str) -> Response:
        form = await _form(request)
        token.check(request, form.get("token", ""))
        return await run_in_threadpool(decided, key, form)

    def decided(key: str, form: Mapping[str, str]) -> Response:
        decision = {"release": quarantine.release, "confirm": quarantine.confirm}.get(form.get("decision", ""))
        seen = form.get("seen", "")
        if decision is None or not (seen.isascii() and seen.isdigit() and len(seen) < 10):
            raise HTTPException(422, "A form has a decision, release or confirm, and what was seen.")
        entry = _entry_of(quarantine, key)
        actor, reason = form.get("actor", ""), form.get("reason", "")
        try:
            decision(entry.key, actor, reason, seen=int(seen))
        except InvalidInputError as error:
            return text_page(_entry_of(quarantine, key), 1, 422, actor=actor, reason=reason, problem=str(error))
        return RedirectResponse(f"/texts/{entry.key}", 303)

    @app.get("/style.css")
    def style() -> Response:
        source, _, _ = PackageLoader("ragguard.review", ".").get_source(Environment(autoescape=True), "style.css")
        return Response(source, media_type="text/css")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> HTMLResponse:
        return page("problem.html", error.status_code, message=error.detail)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, __: RequestValidationError) -> HTMLResponse:
        return page("problem.html", 422, message="There is no such page of the list or of the text.")

    @app.exception_handler(StoreError)
    async def gone(_: Request, error: StoreError) -> HTMLResponse:
        LOGGER.error(str(error))
        return page(
            "problem.html", 503, message="The quarantine does not answer, or is damaged. The log of ragguard review says why."
        )

    return Guarded(app)


def _environment() -> Environment:
    """Templates in which nothing that is put in can be markup, or unseen, whoever writes them."""

    def finalize(value: object) -> object:
        return value if isinstance(value, Markup) else visible(str(value))

    loader = PackageLoader("ragguard.review", ".")
    environment = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, finalize=finalize
    )
    environment.globals.update(cut=cut, pieces=pieces)
    environment.filters["pairs"] = _pairs
    environment.filters["part_of"] = lambda offset: offset // PART + 1
    return environment


def _pairs(values: Mapping[str, object]) -> str:
    return urlencode({name: value for name, value in values.items() if value is not None}, errors="replace")


def _page(environment: Environment, template: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(environment.get_template(template).render(values), status)


def _entry_of(quarantine: Quarantine, key: str) -> Entry:
    try:
        return quarantine.show(key)
    except InvalidInputError as error:
        raise HTTPException(404, str(error)) from error


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > FORM:
            raise HTTPException(413, "The form is too long.")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10))
    except ValueError as error:
        raise HTTPException(400, "The form cannot be read.") from error
