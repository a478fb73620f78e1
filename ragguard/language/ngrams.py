"""An interpolated Kneser-Ney bigram model of a corpus (Kneser & Ney 1995; interpolated as in Chen & Goodman 1999)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError
from ragguard.text import UNSPACED

Tokenize: TypeAlias = Callable[[str], list[str]]
Ids: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]

DISCOUNT = 0.75
"""Where the estimate n1 / (n1 + 2 n2) has nothing to work with; absolute discounts of English bigrams lie around it."""

START, UNKNOWN = 0, -1
"""Ids of the start of a text, and of any token that was never learned."""

FIRST, SECOND = np.uint64(32), np.uint64(0xFFFFFFFF)
"""Where the ids of a pair are in its key: shifted by so many bits, and under this mask."""

BLOCK = 10_000
"""Texts counted at a time, so that counting needs no more memory than the counts."""

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")


def lowercase_words(text: str) -> list[str]:
    """Words in lower case, characters of scripts without spaces, and punctuation marks; any text that is not blank has some."""
    return [token.lower() for token in _TOKEN.findall(text)]


def token_starts(text: str) -> list[int]:
    """Offset of each of `lowercase_words` in the text."""
    return [match.start() for match in _TOKEN.finditer(text)]


@dataclass(frozen=True)
class Counts:
    """Counts by key in two sorted arrays: 12 bytes each, where dictionaries of strings take a hundred and more.

    Attributes:
        keys: Ascending, each once.
        counts: Of each.
    """

    keys: NDArray[np.uint64]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], counts: NDArray[np.int32] | None = None) -> Counts:
        """Count keys, each once or as often as is given."""
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        counts = np.ones(len(keys), dtype=np.int32) if counts is None else counts[order]
        starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))  # the first differs from its own complement
        return cls(keys[starts], np.add.reduceat(counts, starts) if len(keys) else counts)

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts.of(np.concatenate([self.keys, other.keys]), np.concatenate([self.counts, other.counts]))

    def get(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The count of each key, 0 where there is none; shape as keys."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.int32)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.counts[places], 0)


def pair_keys(previous: Ids, tokens: Ids) -> NDArray[np.uint64]:
    """One number for each pair of ids; pairs sort by what comes first."""
    return (previous.astype(np.uint32).astype(np.uint64) << FIRST) | tokens.astype(np.uint32)


class KneserNey:
    """P(token | previous token), for every token there is: what was never seen shares the probability of one more word.

    The first token of a text follows the start, or None. Counts are kept as they are, so that a text's own can be left out.

    Attributes:
        vocabulary: Id of each token.
        texts: What was learned, as ids.
        bigrams: How often each token followed each other, by `pair_keys`.
        totals: How often anything followed each token, by id; the last is that of `UNKNOWN`.
        followers: How many different tokens followed each token, likewise.
        continuations: After how many different tokens each token was seen, likewise.
        kinds: Number of different bigrams.
    """

    def __init__(self, texts: Iterable[str], tokenize: Tokenize = lowercase_words) -> None:
        """Count a corpus.

        Args:
            texts: The corpus.
            tokenize: Text to tokens; such as the `tokenize` of a sentence-transformers tokenizer for word pieces.

        Raises:
            InvalidInputError: If no text has a token.
        """
        self.tokenize = tokenize
        self.vocabulary: dict[str, int] = {}
        self.texts: list[Ids] = []
        self.bigrams = Counts.of(np.empty(0, dtype=np.uint64))
        self.learn(tokenize(text) for text in texts)
        if not self.vocabulary:
            raise InvalidInputError("a language model needs at least one text with a token")

    def learn(self, texts: Iterable[Sequence[str]]) -> None:
        """Count more texts, which are given as tokens."""
        known, rest = self.vocabulary, iter(texts)
        while block := list(islice(rest, BLOCK)):
            for tokens in block:
                for token in tokens:
                    known.setdefault(token, len(known) + 1)
            learned = [self.ids(tokens) for tokens in block]
            self.bigrams = self.bigrams.plus(_bigrams(learned))
            self.texts += learned
        self._sum_up()

    def _sum_up(self) -> None:
        number = len(self.vocabulary) + 2  # the start, and what is unknown
        previous = (self.bigrams.keys >> FIRST).astype(np.int64)
        tokens = (self.bigrams.keys & SECOND).astype(np.int64)
        self.totals = np.bincount(previous, self.bigrams.counts, number)
        self.followers = np.bincount(previous, minlength=number)
        self.continuations = np.bincount(tokens, minlength=number)
        self.kinds = len(tokens)
        self.discount = _discount(self.bigrams.counts)
        self.lower_discount = _discount(self.continuations)
        self._common: list[str] = []
        self._whole = LeavingOut(self, ())

    def ids(self, tokens: Sequence[str | None]) -> Ids:
        """Ids of tokens, None being the start of a text; shape (tokens,)."""
        return np.array([START if token is None else self.vocabulary.get(token, UNKNOWN) for token in tokens], dtype=np.int32)

    def log_probability(self, previous: str | None, token: str) -> float:
        """Natural logarithm of P(token | previous); finite. None is the start of a text.

        Any token outside the vocabulary has the probability of the one unknown token.
        """
        return math.log(self._whole.probability(self.ids([previous]), self.ids([token]))[0])

    def log_probabilities(self, text: str) -> Floats:
        """Natural logarithm of each token's probability, given the one before; shape (number of tokens,)."""
        ids = self.ids([None, *self.tokenize(text)])
        return np.log(self._whole.probability(ids[:-1], ids[1:]))

    def perplexity(self, text: str) -> float:
        """Inverse geometric mean of the probabilities of a text's tokens; at least 1.

        Raises:
            InvalidInputError: If the text has no token.
        """
        logs = self.log_probabilities(text)
        if not logs.size:
            raise InvalidInputError("a text without tokens has no perplexity")
        return math.exp(-float(logs.mean()))

    def successors(self, token: str | None, n: int) -> list[str]:
        """The n most probable tokens after a token, ties in alphabetical order; fewer where the vocabulary is smaller.

        Raises:
            InvalidInputError: If `n` is below 1.
        """
        if n < 1:
            raise InvalidInputError(f"n must be at least 1, not {n}")
        if not self._common:
            self._common = sorted(self.vocabulary, key=lambda token: (-self.continuations[self.vocabulary[token]], token))
        (this,) = self.ids([token])
        first, last = np.searchsorted(self.bigrams.keys, pair_keys(np.array([this, this + 1]), np.zeros(2, dtype=np.int32)))
        names = list(self.vocabulary)
        seen = [names[i - 1] for i in (self.bigrams.keys[first:last] & SECOND).tolist()]
        candidates = list({*seen, *self._common[: n + len(seen)]})
        probabilities = self._whole.probability(np.full(len(candidates), this), self.ids(candidates))
        return [token for _, token in sorted(zip((-probabilities).tolist(), candidates, strict=True))[:n]]

    def leaving_out(self, texts: Sequence[Ids]) -> LeavingOut:
        """The model as if it had never learned these texts, which are given as ids; each must have been learned."""
        return LeavingOut(self, texts)


