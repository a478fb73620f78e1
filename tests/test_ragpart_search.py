"""Search for fragments, and the proof that no document was overlooked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ragguard.defenses import RAGPart, fragment_index, ragpart_search
from ragguard.defenses.fragment_index import FragmentIndex, FragmentSearch
from ragguard.defenses.ragpart_search import RAGPartSearch, least_lengths
from ragguard.errors import InvalidInputError
from ragguard.index import DenseIndex
from ragguard.testing import WordHashEncoder
from ragguard.text import content_hash
from ragguard.types import Document, Vectors

N, DIMENSION = 4, 12


class Words:
    """Each word has a vector of our choice; a document of N words has these as its fragments, and their sum as its own."""

    name, dimension = "words", DIMENSION

    def __init__(self, vectors: Mapping[str, Vectors]) -> None:
        self.vectors = vectors

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        sums = [np.sum([self.vectors[word] for word in text.split()], axis=0) for text in texts]
        return unit(np.stack([total if np.linalg.norm(total) > 1e-3 else np.ones(DIMENSION) for total in sums]))


def unit(rows: NDArray[Any]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


def corpus(generator: np.random.Generator, kind: str, documents: int) -> tuple[Vectors, Vectors]:
    """Fragments, shape (documents, N, DIMENSION), and a query."""
    query = unit(generator.normal(size=DIMENSION))
    wide: NDArray[Any]
    noise = generator.normal(size=(documents, N, DIMENSION))
    topics = generator.normal(size=(documents, 1, DIMENSION))
    vectors = unit(noise if kind == "unrelated" else 2 * topics + noise)
    hostile = generator.choice(documents, size=documents // 10, replace=False)
    half = len(hostile) // 2
    if kind == "cancelling":  # hardly similar fragments whose sums are short, and point to the query
        wide = generator.normal(size=(len(hostile), N // 2, DIMENSION))
        wide = unit(wide - (wide @ query)[:, :, None] * query)
        vectors[hostile, : N // 2] = wide
        vectors[hostile, N // 2 :] = unit(10 ** generator.uniform(-5, -0.5, size=(len(hostile), 1, 1)) * query - wide)
    elif kind == "copies":  # scores that are equal, at the last place, too
        vectors[hostile[half : 2 * half]] = vectors[hostile[:half]] = unit(query + 0.5 * noise[hostile[:half]])
    elif kind == "opposed":  # every similarity is negative
        vectors = unit(vectors - 1.5 * query * (1 + np.abs(vectors @ query))[:, :, None])
    elif kind == "payload":  # one fragment is the query, the others are elsewhere
        vectors[hostile, 0] = query
    return vectors, query


def bound(vectors: Vectors, query: Vectors, kind: FragmentSearch = "flat", **settings: Any) -> tuple[RAGPartSearch, RAGPart]:
    table = {f"w{row}x{place}": vectors[row, place] for row in range(len(vectors)) for place in range(N)} | {"query": query}
    encoder = Words(table)
    index = DenseIndex(encoder, backend="faiss")
    index.add([Document(f"d{row}", " ".join(f"w{row}x{place}" for place in range(N))) for row in range(len(vectors))])
    defense = RAGPart(encoder, n=N, **settings)
    return RAGPartSearch(index, defense, fragments=kind), defense


@pytest.mark.parametrize("searched", ["flat", "ivf"])
@pytest.mark.parametrize("kind", ["topics", "unrelated", "cancelling", "copies", "opposed", "payload"])
def test_the_result_is_that_of_scoring_every_document(
    kind: str, searched: FragmentSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 50 corpora of each kind: the same documents kept and voted for, with the same shares, in the same order.

    IVF reads all of its cells here, so that it overlooks nothing: bounds on what it did not fetch are tested, too.
    """
    monkeypatch.setattr(ragpart_search, "AT_FIRST", 1)  # so that what is scored first proves little
    monkeypatch.setattr(ragpart_search, "FRAGMENTS", 1)
    monkeypatch.setattr(fragment_index, "PROBED", 1)
    taken: list[int] = []
    take = FragmentIndex.take

    def counted(self: FragmentIndex, rows: NDArray[np.int64]) -> Vectors:
        taken.append(len(rows))
        return take(self, rows)

    monkeypatch.setattr(FragmentIndex, "take", counted)
    for seed in range(50):
        generator = np.random.default_rng(seed)
        vectors, query = corpus(generator, kind, 120)
        p, share = [(None, None), (1, None), (3, 0.4), (2, None)][seed // N % 4]
        search, defense = bound(vectors, query, searched, k=1 + seed % N, p=p, min_share=share)
        result = search.retrieve("query", 5)
        texts = [" ".join(f"w{row}x{place}" for place in range(N)) for row in range(120)]
        order = sorted(range(120), key=lambda row: content_hash(texts[row]))
        evidence = defense.fragments([texts[row] for row in order])
        similarities = np.stack([one.vectors for one in evidence]).astype(np.float64) @ query
        scores = defense.combinations.scores(similarities, np.stack([one.gram for one in evidence]).astype(np.float64))
        ranked = defense.rank(scores.astype(np.float32), 5, 120)
        names = [f"d{order[judged.position]}" for judged in ranked]
        assert [hit.document.id for hit in result.kept] == [n for n, j in zip(names, ranked, strict=True) if not j.drop][:5]
        shares = {name: j.signals["vote_share"] for name, j in zip(names, ranked, strict=True) if j.signals["vote_share"]}
        found = {verdict.document_id: verdict.signals["vote_share"] for verdict in result.verdicts}
        assert {name: value for name, value in found.items() if value} == shares
        if searched == "flat":
            assert result.approximate == ""
            assert "120 candidates" in result.certificates[0].assumption
    if kind in ("topics", "payload"):
        assert np.median(taken) < 0.5 * 120 * N  # not by scoring everything


@pytest.mark.parametrize("kind", ["topics", "cancelling", "opposed"])
def test_no_combination_scores_above_its_bound(kind: str) -> None:
    for seed in range(20):
        vectors, query = corpus(np.random.default_rng(seed), kind, 50)
        grams = vectors @ vectors.transpose(0, 2, 1)
        for k in range(1, N + 1):
            _, defense = bound(vectors[:1], query, k=k)
            shortest = least_lengths(grams, k)
            made = ragpart_search._Corpus(0, (), {}, None, grams, shortest)
            scores = defense.combinations.scores(vectors.astype(np.float64) @ query, grams.astype(np.float64))
            sums = np.sort(vectors.astype(np.float64) @ query, axis=1)[:, N - k :].sum(axis=1)
            assert (scores.max(axis=1) <= made.reach(sums, k) + 1e-6).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_approximate_search_says_so(kind: FragmentSearch) -> None:
    vectors, query = corpus(np.random.default_rng(0), "topics", 2000)
    exact = bound(vectors, query, k=2)[0].retrieve("query", 5)
    near = bound(vectors, query, kind, k=2)[0].retrieve("query", 5)
    assert near.approximate == f"{kind} search may have missed fragments, and so documents"
    assert len({hit.document.id for hit in near} & {hit.document.id for hit in exact}) >= 4
    assert "2000 candidates" not in near.certificates[0].assumption  # only of those that were found


def test_a_kind_of_search_that_there_is_not(fake: WordHashEncoder) -> None:
    with pytest.raises(InvalidInputError, match="one of flat, ivf, hnsw, not 'lsh'"):
        RAGPartSearch(DenseIndex(fake, backend="faiss"), RAGPart(fake), fragments="lsh")  # type: ignore[arg-type]
