"""Exact dense search over a corpus: FAISS on the CPU, torch on a GPU, the same results from both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ragguard.checks import an_encoder, positive, query_text
from ragguard.encoders.vectors import checked, encode_documents, encode_one_query
from ragguard.errors import DuplicateDocumentError, InvalidInputError
from ragguard.protocols import Encoder
from ragguard.text import canonical, content_hash, words
from ragguard.types import Document, Hit, Vectors

MARGIN = 16
"""Candidates fetched beyond k, which are scored again in float64: single precision orders near ties by chance."""


class DenseIndex:
    """A corpus with its embeddings; an exact, undefended retriever.

    Scores are cosines. Ties are ordered by content hash, then id, so results do not depend on the order of insertion or on the
    backend. Safe to use from many threads: searches and changes of the index take turns, encoding does not.
    """

    def __init__(
        self, encoder: Encoder, *, backend: Literal["auto", "faiss", "torch"] = "auto", device: str | None = None
    ) -> None:
        """Make an empty index.

        Args:
            encoder: Embeds documents and queries.
            backend: "faiss" (CPU), "torch" (any device), or "auto": torch if CUDA is there or `device` is no CPU, else FAISS.
            device: torch device for the torch backend; None takes CUDA if there is one, else the CPU.

        Raises:
            InvalidInputError: If the backend is unknown, or FAISS is asked for a GPU.
        """
        self._encoder = an_encoder(encoder)
        self._lock = threading.RLock()  # FAISS crashes the process when searched during an add
        self._rows = _backend(backend, device, encoder.dimension)
        self._documents: list[Document] = []
        self._row_of: dict[str, int] = {}
        self._order: list[tuple[str, str]] = []  # (content hash, id) by row: decides ties
        self._generation = 0

    @property
    def encoder(self) -> Encoder:
        """The encoder of documents and queries."""
        return self._encoder

    @property
    def generation(self) -> int:
        """Counts changes; equal numbers mean an unchanged corpus."""
        return self._generation

    @property
    def documents(self) -> tuple[Document, ...]:
        """Every document, in order of insertion."""
        with self._lock:
            return tuple(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, documents: Sequence[Document]) -> int:
        """Embed and add documents; all of them or none.

        Texts are brought into canonical form. A document that is already there with the same text is passed over.

        Args:
            documents: What to add.

        Returns:
            How many were added.

        Raises:
            InvalidInputError: If a text has no words.
            DuplicateDocumentError: If an id is taken by another text, in the index or twice in `documents`.
            EncoderError: If the encoder fails.
        """
        fresh: dict[str, Document] = {}
        for original in _documents(documents):
            document = Document(original.id, canonical(original.text).text, original.metadata)
            if not words(document.text):
                raise InvalidInputError(f"document {document.id!r} has no words; leave it out of the corpus")
            if not self._is_known(document, fresh.get(document.id)):
                fresh[document.id] = document
        vectors = encode_documents(self._encoder, [document.text for document in fresh.values()])
        return self._insert(list(fresh.values()), vectors)

    def add_vectors(self, documents: Sequence[Document], vectors: Vectors) -> int:
        """Add documents whose embeddings by this index's encoder are already known; as `add` otherwise.

        Args:
            documents: What to add; texts must be in canonical form and have words.
            vectors: Their embeddings, shape (len(documents), d).

        Returns:
            How many were added.

        Raises:
            InvalidInputError: If a text is not canonical or has no words.
            DuplicateDocumentError: As in `add`.
            EncoderError: If the vectors have the wrong shape, norm, or values that are not finite.
        """
        vectors = checked(vectors, len(documents), self._encoder.dimension, "the caller")
        fresh: dict[str, int] = {}
        for row, document in enumerate(documents):
            if canonical(document.text).text != document.text or not words(document.text):
                raise InvalidInputError(f"document {document.id!r}: the text must be canonical and have words; use add() instead")
            if not self._is_known(document, documents[fresh[document.id]] if document.id in fresh else None):
                fresh[document.id] = row
        rows = list(fresh.values())
        return self._insert([documents[row] for row in rows], vectors[rows])

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents by id; ids that are not there are passed over.

        Returns:
            How many were removed.
        """
        if isinstance(ids, str):
            raise InvalidInputError(f"delete takes a sequence of ids, not one: [{ids!r}]")
        with self._lock:
            gone = {self._row_of[name] for name in ids if name in self._row_of}
            if gone:
                keep = [row for row in range(len(self._documents)) if row not in gone]
                self._rows.keep(np.asarray(keep, dtype=np.int64))
                self._documents = [self._documents[row] for row in keep]
                self._order = [self._order[row] for row in keep]
                self._row_of = {document.id: row for row, document in enumerate(self._documents)}
                self._generation += 1
            return len(gone)

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """The k documents nearest to a query, best first; all of them where the corpus is smaller.

        Args:
            query: The query's text.
            k: Number of hits, at least 1.

        Raises:
            InvalidInputError: If `k` is below 1 or the query has no text.
            EncoderError: If the encoder fails.
        """
        return self.search(encode_one_query(self._encoder, query_text(query)), positive(k))

    def search(self, vector: Vectors, k: int) -> list[Hit]:
        """The k documents nearest to a query vector of shape (d,), best first.

        Raises:
            InvalidInputError: If `k` is below 1.
            EncoderError: If the vector has the wrong shape, norm, or values that are not finite.
        """
        positive(k)
        vector = checked(np.atleast_2d(vector), 1, self._encoder.dimension, "the caller")[0]
        with self._lock:
            depth = min(k + MARGIN, len(self._documents))
            while depth:
                rows = self._rows.nearest(vector, depth)
                # einsum adds up each row in the same order wherever it lies, so equal vectors get equal scores.
                exact = np.einsum("ij,j->i", self._rows.take(rows).astype(np.float64), vector.astype(np.float64))
                ranked = sorted(zip(exact, rows, strict=True), key=lambda pair: (-pair[0], self._order[pair[1]]))
                tie_is_cut = exact.min() >= ranked[min(k, depth) - 1][0] - 1e-6
                if depth == len(self._documents) or not tie_is_cut:
                    return [Hit(self._documents[row], float(score)) for score, row in ranked[:k]]
                depth = min(2 * depth, len(self._documents))
            return []

    def _is_known(self, document: Document, twin: Document | None) -> bool:
        with self._lock:
            known = twin or (self._documents[self._row_of[document.id]] if document.id in self._row_of else None)
        if known is not None and known.text != document.text:
            raise DuplicateDocumentError(
                f"document id {document.id!r} is taken by another text; delete it first, or give this one another id"
            )
        return known is not None

    def _insert(self, documents: Sequence[Document], vectors: Vectors) -> int:
        with self._lock:
            new = [
                row for row, document in enumerate(documents) if not self._is_known(document, None)
            ]  # a racing add may have won
            if new:
                self._rows.append(vectors[new])
            for row in new:
                document = documents[row]
                self._row_of[document.id] = len(self._documents)
                self._documents.append(document)
                self._order.append((content_hash(document.text), document.id))
            self._generation += bool(new)
            return len(new)


