"""Every bad input of the guard ends in a named error or a defined result. Runs under `python -O`, too: no `assert` here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ragguard.defenses import RAGMask, RAGPart
from ragguard.errors import (
    DeadlineExceededError,
    DuplicateDocumentError,
    EncoderError,
    InvalidInputError,
    RetrieverError,
)
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Document, Hit, Vectors

# Untyped, as in the programs in which these mistakes are made.
ragpart: Any = RAGPart
ragmask: Any = RAGMask
wrap: Any = GuardedRetriever


def check(truth: bool, what: str = "") -> None:
    if not truth:
        pytest.fail(what)


def guarded(documents: Sequence[Document], encoder: Encoder | None = None, policy: GuardPolicy | None = None) -> GuardedRetriever:
    good = WordHashEncoder()
    index = DenseIndex(good, backend="faiss")
    index.add(documents)
    judge = encoder or good
    return GuardedRetriever(index, [RAGPart(judge, k=2), RAGMask(judge, m=4)], policy)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def test_empty_corpus() -> None:
    check(len(guarded([]).retrieve(QUERY, 3)) == 0)


def test_k_beyond_the_corpus() -> None:
    check(sorted(ids(guarded(DOCUMENTS).retrieve(QUERY, 1000))) == sorted(d.id for d in DOCUMENTS))


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True])
def test_k_that_is_no_positive_integer(k: object) -> None:
    with pytest.raises(InvalidInputError, match="k must be"):
        guarded(DOCUMENTS).retrieve(QUERY, k)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["", "  \n", "\u200b", None, 3])
def test_query_without_text(query: object) -> None:
    with pytest.raises(InvalidInputError, match="query"):
        guarded(DOCUMENTS).retrieve(query, 3)  # type: ignore[arg-type]


def test_duplicate_ids_same_text() -> None:
    check(len(guarded([*DOCUMENTS, DOCUMENTS[0]]).retrieve(QUERY, 100)) == len(DOCUMENTS))


def test_duplicate_ids_different_text() -> None:
    with pytest.raises(DuplicateDocumentError, match="'doc-0'"):
        guarded([*DOCUMENTS, Document("doc-0", "something else")])


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00"])
def test_text_without_words(text: str) -> None:
    with pytest.raises(InvalidInputError, match="'blank'"):
        guarded([*DOCUMENTS, Document("blank", text)])


@pytest.mark.parametrize(("id_", "text"), [("", "text"), (None, "text"), (3, "text"), ("x", None), ("x", b"bytes")])
def test_documents_that_are_none(id_: object, text: object) -> None:
    with pytest.raises(InvalidInputError):
        Document(id_, text)  # type: ignore[arg-type]


def test_text_of_one_token() -> None:
    check("tiny" in ids(guarded([*DOCUMENTS, Document("tiny", "hall")]).retrieve(QUERY, 100)))


@pytest.mark.parametrize("text", ["hall " * 200_000, "hall" * 250_000], ids=["spaces", "no-spaces"])
def test_a_megabyte_of_text_is_not_judged_and_so_not_returned(text: str) -> None:
    result = guarded([*DOCUMENTS, Document("huge", text)]).retrieve(QUERY, 100)
    check("huge" in ids(result.removed) and "split it at ingestion" in result.verdicts_on("huge")[0].reason)
    check(len(result) == len(DOCUMENTS))


def test_lone_surrogates() -> None:
    result = guarded([Document("odd", "town \ud800 hall"), *DOCUMENTS]).retrieve("town \udfff hall", 100)
    check({hit.document.id: hit.document.text for hit in result}["odd"] == "town \ufffd hall")


class Wrong(WordHashEncoder):
    """An encoder whose answers are spoilt by a function."""

    def __init__(self, spoil: Callable[[Vectors], object]) -> None:
        self._spoil = spoil

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        return self._spoil(super().encode_document(texts))  # type: ignore[return-value]


def _set(value: float) -> Callable[[Vectors], object]:
    def spoil(vectors: Vectors) -> object:
        vectors[-1, 0] = value
        return vectors

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: v[:-1],
        lambda v: v[:, :64],
        lambda v: v[0],
        lambda v: v * 3,
        lambda v: v * 0,
        lambda v: None,
        lambda v: "vectors",
        lambda v: [["a"]],
        _set(np.nan),
        _set(np.inf),
        _set(-np.inf),
    ],
    ids=["too few", "wrong dimension", "flat", "long", "zero", "None", "text", "words", "NaN", "inf", "-inf"],
)
def test_an_encoder_that_returns_nonsense(spoil: Callable[[Vectors], object]) -> None:
    with pytest.raises(EncoderError):
        guarded(DOCUMENTS, Wrong(spoil)).retrieve(QUERY, 3)
    with pytest.raises(EncoderError):
        DenseIndex(Wrong(spoil), backend="faiss").add(DOCUMENTS)


def _raise(vectors: Vectors) -> object:
    raise MemoryError("out of memory")


def _hang(vectors: Vectors) -> object:
    time.sleep(3)
    return vectors


def test_an_encoder_that_raises() -> None:
    with pytest.raises(EncoderError, match="out of memory"):
        guarded(DOCUMENTS, Wrong(_raise)).retrieve(QUERY, 3)


def test_an_encoder_that_hangs_past_the_deadline() -> None:
    with pytest.raises(DeadlineExceededError):
        guarded(DOCUMENTS, Wrong(_hang), GuardPolicy(deadline_s=0.2)).retrieve(QUERY, 3)


def test_a_retriever_that_raises() -> None:
    class Down:
        def retrieve(self, query: str, k: int) -> list[Hit]:
            raise ConnectionError("down")

    with pytest.raises(RetrieverError, match="down"):
        GuardedRetriever(Down(), [RAGPart(WordHashEncoder())]).retrieve(QUERY, 3)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, None, "0.3"])
def test_a_score_that_cannot_be_ranked(score: object) -> None:
    with pytest.raises(InvalidInputError, match="'d'.*finite"):
        Hit(Document("d", "text"), score)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda index: index.add(["text"]),
        lambda index: index.add(DOCUMENTS[0]),
        lambda index: index.delete("doc-1"),
        lambda index: index.retrieve("", 3),
        lambda index: index.retrieve(None, 3),
        lambda index: index.retrieve(QUERY, 2.0),
        lambda index: index.retrieve(QUERY, "2"),
        lambda index: ragpart(index.encoder)(QUERY, [], 2.5),
        lambda index: ragpart(index.encoder, n="5"),
        lambda index: ragpart(index.encoder, n=5.0),
        lambda index: ragpart(index.encoder, n=30, k=10, seed=-1),
        lambda index: ragpart(index.encoder, min_share="0.5"),
        lambda index: ragmask(index.encoder, m="15"),
        lambda index: ragmask(index.encoder, delta="0.1"),
        lambda index: wrap(index, ragmask(index.encoder)),
        lambda index: wrap(None, [ragmask(index.encoder)]),
        lambda index: wrap(index, [ragmask(index.encoder)], {"overfetch": 2}),
        lambda index: ragmask("all-MiniLM-L6-v2"),
        lambda index: ragpart("all-MiniLM-L6-v2"),
        lambda index: ragmask(index.encoder).prepare(["text"]),
        lambda index: DenseIndex("all-MiniLM-L6-v2"),  # type: ignore[arg-type]
        lambda index: DenseIndex(index.encoder, backend="faiss", device="cuda"),
    ],
)
def test_an_argument_of_the_wrong_kind(call: Callable[[Any], object]) -> None:
    index = DenseIndex(WordHashEncoder(), backend="faiss")
    index.add(DOCUMENTS)
    with pytest.raises(InvalidInputError):
        call(index)
    check(len(index) == len(DOCUMENTS))
