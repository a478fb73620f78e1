"""Counters for Prometheus."""

from __future__ import annotations

from ragguard.errors import InvalidInputError
from ragguard.retriever import Decision

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise ImportError("Prometheus needs prometheus-client: pip install 'ragguard-defense[telemetry]'") from error

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds: a guarded query takes some milliseconds, and one whose documents are embedded first up to seconds."""


class Prometheus:
    """An observer that counts in a registry, which your program serves as it likes; no document is a label.

    - `ragguard_queries_total`: by `outcome` (see `Decision.outcome`).
    - `ragguard_verdicts_total`: by `defense` and `action`.
    - `ragguard_seconds`: a histogram, by `stage`: `total`, `search`, or a defense.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register the counters; one object for all guards of a registry.

        Raises:
            InvalidInputError: If the registry has them already.
        """
        try:
            self._queries = Counter("ragguard_queries", "Queries that were guarded.", ["outcome"], registry=registry)
            self._verdicts = Counter(
                "ragguard_verdicts", "Verdicts of defenses on documents.", ["defense", "action"], registry=registry
            )
            self._seconds = Histogram(
                "ragguard_seconds", "Time of a query, and of parts of the work.", ["stage"], registry=registry, buckets=BUCKETS
            )
        except ValueError as error:
            raise InvalidInputError(f"the registry has RAGGuard's counters already; share one Prometheus(): {error}") from error

    def __call__(self, decision: Decision) -> None:
        """Count one decision."""
        self._queries.labels(decision.outcome).inc()
        self._seconds.labels("total").observe(decision.seconds)
        for stage in decision.stages:
            self._seconds.labels(stage.name).observe(stage.seconds)
        for verdict in () if decision.result is None else decision.result.verdicts:
            self._verdicts.labels(verdict.defense, verdict.action).inc()
