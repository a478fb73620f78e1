from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragguard.attacks import Budget, Paraphrase
from ragguard.defenses import CalibratedGuard, RobustScore
from ragguard.defenses.robust import fit, rest
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.datasets import load, target
from ragguard.evaluation.registry import Bench, build_system
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Encoder
from ragguard.retriever import GuardedRetriever
from ragguard.testing import DefenseContract, WordHashEncoder
from ragguard.types import Document, GuardedResult, Vectors

DEMO = load(DATA)
NAME = "q-geology-2"  # Which volcanic eruption caused the year without a summer in 1816?
CLEAN = [query for name, query in DEMO.queries.items() if name != NAME]
STORE = MemoryStore()


def dense(encoder: Encoder, documents: Sequence[Document] = DEMO.documents) -> DenseIndex:
    index = DenseIndex(encoder)
    index.add(documents)
    return index


@cache
def fake() -> RobustScore:
    encoder = WordHashEncoder()
    return RobustScore.fitted(encoder, dense(encoder), DEMO.documents, CLEAN, k=5, store=STORE)


class TestRobustScoreContract(DefenseContract):
    def make_defense(self) -> Defense:
        return fake()


class TestRobustScoreOfPlaces(DefenseContract):
    def make_defense(self) -> Defense:
        return RobustScore(WordHashEncoder(), a=0.1, b=0.5, cosines=False)


similarities = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


@given(similarities, st.data())
def test_two_thirds_of_the_windows_cannot_lift_the_rest(honest: list[float], data: st.DataObject) -> None:
    """What the certificate says, against any attacker."""
    touched = data.draw(st.integers(0, len(honest) * fake().certificates(20, 5)[0].bound // 100))
    written = data.draw(st.lists(st.floats(-1, 1), min_size=touched, max_size=touched))
    assert rest([*written, *honest[touched:]]) <= max(honest[touched:])


def test_more_than_two_thirds_can() -> None:
    assert rest([1.0] * 6 + [0.0] * 3) == 0
    assert rest([1.0] * 7 + [0.0] * 2) == 1


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.9])
def test_fit_is_the_line_with_the_least_pinball_loss(quantile: float) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(0.2, 0.1, 60)
    y = 0.3 + 0.8 * x + generator.gumbel(0, 0.1, 60)

    def loss(a: float, b: float) -> float:
        over = y - a - b * x
        return float(np.maximum(quantile * over, (quantile - 1) * over).sum())

    a, b = fit(x, y, quantile)
    # The best line goes through two of the points.
    lines = [(y[i] - slope * x[i], slope) for i in range(60) for j in range(i) if (slope := (y[i] - y[j]) / (x[i] - x[j])) >= 0]
    assert loss(a, b) == pytest.approx(min(loss(*line) for line in lines))
    assert np.mean(y <= a + b * x + 1e-9) == pytest.approx(quantile, abs=2 / 60)


def test_a_rest_that_says_nothing_leaves_a_constant_bound() -> None:
    x = np.arange(100.0)
    a, b = fit(x, -x, 0.8)
    assert b == 0
    assert np.mean(-x <= a) == pytest.approx(0.8, abs=0.02)


def test_the_quantile_is_the_share_that_stays() -> None:
    encoder = WordHashEncoder()
    index = dense(encoder)
    for quantile in (0.5, 0.9):
        made = RobustScore.fitted(encoder, index, DEMO.documents, CLEAN, quantile=quantile, k=5, store=STORE)
        found = [made(query, index.retrieve(query, 10), 10) for query in CLEAN]
        same = [hit in result.candidates for result in found for hit in result]
        assert np.mean(same) == pytest.approx(quantile, abs=0.01)


def test_nothing_moves_up_but_by_what_moves_down() -> None:
    index = dense(WordHashEncoder())
    for query in CLEAN[:10]:
        hits = index.retrieve(query, 10)
        result = fake()(query, hits, 5)
        before = {hit.document.id: hit.score for hit in hits}
        after = {hit.document.id: hit.score for hit in (*result.kept, *result.reserve)}
        assert all(after[name] <= score for name, score in before.items())
        untouched = [name for name in before if after[name] == before[name]]
        assert [name for name in after if name in untouched] == untouched
        assert not result.removed


