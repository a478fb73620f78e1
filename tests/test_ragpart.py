from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ragguard.defenses import RAGPart
from ragguard.defenses.combinations import Combinations, votes
from ragguard.defenses.ragpart import RAGPartSettings
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.text import content_hash, fragments
from ragguard.types import Document, Hit, Vectors


def unit(rows: NDArray[Any]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize(("n", "k"), [(5, 3), (5, 2), (5, 1), (5, 5), (10, 5), (3, 2)])
def test_equal_to_storing_and_searching_every_combination(n: int, k: int) -> None:
    """The naive method: embed each combination, put all in FAISS, let each search for its own top p."""
    generator = np.random.default_rng(n * 10 + k)
    documents, dimension, p = 200, 32, 10
    vectors = unit(generator.normal(size=(documents, n, dimension)) + 0.5)
    query = unit(generator.normal(size=dimension) + 0.5)
    naive = np.zeros(documents, dtype=int)
    naive_scores = []
    for chosen in combinations(range(n), k):
        index = faiss.IndexFlatIP(dimension)
        index.add(unit(vectors[:, list(chosen)].mean(axis=1)))
        naive[index.search(query[None], p)[1][0]] += 1
        naive_scores.append(index.search(query[None], documents))
    grams = vectors @ vectors.transpose(0, 2, 1)
    scores = Combinations.of(n, k).scores(vectors @ query, grams)
    for column, (values, rows) in enumerate(naive_scores):
        np.testing.assert_allclose(scores[rows[0], column], values[0], atol=1e-5)
    np.testing.assert_array_equal(votes(scores, p), naive)


def test_a_case_by_hand() -> None:
    """Two documents, two fragments, combinations of one: a has one fragment at 1.0, b has two at 0.6."""
    similarities = np.array([[1.0, 0.0], [0.6, 0.6]], dtype=np.float32)
    grams = np.stack([np.eye(2), np.ones((2, 2))]).astype(np.float32)
    scores = Combinations.of(2, 1).scores(similarities, grams)
    np.testing.assert_allclose(scores, [[1.0, 0.0], [0.6, 0.6]])
    np.testing.assert_array_equal(votes(scores, 1), [1, 1])
    both = Combinations.of(2, 2).scores(similarities, grams)
    np.testing.assert_allclose(both, [[1 / math.sqrt(2)], [0.6]], atol=1e-6)


def test_fragments_that_cancel_out_score_zero() -> None:
    grams = np.array([[[1, -1], [-1, 1]]], dtype=np.float32)
    scores = Combinations.of(2, 2).scores(np.array([[0.5, -0.5]], dtype=np.float32), grams)
    np.testing.assert_array_equal(scores, [[0]])


def test_ties_at_the_last_place_go_to_earlier_rows() -> None:
    scores = np.array([[0.5], [0.9], [0.5], [0.5]], dtype=np.float32)
    np.testing.assert_array_equal(votes(scores, 2), [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("n", "k", "touched"),
    [(5, 3, {1: 0.6, 2: 0.9}), (5, 2, {1: 0.4, 2: 0.7}), (5, 1, {1: 0.2, 2: 0.4})],
)
def test_share_of_the_combinations_that_fragments_touch(n: int, k: int, touched: dict[int, float]) -> None:
    members = Combinations.of(n, k).members
    for f, share in touched.items():
        assert members[:, list(range(f))].any(axis=1).mean() == pytest.approx(share)
        assert 1 - math.comb(n - f, k) / math.comb(n, k) == pytest.approx(share)


@pytest.mark.parametrize(("k", "share", "bound"), [(3, 0.5, 0), (3, 0.6, 1), (2, 0.5, 1), (2, 0.7, 2), (1, 0.5, 2), (1, 0.8, 4)])
def test_certified_fragments(k: int, share: float, bound: int) -> None:
    assert Combinations.of(5, k).certified(share) == bound


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 5), st.sampled_from([0.3, 0.5, 0.7]))
def test_no_payload_within_the_bound_breaks_the_certificate(seed: int, k: int, n: int, share: float) -> None:
    """An attacker who chooses the embeddings of `bound` fragments freely is only kept with a vote free of them."""
    k = min(k, n)
    defense = RAGPart(WordHashEncoder(), n=n, k=k, p=2, min_share=share)
    bound = defense.combinations.certified(share)
    generator = np.random.default_rng(seed)
    vectors = unit(generator.normal(size=(6, n, 8)))
    query = unit(generator.normal(size=8))
    payload = generator.choice(n, size=bound, replace=False)
    vectors[0, payload] = query  # the best a payload can do
    similarities, grams = vectors @ query, vectors @ vectors.transpose(0, 2, 1)
    scores = defense.combinations.scores(similarities, grams)
    kept = {j.position for j in defense.rank(scores, 2, 6) if not j.drop}
    free = ~defense.combinations.members[:, payload].any(axis=1)
    if 0 in kept:
        assert votes(scores[:, free], 2)[0] >= 1


