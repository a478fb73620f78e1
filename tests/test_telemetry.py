"""OpenTelemetry and Prometheus are told of decisions, by their own SDKs, and of nobody's text."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from ragguard.defenses import BaseDefense, Judgement, SourceQuota
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.retriever import Guard, GuardPolicy, Observer, Observers
from ragguard.telemetry import OpenTelemetry, Prometheus
from ragguard.types import Document, Hit

HITS = [Hit(Document(name, f"secret text {name}", {"source": "one"}), 1.0 - i / 10) for i, name in enumerate("abc")]
QUERY = "A secret question?"


class Failing(BaseDefense):
    name = "failing"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        raise ValueError(f"{query} {hits[0].document.text}")


def ask(observer: Observer, *defenses: BaseDefense, **policy: object) -> Observers:
    observers = Observers([observer])
    guard = Guard(list(defenses) or [SourceQuota(1)], GuardPolicy(**policy), observers=observers)  # type: ignore[arg-type]
    with contextlib.suppress(DefenseError):
        guard(QUERY, HITS, 2)
    assert observers.flush()
    return observers


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(spans))
    return made


def test_a_query_is_a_span_under_the_callers_with_its_stages_below(spans: InMemorySpanExporter, tracer: TracerProvider) -> None:
    before = time.time_ns()
    with tracer.get_tracer("app").start_as_current_span("answer") as answering:
        ask(OpenTelemetry(tracer))
    found = {one.name: one for one in spans.get_finished_spans()}
    assert set(found) == {"answer", "ragguard.retrieve", "ragguard.search", "ragguard.SourceQuota(limit=1)"}
    query = found["ragguard.retrieve"]
    assert query.parent is not None
    assert query.parent.span_id == answering.get_span_context().span_id
    for name in ("ragguard.search", "ragguard.SourceQuota(limit=1)"):
        stage = found[name]
        assert stage.parent is not None
        assert query.context is not None
        assert stage.parent.span_id == query.context.span_id
        assert before // 10**6 <= times(query)[0] // 10**6 <= times(stage)[0] // 10**6
        assert times(stage)[1] <= times(query)[1]
    assert query.attributes is not None
    assert {name: query.attributes[f"ragguard.{name}"] for name in ("k", "candidates", "kept", "removed", "outcome")} == {
        "k": 2,
        "candidates": 3,
        "kept": 1,
        "removed": 2,
        "outcome": "answered",
    }
    dropped = [(one.name, one.attributes and one.attributes["ragguard.document"]) for one in query.events]
    assert dropped == [("ragguard.drop", "b"), ("ragguard.drop", "c")]
    assert "secret" not in "".join(one.to_json() for one in found.values())


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def test_an_error_is_a_span_of_its_kind_without_its_message(spans: InMemorySpanExporter, tracer: TracerProvider) -> None:
    ask(OpenTelemetry(tracer), Failing())
    (query,) = [one for one in spans.get_finished_spans() if one.name == "ragguard.retrieve"]
    assert query.status.status_code.name == "ERROR"
    assert query.attributes is not None
    assert query.attributes["error.type"] == "DefenseError"
    assert "secret" not in query.to_json()


def test_metrics_count_queries_verdicts_and_seconds() -> None:
    reader = InMemoryMetricReader()
    observer = OpenTelemetry(TracerProvider(), MeterProvider([reader]))
    ask(observer)
    ask(observer, SourceQuota(2))
    ask(observer, Failing())
    ask(observer, Failing(), fail_open=True)
    data = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]
    points = {
        metric["name"]: {tuple(point["attributes"].values()): point for point in metric["data"]["data_points"]}
        for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    }
    assert {key: point["value"] for key, point in points["ragguard.queries"].items()} == {
        ("answered",): 2,
        ("DefenseError",): 1,
        ("degraded",): 1,
    }
    assert {key: point["value"] for key, point in points["ragguard.verdicts"].items()} == {
        ("SourceQuota(limit=1)", "keep"): 1,
        ("SourceQuota(limit=1)", "drop"): 2,
        ("SourceQuota(limit=2)", "keep"): 2,
        ("SourceQuota(limit=2)", "drop"): 1,
    }
    assert {key: point["count"] for key, point in points["ragguard.duration"].items()} == {
        ("total",): 4,
        ("search",): 4,
        ("SourceQuota(limit=1)",): 1,
        ("SourceQuota(limit=2)",): 1,
        ("failing",): 2,
    }


def test_an_id_that_is_no_utf8_does_not_stop_an_exporter(spans: InMemorySpanExporter, tracer: TracerProvider) -> None:
    observers = Observers([OpenTelemetry(tracer)])
    Guard([SourceQuota(1)], observers=observers)(QUERY, [*HITS[:1], Hit(Document("\ud800", "x", {"source": "one"}), 0.5)], 2)
    assert observers.flush()
    (query,) = [one for one in spans.get_finished_spans() if one.name == "ragguard.retrieve"]
    (event,) = query.events
    assert event.attributes is not None
    assert event.attributes["ragguard.document"] == "\\ud800"


def test_what_waits_at_exit_is_told_before_the_tracer_ends(tmp_path: Path) -> None:
    program = f"""
