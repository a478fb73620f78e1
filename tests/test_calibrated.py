from __future__ import annotations

import inspect
import statistics
import textwrap
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest

from ragguard.attacks import Budget, QueryCopy
from ragguard.defenses import CalibratedGuard, SourceQuota, default_guard
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.datasets import load, target
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.retriever import GuardedRetriever
from ragguard.testing import DefenseContract, WordHashEncoder
from ragguard.types import Document, Hit

DEMO = load(DATA)
QUERIES = list(DEMO.queries.values())
ATTACKED, CLEAN = list(DEMO.queries)[:6], QUERIES[6:]
LOSS = 0.05


WINDOWS = MemoryStore()


def guard(encoder: object = None, **options: object) -> CalibratedGuard:
    encoder = encoder or WordHashEncoder()
    index = DenseIndex(encoder)  # type: ignore[arg-type]
    index.add(DEMO.documents)
    chosen = {"k": 5, "max_clean_query_loss": LOSS, "store": WINDOWS, **options}
    return CalibratedGuard.calibrated(encoder, index, DEMO.documents, CLEAN, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fake_guard() -> CalibratedGuard:
    return guard()


@pytest.fixture(scope="module")
def cached(encoder: SentenceTransformerEncoder) -> CachedEncoder:
    """The real model; embeds no text twice."""
    return CachedEncoder(encoder)


@pytest.fixture(scope="module")
def real_guard(cached: CachedEncoder) -> CalibratedGuard:
    return guard(cached)


@cache
def shared_guard() -> CalibratedGuard:
    return guard(k=100)


class TestCalibratedGuardContract(DefenseContract):
    def make_defense(self) -> Defense:
        return shared_guard()


def test_a_calibration_is_bound_to_encoder_and_signals(fake_guard: CalibratedGuard) -> None:
    other = fake_guard.calibration.model_copy(update={"encoder": "another"})
    with pytest.raises(InvalidInputError, match="'another'"):
        CalibratedGuard(WordHashEncoder(), fake_guard._corpus, fake_guard._signals, other)
    with pytest.raises(InvalidInputError, match="for the signals"):
        CalibratedGuard(WordHashEncoder(), fake_guard._corpus, fake_guard._signals[1:], fake_guard.calibration)


def test_more_results_than_calibrated_for_are_refused(fake_guard: CalibratedGuard) -> None:
    with pytest.raises(InvalidInputError, match="at most 5 results, not 6"):
        fake_guard(QUERIES[0], [Hit(DEMO.documents[0], 1.0)], 6)


def attacked(made: CalibratedGuard, cached: CachedEncoder, places: Sequence[str]) -> tuple[list[int], list[str]]:
    """Poisoned documents in the guarded top 5 of each attacked query, and what was said of the others."""
    attack = QueryCopy(DEMO.documents, places=places)  # type: ignore[arg-type]
    left, reasons = [], []
    for name in ATTACKED:
        poison = attack([target(DEMO, name)], Budget(3))
        index = DenseIndex(cached)
        index.add([*DEMO.documents, *poison])
        result = made(DEMO.queries[name], index.retrieve(DEMO.queries[name], 10), 5)
        left.append(sum(hit.document.id.startswith("poison") for hit in result.kept))
        reasons += [one.reason for one in result.verdicts if one.document_id.startswith("poison")]
    return left, reasons


@pytest.mark.parametrize("places", [("front",), ("front", "end"), ("every-fragment",)])
def test_copied_queries_are_stopped_and_explained(
    real_guard: CalibratedGuard, cached: CachedEncoder, places: tuple[str, ...]
) -> None:
    left, reasons = attacked(real_guard, cached, places)
    assert left == [0] * len(ATTACKED)
    assert all("repeats the query word for word (" in reason for reason in reasons)


def test_clean_queries_keep_their_documents(real_guard: CalibratedGuard, cached: CachedEncoder) -> None:
    index = DenseIndex(cached)
    index.add(DEMO.documents)
    lost = [bool(real_guard(query, index.retrieve(query, 10), 5).lost) for query in QUERIES[:6]]
    assert sum(lost) <= 1


def test_policies(cached: CachedEncoder, real_guard: CalibratedGuard) -> None:
    query = QUERIES[0]
    poison = Document("poison", f"{query} {DEMO.documents[100].text}")
    index = DenseIndex(cached)
    index.add([*DEMO.documents, poison])
    hits = index.retrieve(query, 10)
    assert "poison" in {hit.document.id for hit in hits[:5]}

    def under(policy: str) -> CalibratedGuard:
        return CalibratedGuard(
            cached,
            real_guard._corpus,
            real_guard._signals,
            real_guard.calibration,
            max_clean_query_loss=LOSS,
            policy=policy,  # type: ignore[arg-type]
            store=WINDOWS,
        )

    assert "poison" in {hit.document.id for hit in under("drop")(query, hits, 5).removed}
    demoted = under("demote")(query, hits, 5)
    assert demoted.reserve[-1].document.id == "poison"
    sanitised = under("sanitise")(query, hits, 5)
    place = [hit.document.id for hit in (*sanitised.kept, *sanitised.reserve)].index("poison")
    assert place >= 5
    flagged = under("flag")(query, hits, 5)
    assert [hit.document.id for hit in flagged] == [hit.document.id for hit in hits[:5]]
    assert "word for word" in flagged.verdicts_on("poison")[0].reason
    with pytest.raises(DefenseError, match="document 'poison': The document repeats"):
        under("raise")(query, hits, 5)
    with pytest.raises(InvalidInputError, match="policy"):
        under("shrug")


def test_a_guard_warns_once(cached: CachedEncoder, caplog: pytest.LogCaptureFixture) -> None:
    made = guard(cached)  # its own counts
    hits = [Hit(Document(f"p{i}", f"{QUERIES[0]} {DEMO.documents[i].text}"), 1.0 - i / 10) for i in range(5)]
    for _ in range(20):
        made(QUERIES[0], hits, 5)
    assert ["review what was removed" in record.message for record in caplog.records] == [True]
    assert (made.drift.queries, made.drift.suspicious) == (20, 20)


def test_a_guard_without_queries_or_documents_says_so() -> None:
    index = DenseIndex(WordHashEncoder())
    index.add(DEMO.documents)
    with pytest.raises(InvalidInputError, match="3 different queries are too few"):
        CalibratedGuard.calibrated(WordHashEncoder(), index, DEMO.documents, QUERIES[:3])
    with pytest.raises(InvalidInputError, match="at least one text"):
        CalibratedGuard.calibrated(WordHashEncoder(), index, [], QUERIES, max_clean_query_loss=LOSS)


@pytest.mark.parametrize("query", ["why", "gold", " ".join(QUERIES[:30])])
def test_short_and_long_queries_are_judged(real_guard: CalibratedGuard, cached: CachedEncoder, query: str) -> None:
    index = DenseIndex(cached)
    index.add(DEMO.documents)
    assert len(real_guard(query, index.retrieve(query, 10), 5).verdicts) == 10


def test_the_default_guard_counts_sources_where_there_are_any() -> None:
    encoder = WordHashEncoder()
    named = [Document(one.id, one.text, {"source": f"s{i % 7}"}) for i, one in enumerate(DEMO.documents)]
    index = DenseIndex(encoder)
    index.add(named)
    asked: Counter[str] = Counter()

    class Counted:
        def retrieve(self, query: str, k: int) -> Sequence[Hit]:
            asked[query] += 1
            return index.retrieve(query, k)

    guard, quota = default_guard(encoder, Counted(), named, CLEAN, k=5, max_clean_query_loss=LOSS, store=WINDOWS)
    assert set(asked.values()) == {1}
    assert isinstance(guard, CalibratedGuard)
    assert isinstance(quota, SourceQuota)
    result = GuardedRetriever(index, [guard, quota]).retrieve(QUERIES[0], k=5)
    assert max(Counter(hit.document.metadata["source"] for hit in result).values()) <= quota.settings.limit < 5
    assert result.certificates[0].bound == quota.settings.limit
    unnamed = [Document(one.id, one.text) for one in DEMO.documents]
    (alone,) = default_guard(encoder, index, unnamed, CLEAN, k=5, max_clean_query_loss=LOSS, store=WINDOWS)
    assert alone.name == guard.name


def corpus_of(kind: str) -> tuple[list[Document], list[str]]:
    """Forty to sixty documents, and forty queries that some of them answer."""
    if kind == "questions":  # documents that contain what is asked
        texts = [f"Q: {query}\nA: {DEMO.documents[i].text}" for i, query in enumerate(QUERIES[:40])]
        return [Document(f"d{i}", text) for i, text in enumerate(texts)], QUERIES[:40]
    if kind == "code":
        sources = [
            inspect.getsource(one)
            for module in (textwrap, statistics)
            for _, one in inspect.getmembers(module, inspect.isfunction)
        ]
        texts = [part for source in sources for part in source.split("\n\n") if len(part.split()) > 12][:60]
        return [Document(f"d{i}", text) for i, text in enumerate(texts)], [" ".join(text.split()[2:8]) for text in texts[:40]]
    said = (
        ("Der {} liegt im Norden des Landes und wird von vielen Leuten besucht", "wo liegt der {}"),
        ("La {} se trouve au nord du pays, et beaucoup de gens la visitent", "ou se trouve la {}"),
        ("{}\u4f4d\u4e8e\u8fd9\u4e2a\u56fd\u5bb6\u7684\u5317\u90e8\uff0c\u5f88\u591a\u4eba\u53bb", "{}\u5728\u54ea\u91cc"),
    )
    names = [f"{one}{other}" for one in ("Kar", "Lim", "Mon", "Tes") for other in ("dorf", "berg", "see", "tal", "burg")]
    pairs = [(text.format(name), query.format(name)) for name in names for text, query in said]
    return [Document(f"d{i}", text) for i, (text, _) in enumerate(pairs)], [query for _, query in pairs[:40]]


@pytest.mark.parametrize("kind", ["questions", "code", "languages"])
def test_any_corpus_keeps_its_documents(cached: CachedEncoder, kind: str) -> None:
    """FAQs, whose documents contain the questions; code; many languages."""
    documents, queries = corpus_of(kind)
    index = DenseIndex(cached)
    index.add(documents)
    made = CalibratedGuard.calibrated(cached, index, documents, queries[:30], k=3, max_clean_query_loss=0.1)
    lost = [bool(made(query, index.retrieve(query, 6), 3).lost) for query in queries[30:]]
    assert sum(lost) <= 4  # of 10, at one in ten
