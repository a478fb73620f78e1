"""The roles of the parts, as structural types: anything with these methods will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from ragguard.types import Evidence, GuardedResult, Hit, Vectors


@runtime_checkable
class Encoder(Protocol):
    """Text to unit vectors, with the method names of sentence-transformers."""

    @property
    def name(self) -> str:
        """What makes vectors comparable: model, revision and precision. Part of the key of stored evidence."""

    @property
    def dimension(self) -> int:
        """Length d of every vector."""

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Embed queries; shape (len(texts), d)."""

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents or pieces of them; shape (len(texts), d)."""


@runtime_checkable
class Retriever(Protocol):
    """A query to hits, best first. A method `aretrieve` of the same form is used where there is one."""

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        """At most k hits, ids unique, scores falling; fewer means that there are no more. ValueError if k is below 1."""


@runtime_checkable
class Defense(Protocol):
    """Judges the candidates of one query."""

    @property
    def name(self) -> str:
        """Short name for verdicts and tables."""

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        """Rank and remove; every hit ends in exactly one of kept, reserve and removed, and has a verdict. ValueError if k < 1."""


class EvidencePlan(Protocol):
    """Says which pieces of a text are embedded."""

    @property
    def key(self) -> str:
        """Name and settings; part of the key of stored evidence."""

    def build(self, texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> list[Evidence]:
        """Evidence of canonical texts, one each. `encode` maps texts to unit vectors in large batches."""


@runtime_checkable
class EvidenceStore(Protocol):
    """Keeps evidence by content key; safe to use from many threads."""

    def get(self, keys: Sequence[str]) -> list[Evidence | None]:
        """What is stored under each key, or None."""

    def put(self, items: Mapping[str, Evidence]) -> None:
        """Store; a key that exists is overwritten with the same content."""