def test_the_certificate_says_what_it_assumes(fake: WordHashEncoder) -> None:
    hits = [Hit(document, 1 - i / 100) for i, document in enumerate(DOCUMENTS)]
    (paper,) = RAGPart.paper(fake)(QUERY, hits, 2).certificates
    assert paper.bound == 0
    assert "Nothing is certified" in paper.statement
    (strict,) = RAGPart(fake, n=5, k=2, min_share=0.5)(QUERY, hits, 2).certificates
    assert strict.bound == 1
    assert "8 candidates" in strict.assumption
    (all_voted,) = RAGPart(fake, n=5, k=2, min_share=0.5)(QUERY, hits, 8).certificates
    assert all_voted.bound == 0  # every combination votes for every candidate


def test_many_combinations_are_sampled_with_a_seed() -> None:
    made = Combinations.of(20, 10)
    assert (made.members.shape, made.total, made.sampled) == ((4096, 20), 184_756, True)
    assert (made.members.sum(axis=1) == 10).all()
    assert len(np.unique(made.members, axis=0)) == 4096
    np.testing.assert_array_equal(made.members, Combinations.of(20, 10).members)
    assert (made.members != Combinations.of(20, 10, seed=1).members).any()
    for seed in (0, 7):
        defense = RAGPart(WordHashEncoder(), n=20, k=10, seed=seed)
        assert defense.settings.seed == seed
        np.testing.assert_array_equal(defense.combinations.members, Combinations.of(20, 10, seed).members)
    assert not Combinations.of(10, 5).sampled
    assert Combinations.of(10, 5).error(40) == 0


def test_a_sample_is_as_close_to_all_as_it_says() -> None:
    """Shares of forty documents among all 12,870 combinations, and in a hundred samples of 1,000."""
    generator = np.random.default_rng(0)
    vectors = unit(generator.normal(size=(40, 1, 64)) + generator.normal(size=(40, 16, 64)))
    query = unit(generator.normal(size=64) + vectors[:10].mean(axis=(0, 1)))
    similarities, grams = vectors @ query, vectors @ vectors.transpose(0, 2, 1)
    every = Combinations.of(16, 8, limit=12_870)
    shares = votes(every.scores(similarities, grams), 10) / 12_870
    assert ((shares > 0.1) & (shares < 0.9)).sum() > 5  # where samples vary most
    off = []
    for seed in range(100):
        sample = Combinations.of(16, 8, seed, limit=1000)
        off.append(np.abs(votes(sample.scores(similarities, grams), 10) / 1000 - shares).max())
    assert max(off) > 0.3 * sample.error(40)  # a bound that says something
    assert np.mean(np.array(off) <= sample.error(40)) >= 0.95


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(12, 2), (12, 3), (14, 4)]), st.sampled_from([0.3, 0.5, 0.7]))
def test_the_certificate_of_a_sample_is_exact(seed: int, shape: tuple[int, int], share: float) -> None:
    """Against an attacker who knows the sample: he takes the fragments that touch most of it, and all of their votes."""
    n, k = shape
    defense = RAGPart(WordHashEncoder(), n=n, k=k, p=1, min_share=share)
    sample = Combinations.of(n, k, seed, limit=60)
    defense.combinations = sample
    bound = sample.certified(share)

    def touched(f: int) -> int:
        return max(int(sample.members[:, list(chosen)].any(axis=1).sum()) for chosen in combinations(range(n), f))

    assert touched(bound) / 60 <= share < touched(bound + 1) / 60
    payload = max(combinations(range(n), bound), key=lambda chosen: sample.members[:, list(chosen)].any(axis=1).sum())
    scores = np.stack([np.where(sample.members[:, list(payload)].any(axis=1), 0.9, 0.1), np.full(60, 0.5)]).astype(np.float32)
    hostile = next(judged for judged in defense.rank(scores, 1, 2) if judged.position == 0)
    assert hostile.drop
    assert "as sampled: within" in hostile.reason
    assert hostile.signals["vote_share_error"] == sample.error(2) > 0


