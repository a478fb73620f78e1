"""The application: POST /guard judges hits, GET /health says what is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from ragguard import __version__
from ragguard.calibration import checked_k
from ragguard.evaluation.calibrate import summary
from ragguard.serve.limits import AT_ONCE, RATE
from ragguard.serve.loading import Loaded
from ragguard.serve.problems import ASCIIResponse, handle
from ragguard.serve.schema import Answer, Calibrated, Health, Kept, Live, Model, Problem, Question, Stops, described
from ragguard.serve.turnstile import Turnstile
from ragguard.types import Document, GuardedResult, Hit

LOCAL = ("127.0.0.1", "localhost")
"""Names under which a sidecar on loopback is called: a page in a browser that calls it by a name of its own is refused."""

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 413, 422, 429, 500, 503, 504)}


class _Described(FastAPI):
    k = 0

    def openapi(self) -> dict[str, Any]:
        document = described(super().openapi())
        document["components"]["schemas"]["Question"]["properties"]["k"]["maximum"] = self.k
        return document


def application(
    loaded: Loaded,
    *,
    rate: int = RATE,
    at_once: int = AT_ONCE,
    hosts: Sequence[str] = LOCAL,
    metrics: Callable[[], bytes] | None = None,
) -> FastAPI:
    """An ASGI application around a guard.

    Args:
        loaded: The guard.
        rate: Requests a second from one address.
        at_once: Requests at once.
        hosts: Names that it may be called by; "*" is any.
        metrics: What GET /metrics answers, in Prometheus's text format; None answers 404.
    """
    app = _Described(
        title="RAGGuard",
        version=__version__,
        description="A guard between a retriever and whoever reads its results. Read `kept`; without status 200, read nothing.",
        default_response_class=ASCIIResponse,
        docs_url=None,  # its page comes from elsewhere
        redoc_url=None,
    )
    calibration = loaded.calibrated.calibration
    app.k = calibration.k
    handle(app)
    app.add_middleware(Turnstile, rate=rate, at_once=at_once)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.post("/guard", responses=REFUSALS)
    async def guard(question: Question) -> Answer:
        """Judge what your retriever found for a query."""
        checked_k(question.k, calibration)
        hits = [Hit(Document(hit.id, hit.text, hit.metadata), hit.score) for hit in question.hits]
        return _answer(await loaded.guard.acall(question.query, hits, question.k))

    @app.get("/health", responses={status: REFUSALS[status] for status in (400, 500, 503)})
    async def health() -> Health:
        """Say what is loaded, once the store of evidence has answered."""
        if loaded.store is not None:
            await asyncio.to_thread(loaded.store.get, [f"{loaded.encoder.name}|health"])
        return _health(loaded)

    if metrics is not None:

        @app.get("/metrics", response_class=Response, include_in_schema=False)
        async def counted() -> Response:
            return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _answer(result: GuardedResult) -> Answer:
    return Answer(
        query=result.query,
        k=result.k,
        kept=[Kept(id=hit.document.id, text=hit.document.text, score=hit.score) for hit in result.kept],
        reserve=[hit.document.id for hit in result.reserve],
        removed=[hit.document.id for hit in result.removed],
        lost=[hit.document.id for hit in result.lost],
        verdicts=result.verdicts,
        certificates=result.certificates,
        contests=result.contests,
        query_findings=result.query_findings,
    )


def _health(loaded: Loaded) -> Health:
    calibration, drift = summary(loaded.calibrated), loaded.calibrated.drift
    return Health(
        status="ok",
        version=__version__,
        defenses=loaded.defenses,
        k=calibration.k,
        documents=loaded.documents,
        model=Model(name=loaded.model, fingerprint=calibration.encoder, dimension=loaded.encoder.dimension),
        calibration=Calibrated(
            queries=calibration.queries,
            derived=calibration.derived,
            documents=calibration.documents,
            max_clean_query_loss=calibration.max_clean_query_loss,
            policy=calibration.policy,
            threshold=calibration.threshold,
            promise=calibration.promise,
            stops=tuple(Stops(**vars(part)) for part in calibration.report.protection),
            weak=calibration.report.weak,
            report=str(calibration.report),
        ),
        evidence="memory" if loaded.store is None else "database",
        unrecorded=None if loaded.observers is None else loaded.observers.lost + loaded.observers.failed,
        live=Live(queries=drift.queries, suspicious=drift.suspicious, warning=drift.warning),
    )
