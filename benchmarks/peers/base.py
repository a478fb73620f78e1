"""What several peers share: the vectors of candidates, what they do with candidates beyond those they judge, held-out models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.errors import InvalidInputError
from ragguard.evidence import EvidenceBuilder, MemoryStore, WholePlan
from ragguard.language.ngrams import KneserNey, Tokenize, lowercase_words
from ragguard.protocols import Encoder
from ragguard.types import Document, Hit, Vectors

FOLDS = 5
"""Each held-out model has learned four fifths of the corpus."""


class VectorPeer(BaseDefense):
    """A peer that compares the vectors of candidates; each text is embedded once."""

    def __init__(self, encoder: Encoder) -> None:
        """Bind the encoder."""
        self._whole = EvidenceBuilder(encoder, WholePlan(), MemoryStore())

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed documents ahead of queries."""
        self._whole.get(judgeable(documents))

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (len(texts), d)."""
        return np.concatenate([one.vectors for one in self._whole.get(texts)])


def beyond(hits: Sequence[Hit], k: int) -> list[Judgement]:
    """Drops what ranks below k: a peer that judges the top k alone has no say on others, so they cannot fill its gaps."""
    return [Judgement(i, hits[i].score, f"Not among the {k} that are judged.", drop=True) for i in range(k, len(hits))]


class HeldOut:
    """Bigram models of a corpus, each of all folds but one, so that no text is judged by a model that has learned it.

    A model finds the texts it has learned more probable than others, which would make every new document look like an attack.
    """

    def __init__(self, texts: Sequence[str], tokenize: Tokenize = lowercase_words) -> None:
        """Learn a corpus.

        Args:
            texts: The corpus.
            tokenize: Text to tokens.

        Raises:
            InvalidInputError: If the texts are too few to learn from one and judge another.
        """
        if len({_fold(text) for text in texts}) < 2:
            raise InvalidInputError(f"{len(texts)} texts are too few to hold some out; give it more of the corpus")
        self._learned = set(texts)
        self._models = [KneserNey((text for text in texts if _fold(text) != fold), tokenize) for fold in range(FOLDS)]

    def model(self, text: str) -> KneserNey:
        """The model that has not learned this text; for a new one, which may contain a learned one, that which knows it least."""
        if text in self._learned or not self._models[0].tokenize(text):
            return self._models[_fold(text)]
        return max(self._models, key=lambda model: model.perplexity(text))


def _fold(text: str) -> int:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % FOLDS
