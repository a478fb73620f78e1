"""Queries derived from documents, for those who have no queries of their users: no language model, and no guarantee."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from ragguard.checks import positive
from ragguard.errors import InvalidInputError
from ragguard.protocols import Retriever
from ragguard.text import canonical, folded_words
from ragguard.types import Document, Hit

SHORTEST, LONGEST = 4, 8
"""Words of a derived query; those of nq_dev's have 9 on average, of msmarco_dev's 6."""

DERIVED = 1000
"""Queries that a guard without any is calibrated from; at least, and more where the share of harmed queries demands it."""

RUN = 5
"""Documents that share so many words in a row with the sentence that a query was made of are copies of it."""

Form: TypeAlias = Literal["topic", "sentence"]
"""`topic`: of the first sentence of a document, which often says what it is about. `sentence`: of any."""

_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+|(?<=[\u3002\uff01\uff1f])")


@dataclass(frozen=True)
class DerivedQuery:
    """A query made of a document.

    Attributes:
        text: The query.
        sentence: What it was made of; whoever has it answers by repeating the query, and is to be left out.
    """

    text: str
    sentence: str


def derived_queries(
    documents: Sequence[Document], count: int, seed: int = 0, *, forms: Sequence[Form] = ("topic", "sentence")
) -> tuple[DerivedQuery, ...]:
    """Different queries: the first four to eight words of a sentence of a random document.

    Args:
        documents: What to make them of; each once.
        count: How many at most; there are fewer where there are fewer documents with such sentences.
        seed: Of the draw.
        forms: Which sentence, by turns.

    Raises:
        InvalidInputError: If `count` is below 1, there are no forms, or no document has a sentence of four words.
    """
    positive(count, "count")
    if not forms or not set(forms) <= set(get_args(Form)):
        raise InvalidInputError(f"forms must be some of {get_args(Form)}, not {forms!r}")
    generator = np.random.default_rng(seed)
    queries: dict[str, DerivedQuery] = {}
    for row in generator.permutation(len(documents)).tolist():
        parts = _SENTENCE.split(canonical(documents[row].text).text)
        sentences = [part for part in parts if len(folded_words(part)) >= SHORTEST]
        place, length = generator.random(), int(generator.integers(SHORTEST, LONGEST + 1))
        if sentences:
            topic = forms[len(queries) % len(forms)] == "topic"
            sentence = sentences[0 if topic else int(place * len(sentences))]
            text = " ".join(folded_words(sentence)[:length])
            queries.setdefault(text, DerivedQuery(text, sentence))
        if len(queries) == count:
            break
    if not queries:
        raise InvalidInputError("no query can be derived: no document has a sentence of four words; give queries")
    return tuple(queries.values())


def enough(loss: float) -> int:
    """How many queries to derive for a share of clean queries: half of them can hold it with 95 % confidence, too."""
    return max(DERIVED, math.ceil(6.2 / loss)) if 0 < loss < 1 else DERIVED


class WithoutCopies:
    """A retriever of derived queries that leaves out the documents which have the sentence that a query was made of."""

    def __init__(self, retriever: Retriever, queries: Sequence[DerivedQuery]) -> None:
        """Wrap.

        Args:
            retriever: Of the corpus.
            queries: The derived ones among those that it will be asked.
        """
        self._retriever, self._runs = retriever, {query.text: _runs(query.sentence) for query in queries}

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """At most k hits; of twice as many, those that share no five words in a row with the sentence."""
        hits = self._retriever.retrieve(query, 2 * k if query in self._runs else k)
        return [hit for hit in hits if not self.copied(query, hit.document.text)][:k]

    def copied(self, query: str, text: str) -> bool:
        """Whether a text shares five words in a row with the sentence that a query was made of."""
        return any(run in _spaced(text) for run in self._runs.get(query, ()))


def _runs(sentence: str) -> list[str]:
    words = folded_words(sentence)
    return [_spaced(" ".join(words[i : i + RUN])) for i in range(max(len(words) - RUN, 0) + 1)]


def _spaced(text: str) -> str:
    return f" {' '.join(folded_words(text))} "
