from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ragguard.errors import DuplicateDocumentError, EncoderError, InvalidInputError
from ragguard.index import DenseIndex
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Document, Hit, Vectors

BACKENDS = ["faiss", "torch"]


def unit(rows: NDArray[np.float64]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def index_of(backend: str, documents: Sequence[Document] = DOCUMENTS) -> DenseIndex:
    index = DenseIndex(WordHashEncoder(), backend=backend, device="cpu")  # type: ignore[arg-type]
    index.add(documents)
    return index


def names(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def test_every_backend_gives_the_exact_answer() -> None:
    generator = np.random.default_rng(7)
    vectors = unit(generator.normal(size=(3000, 128)))
    vectors[100:140] = vectors[100]  # ties
    documents = [Document(f"d{i}", f"text number {i}") for i in range(3000)]
    places = [("faiss", "cpu"), ("torch", "cpu"), *([("torch", "cuda")] if torch.cuda.is_available() else [])]
    indexes = []
    for backend, device in places:
        index = DenseIndex(WordHashEncoder(), backend=backend, device=device)  # type: ignore[arg-type]
        index.add_vectors(documents, vectors)
        indexes.append(index)
    for number in range(50):
        query = vectors[100] if number == 0 else unit(generator.normal(size=(1, 128)))[0]
        faiss_hits, *torch_hits = (index.search(query, 10) for index in indexes)
        assert all(hits == faiss_hits for hits in torch_hits)
        exact = vectors.astype(np.float64) @ query.astype(np.float64)
        np.testing.assert_allclose([hit.score for hit in faiss_hits], np.sort(exact)[::-1][:10], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_do_not_depend_on_order_of_insertion(backend: str) -> None:
    twins = [Document(f"twin-{i:02}", "exactly the same words") for i in range(40)]
    forward, backward = index_of(backend, twins), index_of(backend, twins[::-1])
    assert names(forward.retrieve("same words", 7)) == names(backward.retrieve("same words", 7)) == [t.id for t in twins[:7]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_add_delete_search(backend: str) -> None:
    index = index_of(backend)
    best = names(index.retrieve(QUERY, 1))[0]
    assert best == "doc-0"
    generation = index.generation
    assert index.delete([best, "not there"]) == 1
    assert index.generation > generation
    assert len(index) == len(DOCUMENTS) - 1
    rest = index.retrieve(QUERY, 100)
    assert best not in names(rest)
    fresh = index_of(backend, [d for d in DOCUMENTS if d.id != best])
    assert rest == fresh.retrieve(QUERY, 100)
    assert index.add([DOCUMENTS[0]]) == 1
    assert names(index.retrieve(QUERY, 1)) == [best]
    assert index.delete([d.id for d in DOCUMENTS]) == len(DOCUMENTS)
    assert index.retrieve(QUERY, 3) == []


def test_the_same_document_twice_is_one(fake: WordHashEncoder) -> None:
    index = index_of("faiss")
    assert index.add(DOCUMENTS) == 0
    assert index.add([Document("new", "new text"), Document("new", "new text")]) == 1
    assert len(index) == len(DOCUMENTS) + 1


def test_one_id_for_two_texts_is_an_error_and_adds_nothing() -> None:
    index = index_of("faiss")
    with pytest.raises(DuplicateDocumentError, match="'doc-1' is taken"):
        index.add([Document("new", "fine"), Document("doc-1", "another text")])
    with pytest.raises(DuplicateDocumentError, match="'new' is taken"):
        index.add([Document("new", "fine"), Document("new", "also fine")])
    assert len(index) == len(DOCUMENTS)


def test_documents_are_kept_in_canonical_form() -> None:
    index = index_of("faiss", [Document("a", "Cafe\u0301\u200b\r\nopen")])
    assert index.documents[0].text == "Café\nopen"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u200b", "\x00"])
def test_a_text_without_words_is_named(text: str) -> None:
    with pytest.raises(InvalidInputError, match="'blank' has no words"):
        index_of("faiss", [Document("blank", text)])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, 5.0])
def test_bad_vectors_are_refused(bad: float) -> None:
    index = index_of("faiss")
    vectors = unit(np.ones((1, 128)))
    vectors[0, :] = bad
    with pytest.raises(EncoderError):
        index.add_vectors([Document("x", "y")], vectors)
    with pytest.raises(EncoderError):
        index.search(vectors[0], 3)
    with pytest.raises(EncoderError, match="shape"):
        index.add_vectors([Document("x", "y")], unit(np.ones((1, 64))))
    assert len(index) == len(DOCUMENTS)


def test_add_vectors_takes_canonical_texts_only() -> None:
    with pytest.raises(InvalidInputError, match="canonical"):
        index_of("faiss").add_vectors([Document("x", "a\r\nb")], unit(np.ones((1, 128))))


def test_unknown_backend_is_named() -> None:
    with pytest.raises(InvalidInputError, match="'annoy'"):
        DenseIndex(WordHashEncoder(), backend="annoy")  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_searching_while_the_index_changes(backend: str) -> None:
    index = index_of(backend)
    errors: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                assert names(index.retrieve(QUERY, 1)) == ["doc-0"]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for round_ in range(60):
        extra = [Document(f"extra-{round_}-{i}", f"filler text {i} of round {round_}") for i in range(20)]
        index.add(extra)
        index.delete([document.id for document in extra])
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(index) == len(DOCUMENTS)
