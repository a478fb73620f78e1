"""Synthetic corpora, for benchmarks of size where real documents are too few; nothing here says what a guard stops."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.types import Vectors

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]

DISCOUNT = 0.75
"""As in `ragguard.language.ngrams`: what a bigram's count gives away to bigrams that were never seen."""

BLOCK, ROWS, SUMMED = 4096, 4096, 3
NAMES = 10**7
"""Made-up words, the n-th drawn in proportion to 1/n (Zipf): they come again, though ever more of them come."""


class HashEncoder:
    """Unit vectors that depend on nothing but the hash of a text: three of 4,096 random rows, added. Knows no meaning."""

    name = "synthetic-hash"

    def __init__(self, dimension: int = 384, seed: int = 0) -> None:
        self.dimension = dimension
        self._rows = np.random.default_rng(seed).standard_normal((ROWS, dimension), dtype=np.float32)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension)."""
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=2 * SUMMED).digest() for text in texts)
        chosen = np.frombuffer(digests, dtype="<u2").reshape(-1, SUMMED) % ROWS
        vectors = sum(self._rows[chosen[:, i]] for i in range(SUMMED))
        found: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return found

    encode_query = encode_document


class Language:
    """Draws texts word by word from a bigram model of real ones, with as many new words and new pairs as these have.

    The next word is what followed a random occurrence of the last one; with the share that absolute discounting takes from the
    bigrams seen, a word by the number of words it follows; and with the share of a held-out tenth's words that the rest has not,
    a made-up one. Lengths are those of the real texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        split = [text.split() for text in texts if text.split()]
        self._words = sorted({word for words in split for word in words})
        number = {word: i for i, word in enumerate(self._words)}
        ids = [np.array([number[word] for word in words]) for words in split]
        self._lengths = np.array([len(one) for one in ids])
        self._first = np.array([one[0] for one in ids])
        previous, following = np.concatenate([one[:-1] for one in ids]), np.concatenate([one[1:] for one in ids])
        order = np.argsort(previous, kind="stable")
        self._following = following[order]
        self._counts = np.bincount(previous, minlength=len(number))
        self._starts = np.cumsum(self._counts) - self._counts
        pairs = np.unique(np.stack([previous, following]), axis=1)
        self._new_pair = np.where(
            self._counts, DISCOUNT * np.bincount(pairs[0], minlength=len(number)) / np.maximum(self._counts, 1), 1.0
        )
        self._continuing = pairs[1]
        held = len(ids) // 10
        known = np.unique(np.concatenate(ids[held:]))
        self.new_word = float(1 - np.isin(np.concatenate(ids[:held]), known).mean()) if held else 0.0

    def texts(self, count: int, seed: int, length: int | None = None) -> Iterator[str]:
        """So many texts; with a length in words, or that of random real ones."""
        generator = np.random.default_rng(seed)
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            lengths = generator.choice(self._lengths, size) if length is None else np.full(size, length)
            drawn = self._draw(lengths, generator)
            made = (NAMES ** generator.random(drawn.shape)).astype(np.int64)
            new = generator.random(drawn.shape) < self.new_word
            for row, fresh, names, words in zip(drawn.tolist(), new.tolist(), made.tolist(), lengths.tolist(), strict=True):
                pieces = zip(row[:words], fresh, names, strict=False)
                yield " ".join(f"w{name}" if is_new else self._words[word] for word, is_new, name in pieces)

    def _draw(self, lengths: Numbers, generator: np.random.Generator) -> Numbers:
        words = np.empty((len(lengths), int(lengths.max())), dtype=np.int64)
        words[:, 0] = generator.choice(self._first, len(lengths))
        for place in range(1, words.shape[1]):
            last = words[:, place - 1]
            occurrence = self._starts[last] + (generator.random(len(last)) * self._counts[last]).astype(np.int64)
            seen = self._following[np.minimum(occurrence, len(self._following) - 1)]
            other = generator.choice(self._continuing, len(last))
            words[:, place] = np.where(generator.random(len(last)) < self._new_pair[last], other, seen)
        return words