def test_a_document_of_fewer_words_than_fragments_is_judged(fake: WordHashEncoder) -> None:
    hits = [Hit(Document("one", "hall"), 0.9), Hit(Document("two", "town hall"), 0.8), *(Hit(d, 0.1) for d in DOCUMENTS[3:6])]
    result = RAGPart.paper(fake)("town hall", hits, 2)
    assert {hit.document.id for hit in result.kept} == {"one", "two"}


def test_over_the_corpus_equal_to_the_naive_method(encoder: SentenceTransformerEncoder) -> None:
    documents = [Document(d.id, d.text) for d in DOCUMENTS]
    index = DenseIndex(encoder)
    index.add(documents)
    defense = RAGPart(encoder, n=4, k=2, p=3)
    search = RAGPartSearch(index, defense)
    query = encoder.encode_query([QUERY])[0]
    order = sorted(documents, key=lambda d: content_hash(d.text))
    pieces = {d.id: encoder.encode_document([d.text[s.start : s.end] for s in fragments(d.text, 4)]) for d in order}
    tally = dict.fromkeys(pieces, 0)
    for chosen in combinations(range(4), 2):
        scores = {name: float(unit(vectors[list(chosen)].mean(axis=0)) @ query) for name, vectors in pieces.items()}
        for name in sorted(scores, key=lambda name: -scores[name])[:3]:
            tally[name] += 1
    expected = sorted((name for name in tally if tally[name]), key=lambda name: -tally[name])
    result = search.retrieve(QUERY, 3)
    got = {v.document_id: round(v.signals["vote_share"] * 6) for v in result.verdicts if v.signals["vote_share"] > 0}
    assert got == {name: tally[name] for name in expected}
    index.delete([result[0].document.id])
    assert result[0].document.id not in {hit.document.id for hit in search.retrieve(QUERY, 3)}


@pytest.mark.parametrize("bad", [{"n": 0}, {"k": 0}, {"n": 3, "k": 4}, {"p": 0}, {"min_share": 1.0}, {"min_share": -0.1}])
def test_bad_settings_are_errors(fake: WordHashEncoder, bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="RAGPart"):
        RAGPart(fake, **bad)  # type: ignore[arg-type]


def test_a_share_that_rounds_down_does_not_loosen_the_certificate(fake: WordHashEncoder) -> None:
    """0.3 * 3 is a little less than 9 / 10: nine payload fragments of ten then suffice, and the bound must not say otherwise."""
    defense = RAGPart(fake, n=10, k=1, p=1, min_share=0.3 * 3)
    similarities = np.array([[0.9] * 9 + [0.1], [0.5] * 10], dtype=np.float32)
    scores = defense.combinations.scores(similarities, np.stack([np.eye(10, dtype=np.float32)] * 2))
    best = defense.rank(scores, 1, 2)[0]
    assert (best.position, best.drop) == (0, False)
    assert defense.combinations.certified(0.3 * 3) == 8


def test_over_the_corpus_needs_the_encoder_of_the_index(fake: WordHashEncoder, encoder: SentenceTransformerEncoder) -> None:
    with pytest.raises(InvalidInputError, match="same encoder"):
        RAGPartSearch(DenseIndex(fake, backend="faiss"), RAGPart(encoder))


