"""An interpolated Kneser-Ney bigram model of a corpus (Kneser & Ney 1995; interpolated as in Chen & Goodman 1999)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError
from ragguard.text import UNSPACED

Tokenize: TypeAlias = Callable[[str], list[str]]

DISCOUNT = 0.75
"""Where the estimate n1 / (n1 + 2 n2) has nothing to work with; absolute discounts of English bigrams lie around it."""

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")


def lowercase_words(text: str) -> list[str]:
    """Words in lower case, characters of scripts without spaces, and punctuation marks; any text that is not blank has some."""
    return [token.lower() for token in _TOKEN.findall(text)]


def token_starts(text: str) -> list[int]:
    """Offset of each of `lowercase_words` in the text."""
    return [match.start() for match in _TOKEN.finditer(text)]


class KneserNey:
    """P(token | previous token), for every token there is: what was never seen shares the probability of one more word.

    The first token of a text follows None. Counts are kept as they are, so that a text's own can be left out.

    Attributes:
        bigrams: How often each token followed each other; None is the start of a text.
        totals: How often anything followed each token.
        continuations: After how many different tokens each token was seen; its keys are the vocabulary.
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
        self.bigrams: dict[str | None, Counter[str]] = {}
        self.totals: Counter[str | None] = Counter()
        self.continuations: Counter[str] = Counter()
        self.learn(tokenize(text) for text in texts)
        if not self.continuations:
            raise InvalidInputError("a language model needs at least one text with a token")

    def learn(self, texts: Iterable[Sequence[str]]) -> None:
        """Count more texts, which are given as tokens."""
        for tokens in texts:
            for previous, token in zip([None, *tokens], tokens, strict=False):
                row = self.bigrams.setdefault(previous, Counter())
                self.continuations[token] += token not in row
                row[token] += 1
                self.totals[previous] += 1
        self.kinds = sum(self.continuations.values())
        self.discount = _discount(count for row in self.bigrams.values() for count in row.values())
        self.lower_discount = _discount(self.continuations.values())
        self._by_continuation = sorted(self.continuations, key=lambda token: (-self.continuations[token], token))
        self._whole = LeavingOut(self, ())

    def log_probability(self, previous: str | None, token: str) -> float:
        """Natural logarithm of P(token | previous); finite. None is the start of a text.

        Any token outside the vocabulary has the probability of the one unknown token.
        """
        return math.log(self._probability(previous, token))

    def log_probabilities(self, text: str) -> NDArray[np.float64]:
        """Natural logarithm of each token's probability, given the one before; shape (number of tokens,)."""
        tokens = self.tokenize(text)
        return np.array([self.log_probability(*pair) for pair in zip([None, *tokens], tokens, strict=False)], dtype=np.float64)

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
        seen = self.bigrams.get(token, Counter())
        candidates = {*seen, *self._by_continuation[: n + len(seen)]}
        return sorted(candidates, key=lambda one: (-self._probability(token, one), one))[:n]

    def _probability(self, previous: str | None, token: str) -> float:
        return self._whole.probability(previous, token)

    def leaving_out(self, texts: Iterable[Sequence[str]]) -> LeavingOut:
        """The model as if it had never learned these texts, which are given as tokens; each must have been learned."""
        return LeavingOut(self, texts)


class LeavingOut:
    """A model without the counts of some of the texts that it has learned."""

    def __init__(self, model: KneserNey, texts: Iterable[Sequence[str]]) -> None:
        """Count what is left out."""
        self._model = model
        self._bigrams = Counter(pair for tokens in texts for pair in zip([None, *tokens], tokens, strict=False))
        self._totals: Counter[str | None] = Counter()
        self._followers: Counter[str | None] = Counter()
        self._continuations: Counter[str] = Counter()
        for (previous, token), count in self._bigrams.items():
            self._totals[previous] += count
            if model.bigrams[previous][token] <= count:
                self._followers[previous] += 1
                self._continuations[token] += 1
        self._kinds = max(model.kinds - self._continuations.total(), 1)
        tokens = len(model.continuations)
        self._unseen = model.lower_discount * tokens / self._kinds / (tokens + 1)

    def knows(self, token: str) -> bool:
        """Whether any text that is not left out has the token."""
        return self._model.continuations.get(token, 0) > self._continuations.get(token, 0)

    def lower(self, token: str) -> float:
        """P(token), whatever is before it."""
        seen = self._model.continuations.get(token, 0) - self._continuations.get(token, 0)
        return max(seen - self._model.lower_discount, 0) / self._kinds + self._unseen

    def probability(self, previous: str | None, token: str) -> float:
        """P(token | previous)."""
        model, lower = self._model, self.lower(token)
        row = model.bigrams.get(previous)
        total = model.totals.get(previous, 0) - self._totals.get(previous, 0)
        if row is None or total <= 0:
            return lower
        count = max(row.get(token, 0) - self._bigrams.get((previous, token), 0) - model.discount, 0)
        return (count + model.discount * max(len(row) - self._followers.get(previous, 0), 1) * lower) / total


def _discount(counts: Iterable[int]) -> float:
    """The absolute discount of Ney, Essen & Kneser (1994) from the counts of counts."""
    times = Counter(counts)
    return times[1] / (times[1] + 2 * times[2]) if times[1] and times[2] else DISCOUNT