class LeavingOut:
    """A model without the counts of some of the texts that it has learned; all arrays of ids."""

    def __init__(self, model: KneserNey, texts: Sequence[Ids]) -> None:
        """Count what is left out."""
        self._model = model
        self._bigrams = _bigrams(texts)
        keys, counts = self._bigrams.keys, self._bigrams.counts
        gone = keys[model.bigrams.get(keys) <= counts]
        self._totals = Counts.of(keys >> FIRST, counts)
        self._followers = Counts.of(gone >> FIRST)
        self._continuations = Counts.of(gone & SECOND)
        self._kinds = max(model.kinds - len(gone), 1)
        tokens = len(model.vocabulary)
        self._unseen = model.lower_discount * tokens / self._kinds / (tokens + 1)

    def seen(self, tokens: Ids) -> NDArray[np.int64]:
        """After how many different tokens each was seen in any text that is not left out; 0 is a token nobody else has."""
        return np.asarray(self._model.continuations[tokens] - self._continuations.get(_as_keys(tokens)))

    def lower(self, tokens: Ids) -> Floats:
        """P(token), whatever is before it."""
        return np.asarray(np.maximum(self.seen(tokens) - self._model.lower_discount, 0) / self._kinds + self._unseen)

    def probability(self, previous: Ids, tokens: Ids) -> Floats:
        """P(token | previous)."""
        model, lower, keys, before = self._model, self.lower(tokens), pair_keys(previous, tokens), _as_keys(previous)
        totals = model.totals[previous] - self._totals.get(before)
        counts = np.maximum(model.bigrams.get(keys) - self._bigrams.get(keys) - model.discount, 0)
        followers = np.maximum(model.followers[previous] - self._followers.get(before), 1)
        return np.where(totals > 0, (counts + model.discount * followers * lower) / np.maximum(totals, 1), lower)


def _as_keys(ids: Ids) -> NDArray[np.uint64]:
    return ids.astype(np.uint32).astype(np.uint64)


def _bigrams(texts: Sequence[Ids]) -> Counts:
    """Of texts given as ids, each with its start."""
    if not texts:
        return Counts.of(np.empty(0, dtype=np.uint64))
    return Counts.of(np.concatenate([pair_keys(np.concatenate([[START], ids[:-1]]), ids) for ids in texts]))


def _discount(counts: NDArray[np.integer[Any]]) -> float:
    """The absolute discount of Ney, Essen & Kneser (1994) from the counts of counts."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else DISCOUNT
