"""What the query itself shows of an attack: a trigger that documents wait for (Phantom, arXiv 2405.20485; BadRAG, 2406.00083)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from ragguard.signals.stuffing import COMMON
from ragguard.text import canonical, content_hash, folded_words, invisible, words
from ragguard.text.control import control_spans
from ragguard.text.hidden import hidden_spans
from ragguard.types import FindingKind, QueryFinding, Span

RARE, LEAST = 0.001, 2
"""Words in at most this share of the documents, or in two, are rare. That alone says nothing: 56 % of nq_dev's clean queries have
a word that at most two documents know, 11 % one that none knows, and of hotpot_dev's 92 % and 52 %."""

REST = 0.5
"""A document that has more than this share of the query's other key words is about the query, and not about the trigger. On
nq_dev a word is told of 19 of 20 queries with Phantom's trigger, of none of 727 clean ones, of none whose words are copied,
and of 1 of 20 under HotFlip."""


def query_findings(query: str) -> tuple[QueryFinding, ...]:
    """What in a query people do not see, and what in it speaks to a language model; needs no corpus.

    About 40 microseconds for a query of ten words. Of 2,656 clean queries of four corpora one has one, a zero-width space.

    Args:
        query: As it was asked, not its canonical form.
    """
    form = canonical(query)
    findings = []
    for span in invisible(query):
        names = ", ".join(f"U+{ord(char):04X}" for char in dict.fromkeys(query[span.start : span.end]))
        findings.append(_finding("hidden text", query, span, f"Characters that show nothing ({names}), which models may read."))
    for span in hidden_spans(form.text):
        reason = "Text that people do not see, or see as something else, and models read."
        findings.append(_finding("hidden text", query, form.to_original(span), reason))
    for span in control_spans(form.text):
        reason = "Text that speaks to a language model: a token of its chat template, a role, or an order."
        findings.append(_finding("control text", query, form.to_original(span), reason))
    return tuple(findings)


def _finding(kind: FindingKind, query: str, span: Span, reason: str) -> QueryFinding:
    return QueryFinding(kind, span, query[span.start : span.end], reason)


class RareWords:
    """Finds the word of a query that a suspicious document seems to wait for. Safe to use from many threads."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Count in how many canonical texts each word is."""
        self._counts: Counter[str] = Counter()
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self.learn(texts)

    def learn(self, texts: Iterable[str]) -> None:
        """Count more texts; those it knows are not counted again."""
        with self._lock:
            for text in texts:
                if (name := content_hash(text)) not in self._known:
                    self._known.add(name)
                    self._counts.update(set(folded_words(text)))

    def __call__(self, query: str, suspicious: Sequence[str]) -> tuple[QueryFinding, ...]:
        """Words of the query that nearly no document knows, except a suspicious one that has little else of the query.

        Args:
            query: In canonical form.
            suspicious: Canonical texts of the candidates that a defense found suspicious.
        """
        if not suspicious:
            return ()
        distinct, number = list(dict.fromkeys(folded_words(query))), len(self._known)
        key = {word for word in distinct if self._counts[word] <= COMMON * number}
        rare = {word for word in key if self._counts[word] <= max(LEAST, RARE * number)}
        triggers = set()
        for text in suspicious:
            here = key & set(folded_words(text))
            triggers |= {word for word in here & rare if len(here) - 1 <= REST * (len(key) - 1)}
        findings = []
        for span in words(query):
            for word in dict.fromkeys(folded_words(query[span.start : span.end])):
                if word in triggers:
                    reason = (
                        f"{self._counts[word]} of {number} documents know the word {word!r}; a suspicious one does, "
                        "too, and little else of the query: it may wait for that word."
                    )
                    findings.append(_finding("rare word", query, span, reason))
        return tuple(findings)
