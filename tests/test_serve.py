"""The sidecar: what it answers is what the guard says, what it refuses is told as JSON, and nothing comes back unguarded."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from ragguard.audit import Record, read, replay
from ragguard.cli.serve import observing
from ragguard.defenses import BaseDefense, CalibratedGuard, Judgement, SourceQuota
from ragguard.defenses.base import MAX_CHARACTERS
from ragguard.demo.scenario import DATA
from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import load as dataset
from ragguard.evidence import SQLStore
from ragguard.index import DenseIndex
from ragguard.retriever import Guard, GuardPolicy
from ragguard.serve.app import application
from ragguard.serve.limits import AT_ONCE, RATE
from ragguard.serve.loading import Loaded, load
from ragguard.serve.problems import KINDS
from ragguard.serve.schema import BODY, HITS, QUERY, TEXT
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, GuardedResult, Hit

DEMO = dataset(DATA)
QUERIES = list(DEMO.queries.values())
QUESTION = QUERIES[0]
K = 5
INSIDE = "postgresql://user@inner-host"


def rows_of(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    return [{"id": h.document.id, "text": h.document.text, "score": h.score, "metadata": h.document.metadata} for h in hits]


@pytest.fixture(scope="module")
def index() -> DenseIndex:
    made = DenseIndex(WordHashEncoder())
    made.add(DEMO.documents)
    return made


@pytest.fixture(scope="module")
def loaded(index: DenseIndex) -> Loaded:
    encoder = WordHashEncoder()
    guard = CalibratedGuard.calibrated(encoder, index, DEMO.documents, QUERIES, k=K, max_clean_query_loss=0.05)
    defenses = [guard, SourceQuota(3)]
    names = tuple(defense.name for defense in defenses)
    return Loaded(Guard(defenses, GuardPolicy(deadline_s=30)), guard, names, "word-hash", encoder, len(DEMO.documents), None)


@pytest.fixture(scope="module")
def client(loaded: Loaded) -> Iterator[TestClient]:
    with asking(loaded) as made:
        yield made


def asking(loaded: Loaded, **options: Any) -> TestClient:
    app = application(loaded, **{"rate": 10_000, **options})
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def hits(index: DenseIndex) -> list[dict[str, Any]]:
    """Of the first question, with a document in front that repeats it."""
    found = rows_of(index.retrieve(QUESTION, 2 * K))
    text = f"{QUESTION} Sourdough bread rises by wild yeast.\u200b {QUESTION}"
    return [{"id": "poison", "text": text, "score": 2.0, "metadata": {"source": "blog", "tags": ["a", {"b": None}]}}, *found]


def test_the_answer_is_what_the_guard_says(client: TestClient, loaded: Loaded, hits: list[dict[str, Any]]) -> None:
    response = client.post("/guard", json={"query": QUESTION, "k": K, "hits": hits})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["removed"] == answer["lost"] == ["poison"]
    assert len(answer["kept"]) == K
    assert sorted([*(one["id"] for one in answer["kept"]), *answer["reserve"], *answer["removed"]]) == sorted(
        one["id"] for one in hits
    )
    verdict = answer["verdicts"][0]
    assert verdict["action"] == "drop"
    assert "repeats the query word for word" in verdict["reason"]
    span = verdict["spans"][0]
    assert hits[0]["text"][span["start"] : span["end"]].startswith(QUESTION[:20])  # of the text as it was sent
    result = guarded(loaded, hits)
    for name in ("verdicts", "certificates", "contests", "query_findings"):
        expected = [asdict(one) for one in getattr(result, name)]
        assert answer[name] == json.loads(json.dumps(expected))
    assert answer["certificates"][0]["bound"] == 3


def guarded(loaded: Loaded, hits: list[dict[str, Any]]) -> GuardedResult:
    return loaded.guard(QUESTION, [Hit(Document(h["id"], h["text"], h["metadata"]), h["score"]) for h in hits], K)


def test_health_says_what_is_loaded(client: TestClient, loaded: Loaded) -> None:
    found = client.get("/health").json()
    assert found["status"] == "ok"
    assert found["k"] == K
    assert found["documents"] == found["calibration"]["documents"] == len(DEMO.documents)
    assert found["model"] == {"name": "word-hash", "fingerprint": "word-hash", "dimension": 128}
    assert found["calibration"]["queries"] == len(set(QUERIES))
    assert found["calibration"]["promise"].startswith("At most 5.00% of clean queries")
    assert found["defenses"] == list(loaded.defenses)
    assert found["live"]["queries"] == loaded.calibrated.drift.queries


ONE = {"id": "a", "text": "words", "score": 1.0}
WRONG: list[tuple[object, str]] = [
    ({"query": "why", "k": 1}, "hits: Field required"),
    ({"query": "why", "k": "1", "hits": []}, "k: Input should be a valid integer"),
    ({"query": "why", "k": 0, "hits": []}, "k: Input should be greater than or equal to 1"),
    ({"query": "why", "k": K + 1, "hits": []}, f"calibrated for at most {K} results, not {K + 1}"),
    ({"query": " \u200b", "k": 1, "hits": [ONE]}, "the query has no text"),
    ({"query": "w" * (QUERY + 1), "k": 1, "hits": []}, f"query: String should have at most {QUERY} characters"),
    ({"query": "why", "k": 1, "hits": [ONE], "policy": "flag"}, "policy: Extra inputs are not permitted"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "metdata": {}}]}, "hits.0.metdata: Extra inputs are not permitted"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "id": ""}]}, "hits.0.id: String should have at least 1 character"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "text": None}]}, "hits.0.text: Input should be a valid string"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "text": "w" * (TEXT + 1)}]}, f"at most {TEXT} characters"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "score": float("nan")}]}, "hits.0.score: Input should be a finite number"),
    ({"query": "why", "k": 1, "hits": [ONE, {**ONE, "text": "others"}]}, "two different texts under the id 'a'"),
    ({"query": "why", "k": 1, "hits": [{**ONE, "id": str(i)} for i in range(HITS + 1)]}, f"at most {HITS} items"),
    (
        {"query": "why", "k": 1, "hits": [ONE, {**ONE, "id": "b", "score": 2}]},
        "hits must come best first, and 'b' scores more than 'a' before it",
    ),
    ({"query": 1, "k": None, "hits": {}, "a": 1, "b": 2}, "; and 2 more"),
    ([], "the body, as application/json"),
]


@pytest.mark.parametrize(("body", "message"), WRONG, ids=range(len(WRONG)))
def test_a_request_that_cannot_be_judged_says_why(client: TestClient, body: object, message: str) -> None:
    sent = json.dumps(body)
    response = client.post("/guard", content=sent, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["error"] == "invalid_input"
    assert message in response.json()["message"]
    assert "\n" not in response.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "error"),
    [
        ("POST", "/guard", b"{", 422, "invalid_input"),
        ("POST", "/guard", b'{"query": "\xff"}', 400, "bad_request"),
        ("POST", "/guard", b"[" * 100_000, 400, "bad_request"),
        ("GET", "/guard", b"", 405, "method_not_allowed"),
        ("GET", "/docs", b"", 404, "not_found"),
        ("POST", "/guard", b" " * (BODY + 1), 413, "too_large"),
    ],
)
def test_every_error_is_json(client: TestClient, method: str, path: str, content: bytes, status: int, error: str) -> None:
    response = client.request(method, path, content=content, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.json()["message"]


def test_a_body_without_a_length_is_counted_too(client: TestClient) -> None:
    parts = iter([b" " * (1 << 20)] * 4)
    assert BODY < 4 << 20
    response = client.post("/guard", content=parts, headers={"content-type": "application/json"})
    assert response.json()["error"] == "too_large"


def test_what_is_odd_but_can_be_judged_is_answered(client: TestClient) -> None:
    half = "\ud83d"  # of a pair, as programs send that cut texts by UTF-16 units
    rows = [
        {"id": f"a{half}", "text": f"words {half}", "score": 1, "metadata": {"source": half}},
        {"id": "long", "text": "w " * MAX_CHARACTERS, "score": 0.5},
        {"id": "empty", "text": "", "score": 0.2},
    ]
    sent = json.dumps({"query": f"why {half} \u200b", "k": 2, "hits": rows})
    response = client.post("/guard", content=sent, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [one["id"] for one in answer["kept"]] == ["a?"]
    assert answer["removed"] == ["long", "empty"]
    assert answer["kept"][0]["text"] == "words ?"
    assert client.post("/guard", json={"query": "why", "k": 1, "hits": []}).json()["kept"] == []


def test_too_many_requests_are_told_when_to_come_again(loaded: Loaded) -> None:
    body = {"query": "why", "k": 1, "hits": []}
    with asking(loaded, rate=2) as client:
        answers = [client.post("/guard", json=body) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert answers[2].json() == {"error": "too_many_requests", "message": "more than 2 requests a second; come again in 1 s"}
        assert answers[2].headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200


class Doing(BaseDefense):
    """Whatever a test wants."""

    name = "doing"

    def __init__(self, work: Any) -> None:
        self._work = work

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        self._work()
        return [Judgement(i, hit.score, "Fine.") for i, hit in enumerate(hits)]


def doing(loaded: Loaded, work: Any, **policy: Any) -> Loaded:
    return replace(loaded, guard=Guard([Doing(work)], GuardPolicy(**policy)))


def test_a_query_that_is_judged_blocks_nobody_else(loaded: Loaded) -> None:
    go = threading.Event()
    app = application(doing(loaded, lambda: go.wait(30)), at_once=2)
    body = {"query": "why", "k": 1, "hits": [ONE]}

    async def play() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=20) as client:
            waiting = [asyncio.create_task(client.post("/guard", json=body)) for _ in range(2)]
            await asyncio.sleep(0.2)
            health, third = await client.get("/health"), await client.post("/guard", json=body)
            assert not any(one.done() for one in waiting)
            assert third.json()["message"].startswith("2 requests are being judged")
            go.set()
            answers = [await one for one in waiting]
            return [health.status_code, third.status_code, *(one.status_code for one in answers)]

    assert asyncio.run(play()) == [200, 429, 200, 200]


def test_a_guard_that_fails_answers_nothing_and_tells_nothing(loaded: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError(INSIDE)

    body = {"query": "why", "k": 1, "hits": [ONE]}
    with asking(doing(loaded, fail)) as client:
        failed = client.post("/guard", json=body)
    with asking(doing(loaded, lambda: threading.Event().wait(5), deadline_s=0.1)) as client:
        late = client.post("/guard", json=body)
    assert (failed.status_code, failed.json()["error"]) == (500, "guard_failed")
    assert (late.status_code, late.json()["error"]) == (504, "too_late")
    assert not {"kept", "words"} & set(failed.json())
    assert INSIDE not in failed.text
    assert INSIDE in caplog.text


def test_a_store_that_is_gone_stops_the_service(index: DenseIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, encoder = tmp_path / "evidence.db", WordHashEncoder()
    with SQLStore(path) as store:
        guard = CalibratedGuard.calibrated(
            encoder, index, DEMO.documents, QUERIES[:30], k=2, max_clean_query_loss=0.1, store=store
        )
        served = Loaded(Guard([guard]), guard, (guard.name,), "word-hash", encoder, len(DEMO.documents), store)
        body = {"query": "why", "k": 1, "hits": [{**ONE, "text": "words that were never seen before"}]}
        with asking(served) as client:
            assert client.get("/health").json()["evidence"] == "database"
            store.close()
            for file in tmp_path.iterdir():
                file.write_bytes(b"no database at all" * 1000)
            for response in (client.get("/health"), client.post("/guard", json=body)):
                assert (response.status_code, response.json()["error"]) == (503, "store_unavailable")
                assert str(path) not in response.text
    assert str(path) in caplog.text


def test_a_page_in_a_browser_cannot_call_it_by_a_name_of_its_own(loaded: Loaded) -> None:
    for hosts, status in ((("127.0.0.1",), 400), (("*",), 200)):
        with asking(loaded, hosts=hosts) as client:
            assert client.get("/health", headers={"host": "evil.example"}).status_code == status


def test_the_openapi_document_says_what_everything_means(client: TestClient) -> None:
    found = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"Question", "Answer", "Verdict", "Certificate", "Contest", "QueryFinding", "Span", "Problem"} <= set(found)
    told = {f"{name}.{key}": one for name, schema in found.items() for key, one in schema.get("properties", {}).items()}
    assert len(told) > 50
    assert [name for name, one in told.items() if not one.get("description")] == []
    assert told["Verdict.rank_before"]["description"] == "Rank among the candidates this defense was given; 1 is best."
    assert told["Question.hits"]["maxItems"] == HITS
    assert told["Question.k"]["maximum"] == K
    assert not any("Attributes:" in schema.get("description", "") for schema in found.values())


def test_the_page_tells_the_limits_and_errors_there_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "sidecar.md").read_text(encoding="utf-8")
    for number in (BODY, HITS, TEXT, QUERY, MAX_CHARACTERS, RATE, AT_ONCE):
        assert f"{number:,}" in page
    for status, error in KINDS.items():
        assert str(status) in page
        assert f"`{error}`" in page


@pytest.mark.parametrize(
    ("guard", "corpus", "message"),
    [
        ("none.json", "corpus.jsonl", "none.json cannot be read"),
        ("guard.json", "none.jsonl", "none.jsonl cannot be read"),
        ("bad.json", "corpus.jsonl", "is damaged; calibrate again"),
    ],
)
def test_what_cannot_be_served_is_told_before_the_model_is_loaded(
    guard: str, corpus: str, message: str, loaded: Loaded, tmp_path: Path
) -> None:
    loaded.calibrated.save(tmp_path / "guard.json")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "corpus.jsonl").write_text('{"text": "words"}')
    with pytest.raises(InvalidInputError, match=message):
        load(tmp_path / guard, tmp_path / corpus, model="no/such/model")


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        # What fits the schema may still be refused: a query without words, hits in no order, two texts under one id.
        (GenerationMode.POSITIVE, {200, 422}),
        (GenerationMode.NEGATIVE, {400, 413, 422}),
    ],
)
def test_whatever_is_sent_is_answered_as_the_openapi_document_says(
    loaded: Loaded, mode: GenerationMode, statuses: set[int]
) -> None:
    api = schemathesis.openapi.from_asgi("/openapi.json", application(loaded, rate=1_000_000, hosts=["*"]))
    judged = ("positive_data_acceptance", "negative_data_rejection")  # by the statuses above instead
    excluded: Any = [schemathesis.checks.CHECKS.get_one(name) for name in judged]

    @given(case=api["/guard"]["POST"].as_strategy(generation_mode=mode))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def ask(case: schemathesis.Case[Any]) -> None:
        found.add(case.call_and_validate(excluded_checks=excluded).status_code)

    found: set[int] = set()
    ask()
    assert found <= statuses
    assert min(statuses) in found


def test_decisions_are_recorded_and_counted(loaded: Loaded, hits: list[dict[str, Any]], tmp_path: Path) -> None:
    observers, counted = observing(tmp_path / "audit.jsonl", False, True)
    assert observers is not None
    guard = Guard(loaded.guard.defenses, loaded.guard.policy, observers=observers)
    with asking(replace(loaded, guard=guard, observers=observers), metrics=counted) as client:
        assert client.post("/guard", json={"query": QUESTION, "k": K, "hits": hits}).status_code == 200
        assert observers.flush(10)
        assert client.get("/health").json()["unrecorded"] == 0
        told = client.get("/metrics")
        assert told.headers["content-type"].startswith("text/plain")
        assert 'ragguard_queries_total{outcome="answered"} 1.0' in told.text
        assert "/metrics" not in client.get("/openapi.json").text
    (one,) = read([tmp_path / "audit.jsonl"])
    assert isinstance(one, Record)
    assert one.removed == ("poison",)
    assert replay(one).differences == ()


def test_nothing_is_recorded_unless_it_is_asked_for(client: TestClient) -> None:
    assert client.get("/health").json()["unrecorded"] is None
    assert client.get("/metrics").status_code == 404
    assert observing(None, False, False) == (None, None)