class _Rows(Protocol):
    """Vectors by row number."""

    def append(self, vectors: Vectors) -> None: ...
    def keep(self, rows: NDArray[np.int64]) -> None: ...
    def take(self, rows: NDArray[np.int64]) -> Vectors: ...
    def nearest(self, vector: Vectors, k: int) -> NDArray[np.int64]: ...


class _FaissRows:
    def __init__(self, dimension: int) -> None:
        import faiss

        self._faiss = faiss
        self._index: Any = faiss.IndexFlatIP(dimension)

    def append(self, vectors: Vectors) -> None:
        self._index.add(vectors)

    def keep(self, rows: NDArray[np.int64]) -> None:
        gone = np.setdiff1d(np.arange(self._index.ntotal), rows)
        self._index.remove_ids(self._faiss.IDSelectorBatch(gone))

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        vectors: Vectors = self._index.reconstruct_batch(rows)
        return vectors

    def nearest(self, vector: Vectors, k: int) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._index.search(vector[None, :], k)[1][0]
        return rows


class _TorchRows:
    def __init__(self, dimension: int, device: str | None) -> None:
        import torch

        self._torch = torch
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._vectors = torch.empty((0, dimension), dtype=torch.float32, device=self._device)

    def append(self, vectors: Vectors) -> None:
        self._vectors = self._torch.cat([self._vectors, self._torch.from_numpy(vectors).to(self._device)])

    def keep(self, rows: NDArray[np.int64]) -> None:
        self._vectors = self._vectors[self._torch.from_numpy(rows).to(self._device)]

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        vectors: Vectors = self._vectors[self._torch.from_numpy(rows).to(self._device)].cpu().numpy()
        return vectors

    def nearest(self, vector: Vectors, k: int) -> NDArray[np.int64]:
        query = self._torch.from_numpy(vector).to(self._device)
        rows: NDArray[np.int64] = (self._vectors @ query).topk(k).indices.cpu().numpy()
        return rows


def _documents(documents: object) -> Sequence[Document]:
    if not isinstance(documents, Sequence) or not all(isinstance(document, Document) for document in documents):
        raise InvalidInputError(f"expected a sequence of Document, not {documents!r:.200}")
    return documents


def _backend(backend: str, device: str | None, dimension: int) -> _Rows:
    if backend == "auto":
        import torch

        backend = "torch" if device not in (None, "cpu") or torch.cuda.is_available() else "faiss"
    if backend == "faiss" and device not in (None, "cpu"):
        raise InvalidInputError(f"the FAISS backend runs on the CPU, not on {device!r}; use backend='torch'")
    if backend == "faiss":
        return _FaissRows(dimension)
    if backend == "torch":
        return _TorchRows(dimension, device)
    raise InvalidInputError(f"backend must be 'auto', 'faiss' or 'torch', not {backend!r}")
