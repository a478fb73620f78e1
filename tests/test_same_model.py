from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder, disagreement, offline_model_path, require_same_model
from ragguard.errors import EncoderError, InvalidInputError, RetrieverError
from ragguard.evaluation import datasets
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.cache import CachedEncoder
from ragguard.index import DenseIndex
from ragguard.types import Hit

FOUND = datasets.load(DATA)
QUERIES = list(FOUND.queries.values())[:10]


@pytest.fixture(scope="module")
def cached(encoder: SentenceTransformerEncoder) -> CachedEncoder:
    return CachedEncoder(encoder)


@pytest.fixture(scope="module")
def index(cached: CachedEncoder) -> DenseIndex:
    made = DenseIndex(cached)
    made.add(FOUND.documents[:40])
    return made


class Ranked:
    """The same ranking without scores, as LangChain's stores give it."""

    def __init__(self, index: DenseIndex) -> None:
        self._index = index

    def retrieve(self, query: str, k: int) -> list[Hit]:
        return [Hit(hit.document, 1 / place) for place, hit in enumerate(self._index.retrieve(query, k), 1)]


def test_the_model_of_the_index_agrees_whatever_the_scores_are(cached: CachedEncoder, index: DenseIndex) -> None:
    for retriever in (index, Ranked(index)):
        assert disagreement(cached, retriever, QUERIES) == 0
        require_same_model(cached, retriever, QUERIES)


def test_another_model_of_the_same_dimension_is_refused(cached: CachedEncoder, index: DenseIndex) -> None:
    model = SentenceTransformer(str(offline_model_path()), device="cpu")
    first: Any = model[0]
    first.auto_model.encoder.layer = first.auto_model.encoder.layer[:5]
    other = SentenceTransformerEncoder(model, progress=False)
    assert other.dimension == cached.dimension
    with pytest.raises(EncoderError, match="another model"):
        require_same_model(other, index, QUERIES)


def test_what_ranks_by_words_is_refused(cached: CachedEncoder) -> None:
    words = BM25Index()
    words.add(FOUND.documents[:40])
    with pytest.raises(EncoderError, match="not rank by vectors alone"):
        require_same_model(cached, words, QUERIES)


def test_too_little_to_see_it_by_is_an_error(cached: CachedEncoder, index: DenseIndex) -> None:
    for few in ([], QUERIES[:1], QUERIES[:1] * 100):
        with pytest.raises(InvalidInputError, match="pairs"):
            require_same_model(cached, index, few)
    for k in (0, 1):
        with pytest.raises(InvalidInputError):
            require_same_model(cached, index, QUERIES, k=k)
    with pytest.raises(InvalidInputError, match="not an encoder"):
        require_same_model("all-MiniLM-L6-v2", index, QUERIES)  # type: ignore[arg-type]


def test_a_retriever_that_fails_is_a_typed_error(cached: CachedEncoder) -> None:
    class Shorter:
        def retrieve(self, query: str, k: int) -> Sequence[Hit]:
            return list(np.ones(128) @ np.ones(384))

    with pytest.raises(RetrieverError, match="128"):
        require_same_model(cached, Shorter(), QUERIES)