import time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from ragguard.defenses import SourceQuota
from ragguard.retriever import Observers
from ragguard.retriever import Guard
from ragguard.telemetry import OpenTelemetry
from ragguard.types import Document, Hit

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=open({str(tmp_path / "spans")!r}, "w"))))
told = OpenTelemetry(provider)
observers = Observers([lambda decision: (time.sleep(0.2), told(decision))])
Guard([SourceQuota(1)], observers=observers)("tunnel", [Hit(Document("a", "The tunnel."), 1.0)], 1)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "spans").read_text().count('"ragguard.retrieve"') == 1


def test_an_exporter_that_hangs_or_fails_changes_no_answer(tracer: TracerProvider) -> None:
    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            time.sleep(60)
            raise ConnectionError("no collector")

    tracer.add_span_processor(SimpleSpanProcessor(Hanging()))
    expected = Guard([SourceQuota(1)])(QUERY, HITS, 2)
    observers = Observers([OpenTelemetry(tracer)])
    start = time.monotonic()
    guard = Guard([SourceQuota(1)], GuardPolicy(deadline_s=5), observers=observers)
    assert [guard(QUERY, HITS, 2) for _ in range(5)] == [expected] * 5
    assert time.monotonic() - start < 5


def test_prometheus_counts_queries_verdicts_and_seconds() -> None:
    registry = CollectorRegistry()
    observer = Prometheus(registry)
    ask(observer)
    ask(observer, Failing())
    told = generate_latest(registry).decode()
    for line in (
        'ragguard_queries_total{outcome="answered"} 1.0',
        'ragguard_queries_total{outcome="DefenseError"} 1.0',
        'ragguard_verdicts_total{action="drop",defense="SourceQuota(limit=1)"} 2.0',
        'ragguard_seconds_count{stage="total"} 2.0',
        'ragguard_seconds_count{stage="search"} 2.0',
    ):
        assert line in told
    assert "secret" not in told
    with pytest.raises(InvalidInputError, match="share one"):
        Prometheus(registry)


def test_a_query_of_which_nothing_is_left_is_counted_with_all_that_was_dropped() -> None:
    class Dropping(BaseDefense):
        name = "dropping"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
            return [Judgement(i, hit.score, "Away.", drop=True) for i, hit in enumerate(hits)]

    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    ask(Prometheus(registry), Dropping(), Failing(), fail_open=True)
    ask(OpenTelemetry(TracerProvider(), MeterProvider([reader])), Dropping())
    told = generate_latest(registry).decode()
    assert 'ragguard_verdicts_total{action="drop",defense="dropping"} 3.0' in told
    assert '"ragguard.action": "drop"' in reader.get_metrics_data().to_json()  # type: ignore[union-attr]
    told_of: list[str] = []
    ask(lambda decision: told_of.append(decision.outcome), Failing(), Dropping(), fail_open=True)
    assert told_of == ["degraded"]
