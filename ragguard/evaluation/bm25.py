"""BM25 as the undefended retriever: shows what of an attack or a defense depends on the encoder."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.checks import positive, query_text
from ragguard.text import canonical
from ragguard.types import Document, Hit


class BM25Index:
    """A corpus ranked by BM25 (Lucene's variant, by bm25s); built anew at the first query after a change."""

    def __init__(self) -> None:
        """Make an empty index."""
        self._documents: dict[str, Document] = {}
        self._tokens: dict[str, list[str]] = {}
        self._index: object = None

    @property
    def documents(self) -> tuple[Document, ...]:
        """Every document, in order of insertion."""
        return tuple(self._documents.values())

    def add(self, documents: Sequence[Document]) -> int:
        """Add documents, or replace those whose ids they take; returns how many."""
        import bm25s

        forms = [Document(document.id, canonical(document.text).text, document.metadata) for document in documents]
        if forms:
            texts = [form.text for form in forms]
            tokens = bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
            self._tokens.update(zip((form.id for form in forms), tokens, strict=True))
            self._documents.update((form.id, form) for form in forms)
            self._index = None
        return len(forms)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents by id; returns how many there were."""
        gone = [name for name in ids if self._documents.pop(name, None) is not None]
        for name in gone:
            del self._tokens[name]
        if gone:
            self._index = None
        return len(gone)

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """The k documents that BM25 ranks first, those that share no word with the query left out; ties by insertion.

        Raises:
            InvalidInputError: If `k` is below 1 or the query has no text.
        """
        import bm25s

        query_words = bm25s.tokenize(query_text(query), stopwords="en", return_ids=False, show_progress=False)[0]
        if not self._documents:
            return []
        if self._index is None:
            index = bm25s.BM25()
            index.index(list(self._tokens.values()), show_progress=False)
            self._index = index
        known = [word for word in query_words if word in self._index.vocab_dict]  # type: ignore[attr-defined]
        if not known:
            return []
        scores = self._index.get_scores(known)  # type: ignore[attr-defined]
        order = sorted(scores.nonzero()[0], key=lambda row: -scores[row])[: positive(k)]
        documents = self.documents
        return [Hit(documents[row], float(scores[row])) for row in order]
