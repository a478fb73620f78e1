"""An interpolated Kneser-Ney bigram model of a corpus (Kneser & Ney 1995; interpolated as in Chen & Goodman 1999)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError

Tokenize: TypeAlias = Callable[[str], list[str]]

DISCOUNT = 0.75
"""Where the estimate n1 / (n1 + 2 n2) has nothing to work with; absolute discounts of English bigrams lie around it."""

_TOKEN = re.compile(r"\w+|[^\w\s]")


def lowercase_words(text: str) -> list[str]:
    """Words in lower case and punctuation marks; any text that is not blank has some."""
    return _TOKEN.findall(text.lower())


class KneserNey:
    """P(token | previous token), for every token there is: what was never seen shares the probability of one more word.

    The first token of a text follows None. Counts are kept as they are, so that a text's own can be subtracted.

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
        pairs: Counter[tuple[str | None, str]] = Counter()
        for text in texts:
            tokens = tokenize(text)
            pairs.update(zip([None, *tokens], tokens, strict=False))
        if not pairs:
            raise InvalidInputError("a language model needs at least one text with a token")
        self.bigrams: dict[str | None, Counter[str]] = {}
        self.totals: Counter[str | None] = Counter()
        self.continuations: Counter[str] = Counter()
        for (previous, token), count in pairs.items():
            self.bigrams.setdefault(previous, Counter())[token] = count
            self.totals[previous] += count
            self.continuations[token] += 1
        self._kinds = len(pairs)
        self._discount = _discount(pairs.values())
        self._lower_discount = _discount(self.continuations.values())
        self._unseen = self._lower_discount * len(self.continuations) / self._kinds / (len(self.continuations) + 1)
        self._by_continuation = sorted(self.continuations, key=lambda token: (-self.continuations[token], token))

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
        lower = max(self.continuations.get(token, 0) - self._lower_discount, 0) / self._kinds + self._unseen
        row = self.bigrams.get(previous)
        if row is None:
            return lower
        count = max(row.get(token, 0) - self._discount, 0)
        return (count + self._discount * len(row) * lower) / self.totals[previous]


def _discount(counts: Iterable[int]) -> float:
    """The absolute discount of Ney, Essen & Kneser (1994) from the counts of counts."""
    times = Counter(counts)
    return times[1] / (times[1] + 2 * times[2]) if times[1] and times[2] else DISCOUNT
