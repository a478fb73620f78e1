"""What it is, in a line: one candidate for each opening of a text. Name the paper here, or the reason."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.defenses import BaseDefense, Judgement
from ragguard.text import folded_words
from ragguard.types import Hit, Span

OPENING = 8
"""Words. A default names its source or its measurement, here: none, this is a template."""


class FirstOfEachOpening(BaseDefense):
    """Drops a candidate that opens as a better one does.

    What it does not stop belongs here, too: an attacker who words each opening anew.
    """

    name = "FirstOfEachOpening"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """One judgement for each hit, in the new order. Texts are canonical and have words; the base class saw to that."""
        seen: set[tuple[str, ...]] = set()
        judged, score = [], float("inf")
        for position, hit in enumerate(hits):
            opening = tuple(folded_words(hit.document.text)[:OPENING])
            again = opening in seen
            seen.add(opening)
            score = score if again else min(score, hit.score)  # scores must fall in the new order
            reason = "Opens as a better candidate does." if again else "Opens as no better candidate does."
            spans = (Span(0, len(hit.document.text)),) if again else ()
            judged.append(Judgement(position, hit.score if again else score, reason, drop=again, spans=spans))
        return judged