def test_the_default_is_the_papers_setting(fake: WordHashEncoder) -> None:
    store = MemoryStore()
    paper = RAGPart.paper(fake, store=store)
    assert paper.settings == RAGPart(fake).settings == RAGPartSettings(n=5, k=3, p=None, min_share=None, seed=0)
    assert (paper.name, RAGPart(fake, k=2, min_share=0.5).name) == ("RAGPart(N=5, k=3)", "RAGPart(N=5, k=2, share>0.5)")
    paper.prepare([*DOCUMENTS, Document("blank", " ")])
    assert len(store) == len(DOCUMENTS)
    assert all(one is not None for one in store.get([f"word-hash|fragments:5|{content_hash(d.text)}" for d in DOCUMENTS]))
    RAGPart(fake).prepare(DOCUMENTS)
    assert len(store) == len(DOCUMENTS)


def test_a_ranking_by_hand(fake: WordHashEncoder) -> None:
    """Votes go first, then means: of two with two votes of three, the one with the higher mean leads."""
    scores = np.array([[0.9, 0.9, 0.0], [0.8, 0.8, 0.5], [0.1, 0.1, 0.9], [0.0, 0.0, 0.0]], dtype=np.float32)
    judged = RAGPart(fake, n=3, k=1).rank(scores, 2, 4)
    assert [(one.position, one.drop) for one in judged] == [(1, False), (0, False), (2, False), (3, False)]
    assert [one.score for one in judged] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert [one.suspicion for one in judged] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert judged[0].signals == {"vote_share": 1, "mean_similarity": pytest.approx(0.7)}
    assert judged[1].reason == "In the top 2 of 67% of the fragment combinations."
    means = np.array([[0.9, 0.0], [0.0, 0.8], [0.95, -1.0], [-1.0, 0.85]], dtype=np.float32)
    assert [one.position for one in RAGPart(fake, n=2, k=1).rank(means, 2, 4)] == [0, 1, 2, 3]
    strict = RAGPart(fake, n=3, k=1, p=1, min_share=1 / 3).rank(scores, 2, 4)
    assert [(one.position, one.drop) for one in strict] == [(0, False), (2, True), (1, True), (3, True)]
    assert strict[1].reason == "In the top 1 of 33% of the fragment combinations, not more than the 33% required."
    assert [one.score for one in RAGPart(fake, n=3, k=1).rank(scores[:1], 2, 4)] == [1]


def test_equal_documents_go_by_content_and_then_by_id(fake: WordHashEncoder) -> None:
    texts = {"z": "town hall oven", "b": "town hall oven", "c": "oven town hall", "d": "hall oven town"}
    result = RAGPart(fake, n=1, k=1)("town", [Hit(Document(name, text), 0.5) for name, text in texts.items()], 4)
    order = sorted(texts, key=lambda name: (content_hash(texts[name]), name))
    assert [hit.document.id for hit in result] == order
    assert order != list(texts)


def test_the_error_of_a_sample_is_of_all_candidates(fake: WordHashEncoder) -> None:
    defense = RAGPart(fake, n=20, k=10)
    few, many = (defense(QUERY, [Hit(d, 0.5) for d in DOCUMENTS[:n]], 1).verdicts[0] for n in (2, 8))
    for verdict, n in ((few, 2), (many, 8)):
        error = defense.combinations.error(n)
        assert verdict.signals["vote_share_error"] == error
        assert f"as sampled: within {error:.3f} of the share of all 184,756." in verdict.reason
    assert few.signals != many.signals


def test_a_certificate_says_what_it_holds_for(fake: WordHashEncoder) -> None:
    strict = RAGPart(fake, n=5, k=2, p=3, min_share=0.5)
    (found,) = strict.certificates(8, 5)
    assert (found.defense, found.bound) == (strict.name, 1)
    assert found.statement.startswith("Every kept document was placed in the top 3 by at least one combination")
    assert found.statement.endswith("touches at most 1 of its 5 fragments.")
    assert found.assumption.startswith("The top 3 is that of 8 candidates")
    assert [strict.certificates(n, 5)[0].bound for n in (2, 3, 4)] == [0, 0, 1]
    assert [RAGPart(fake, n=5, k=2, min_share=0.5).certificates(4, k)[0].bound for k in (3, 4)] == [1, 0]
    assert strict.certificates(3, 5)[0].statement.startswith("Nothing is certified")


def test_a_record_says_which_encoder_it_had(fake: WordHashEncoder) -> None:
    assert RAGPart(fake).describe()["encoder"] == "word-hash"