def test_scores_that_are_no_cosines_keep_their_order() -> None:
    encoder = WordHashEncoder()
    index = BM25Index()
    index.add(DEMO.documents)
    made = RobustScore.fitted(encoder, index, DEMO.documents, CLEAN, k=5, store=STORE)
    assert not made.settings.cosines
    assert fake().settings.cosines
    hits = index.retrieve(CLEAN[0], 10)
    free = RobustScore(encoder, a=2, b=0, cosines=False, store=STORE)  # a bound that nothing reaches
    assert [hit.document.id for hit in free(CLEAN[0], hits, 10)] == [hit.document.id for hit in hits]
    with pytest.raises(InvalidInputError, match="was fitted to cosines"):
        fake()(CLEAN[0], hits, 5)


def test_a_bench_knows_it_by_name() -> None:
    encoder = WordHashEncoder()
    bench = Bench(DEMO, encoder, encoder, {}, tuple(CLEAN), dense(encoder), 5, 0, STORE)  # type: ignore[arg-type]
    system = build_system("default(max_clean_query_loss=0.05)+robust(quantile=0.9)", bench)
    assert re.fullmatch(r"CalibratedGuard\(0.05\) \+ SourceQuota\(limit=\d\) \+ RobustScore\(.* \* rest\)", system.name)
    result = system.over(bench.corpus).retrieve(CLEAN[0], 5)
    assert isinstance(result, GuardedResult)
    assert result.certificates[-1].bound == 66


def test_what_cannot_be_fitted_is_refused() -> None:
    encoder = WordHashEncoder()
    index = dense(encoder)
    with pytest.raises(InvalidInputError, match="9 different queries"):
        RobustScore.fitted(encoder, index, DEMO.documents, [*CLEAN[:9], CLEAN[0]])
    with pytest.raises(InvalidInputError, match="quantile must lie between 0 and 1, not 1"):
        RobustScore.fitted(encoder, index, DEMO.documents, CLEAN, quantile=1)
    with pytest.raises(InvalidInputError, match="RobustScore"):
        RobustScore(encoder, a=0.2, b=-0.1)
    with pytest.raises(InvalidInputError, match="is not an encoder"):
        RobustScore("model", a=0.2, b=1)  # type: ignore[arg-type]


def test_without_queries_they_are_derived() -> None:
    encoder = WordHashEncoder()
    made = RobustScore.fitted(encoder, dense(encoder), DEMO.documents, k=5, store=STORE)
    assert made.settings.b >= 0


def test_a_shared_store_embeds_no_window_twice() -> None:
    class Counted(WordHashEncoder):
        embedded = 0

        def encode_document(self, texts: Sequence[str]) -> Vectors:
            self.embedded += len(texts)
            return super().encode_document(texts)

        def encode_query(self, texts: Sequence[str]) -> Vectors:
            return super().encode_document(texts)

    encoder, store = Counted(), MemoryStore()
    index = dense(encoder)
    given = (encoder, index, DEMO.documents, CLEAN)
    guard = CalibratedGuard.calibrated(*given, k=5, max_clean_query_loss=0.05, store=store)
    guard.prepare(DEMO.documents)
    before = encoder.embedded
    made = RobustScore.fitted(*given, k=5, store=store)
    made.prepare(DEMO.documents)
    GuardedRetriever(index, [guard, made]).retrieve(CLEAN[0], k=5)
    assert encoder.embedded - before == 8  # first hits, to see whether scores are cosines


SAYS_THE_SAME = {
    NAME: [
        "Which eruption of a mountain of fire led to the cold harvest season two centuries ago, when snow fell in June?",
        "The blast of a fiery peak that took the warm months away from Europe and New England two hundred years ago.",
    ]
}


def test_a_paraphrase_does_not_win_for_a_passage_about_something_else(encoder: SentenceTransformerEncoder) -> None:
    cached = CachedEncoder(encoder)
    documents, asked = DEMO.documents[:24], CLEAN[:12]
    made = RobustScore.fitted(cached, dense(cached, documents), documents, asked, k=5)
    attack = Paraphrase(documents, prepared=SAYS_THE_SAME)
    (poison,) = attack([target(DEMO, NAME)], Budget(1))
    hits = dense(cached, [*documents, poison]).retrieve(DEMO.queries[NAME], 10)
    assert poison.id in {hit.document.id for hit in hits[:5]}
    result = made(DEMO.queries[NAME], hits, 5)
    assert poison.id not in {hit.document.id for hit in result}
    (verdict,) = result.verdicts_on(poison.id)
    assert verdict.action == "demote"
    assert "a third of its passages" in verdict.reason
    assert poison.text[verdict.spans[0].start :].startswith("Which")
