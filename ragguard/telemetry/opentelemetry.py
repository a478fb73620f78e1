"""Spans and metrics for OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragguard import __version__
from ragguard.retriever import Decision
from ragguard.text import writable

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import StatusCode
except ImportError as error:
    raise ImportError("OpenTelemetry needs opentelemetry-api: pip install 'ragguard-defense[telemetry]'") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

SCOPE = "ragguard"


class OpenTelemetry:
    """An observer that makes a span of each query, children of the search and of each defense, and three metrics.

    Spans are made when the answer is out, with their true times, under the span in which the query was asked; what the wrapped
    retriever traces itself is their sibling. A dropped or demoted document is an event of the span: its id, defense, reason and
    suspicion. Texts are in none of them.

    - `ragguard.queries`: by `ragguard.outcome` (see `Decision.outcome`).
    - `ragguard.verdicts`: by `ragguard.defense` and `ragguard.action`.
    - `ragguard.duration`: seconds, by `ragguard.stage`: `total`, `search`, or a defense.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None) -> None:
        """Make the instruments.

        Args:
            tracer_provider: Makes spans; None takes the process's own.
            meter_provider: Counts; None takes the process's own.
        """
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._queries = meter.create_counter("ragguard.queries", "{query}", "Queries that were guarded.")
        self._verdicts = meter.create_counter("ragguard.verdicts", "{verdict}", "Verdicts of defenses on documents.")
        self._duration = meter.create_histogram("ragguard.duration", "s", "Time of a query, and of the parts of the work on it.")

    def __call__(self, decision: Decision) -> None:
        """Tell of one decision."""
        self._queries.add(1, {"ragguard.outcome": decision.outcome})
        self._duration.record(decision.seconds, {"ragguard.stage": "total"})
        for stage in decision.stages:
            self._duration.record(stage.seconds, {"ragguard.stage": stage.name})
        for verdict in () if decision.result is None else decision.result.verdicts:
            self._verdicts.add(1, {"ragguard.defense": verdict.defense, "ragguard.action": verdict.action})
        self._trace(decision)

    def _trace(self, decision: Decision) -> None:
        span = self._tracer.start_span("ragguard.retrieve", start_time=_ns(decision.started))
        span.set_attributes({"ragguard.k": decision.k, "ragguard.outcome": decision.outcome})
        inside = trace.set_span_in_context(span)
        for stage in decision.stages:
            start = decision.started + stage.start
            child = self._tracer.start_span(f"ragguard.{stage.name}", inside, start_time=_ns(start))
            child.end(_ns(start + stage.seconds))
        end = _ns(decision.started + decision.seconds)
        if decision.error is not None:
            span.set_attribute("error.type", decision.outcome)
            span.set_status(StatusCode.ERROR)
        self._tell_result(span, decision, end)
        span.end(end)

    def _tell_result(self, span: Span, decision: Decision, end: int) -> None:
        result = decision.result
        if result is None:
            return
        counts = {"candidates": result.candidates, "kept": result.kept, "removed": result.removed}
        span.set_attributes({f"ragguard.{name}": len(hits) for name, hits in counts.items()})
        for verdict in result.verdicts:
            if verdict.action != "keep":
                fields = {"document": verdict.document_id, "defense": verdict.defense, "reason": verdict.reason}
                texts = {f"ragguard.{name}": writable(text) for name, text in fields.items()}
                more = {} if verdict.suspicion is None else {"ragguard.suspicion": float(verdict.suspicion)}
                span.add_event(f"ragguard.{verdict.action}", {**texts, **more}, end)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
