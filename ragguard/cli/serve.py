"""`ragguard serve`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragguard.cli.listening import LISTEN, LOOPBACK, listen, url
from ragguard.cli.options import INPUT, OUTPUT, AsJson, Model
from ragguard.cli.show import console, working
from ragguard.errors import InvalidInputError
from ragguard.serve.limits import DEADLINE_S, RATE

if TYPE_CHECKING:
    from ragguard.retriever import Observer, Observers

EXAMPLES = (
    "ragguard serve guard.json corpus.jsonl",
    "ragguard serve guard.json corpus.jsonl --store evidence.db --quota 2 --port 9000",
    "ragguard serve guard.json corpus.jsonl --audit audit.jsonl --metrics",
    "curl http://127.0.0.1:8377/health",
)

PORT = 8377


def serve(
    guard: Annotated[Path, typer.Argument(help="What ragguard calibrate wrote.")],
    corpus: Annotated[Path, typer.Argument(help="The documents it was calibrated on: .jsonl, .json, .csv or .tsv with text.")],
    model: Model = None,
    store: Annotated[
        str | None,
        typer.Option(help="Evidence: SQLite file, or an URL of PostgreSQL. Without it, in memory.", rich_help_panel=INPUT),
    ] = None,
    quota: Annotated[
        int | None,
        typer.Option(min=1, help="Documents of one source that may pass. Not counted without it."),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="Requests a second from one address; more are answered 429.")] = RATE,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds a query may take; then it is answered 504.")] = DEADLINE_S,
    audit: Annotated[
        Path | None,
        typer.Option(help="Append a record of each decision here; see ragguard audit.", rich_help_panel=OUTPUT),
    ] = None,
    texts: Annotated[
        bool, typer.Option("--audit-texts", help="Queries and documents' texts, too.", rich_help_panel=OUTPUT)
    ] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Answer GET /metrics, for Prometheus.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=LISTEN)] = PORT,
    expose: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Listen on this address instead of 127.0.0.1. There is no authentication and no encryption: who reaches the "
            "address can ask, and learn what the guard misses. Put a proxy that has both in front.",
            rich_help_panel=LISTEN,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the guard over HTTP to programs that are not Python: POST /guard, GET /health, GET /openapi.json.

    Runs until it is interrupted. What could not be judged is answered with an error, never with unguarded hits.
    """
    if texts and audit is None:
        raise typer.BadParameter("there is no audit log to write them to; give --audit, too.", param_hint="--audit-texts")
    with working(logging.WARNING) as work:
        try:
            import uvicorn

            from ragguard.serve.app import LOCAL, application
            from ragguard.serve.loading import load
        except ImportError as missing:
            raise InvalidInputError(f"serving needs {missing.name}; run: pip install 'ragguard-defense[serve]'") from missing
        observers, counted = observing(audit, texts, metrics)
        listening = listen(expose or LOOPBACK, port)
        loaded = load(
            guard, corpus, model=model, quota=quota, store=store, deadline_s=deadline, observers=observers, step=work.step
        )
    app = application(loaded, rate=rate, hosts=["*"] if expose else LOCAL, metrics=counted)
    if as_json:
        typer.echo(
            json.dumps({"url": url(listening), "defenses": loaded.defenses, "documents": loaded.documents, "model": loaded.model})
        )
    else:
        console.print(
            f"{' + '.join(loaded.defenses)} over {loaded.documents} documents, {loaded.model}", markup=False, soft_wrap=True
        )
        console.print(
            f"Listening on {url(listening)}: POST /guard, GET /health, {'GET /metrics, ' if metrics else ''}GET /openapi.json. "
            "End it with Ctrl-C.",
            markup=False,
            soft_wrap=True,
        )
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


def observing(audit: Path | None, texts: bool, metrics: bool) -> tuple[Observers | None, Callable[[], bytes] | None]:
    """Who is told of decisions, and what counts them.

    Raises:
        InvalidInputError: If the log cannot be written, or a package is missing.
    """
    from ragguard.audit import AuditLog
    from ragguard.retriever import Observers

    observers: list[Observer] = []
    counted = None
    if audit is not None:
        observers.append(AuditLog(audit, texts=texts))
    if metrics:
        try:
            from prometheus_client import CollectorRegistry, generate_latest

            from ragguard.telemetry import Prometheus
        except ImportError as missing:
            raise InvalidInputError("--metrics needs Prometheus: pip install 'ragguard-defense[telemetry]'") from missing
        registry = CollectorRegistry()
        observers.append(Prometheus(registry))
        counted = partial(generate_latest, registry)
    return Observers(observers) if observers else None, counted
