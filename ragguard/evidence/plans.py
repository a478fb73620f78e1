"""Evidence: what defenses need from a text, computed once, before any query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ragguard.errors import InvalidInputError
from ragguard.text import fragments, mask_spans, merge, windows, without, words
from ragguard.types import Evidence, Span, Vectors

WORK = 40_960
"""Words that RAGMask embeds of one text at most, for spans and again for groups: those of texts of up to 784 words at m=15.
Spans of longer texts grow, so that a hostile one costs seconds, not hours."""

MOST_GROUPS = 32
"""Groups of one text, the largest first. Honest passages of 117 words had 0.06 of them on average."""

WINDOW = 10
"""Words in the windows that are compared with each other: about as many as a question has."""

Encode = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True)
class WholePlan:
    """One vector: the text itself."""

    key: str = "whole"

    def build(self, texts: Sequence[str], encode: Encode) -> list[Evidence]:
        """Embed each text."""
        return [Evidence(((Span(0, len(text)),),), row[None, :]) for text, row in zip(texts, encode(texts), strict=True)]


@dataclass(frozen=True)
class FragmentPlan:
    """n contiguous fragments of nearly equal numbers of words (RAGPart).

    Attributes:
        n: Number of fragments.
    """

    n: int

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"fragments:{self.n}"

    def build(self, texts: Sequence[str], encode: Encode) -> list[Evidence]:
        """Embed the fragments of all texts together."""
        cuts = [fragments(text, self.n) for text in texts]
        vectors = encode([text[s.start : s.end] for text, spans in zip(texts, cuts, strict=True) for s in spans])
        return [
            Evidence(tuple((span,) for span in spans), vectors[i * self.n : (i + 1) * self.n].copy())
            for i, spans in enumerate(cuts)
        ]


@dataclass(frozen=True)
class WindowPlan:
    """Overlapping windows of a text, as long as a question (calibrated guard).

    Attributes:
        length: Words in a window.
        stride: Words from one window to the next.
    """

    length: int = WINDOW
    stride: int = WINDOW // 2

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"windows:{self.length}:{self.stride}"

    def build(self, texts: Sequence[str], encode: Encode) -> list[Evidence]:
        """Embed the windows of all texts together."""
        runs = [windows(text, self.length, self.stride) for text in texts]
        vectors = encode([text[s.start : s.end] for text, spans in zip(texts, runs, strict=True) for s in spans])
        bounds = [0, *accumulate(len(spans) for spans in runs)]
        return [
            Evidence(tuple((span,) for span in spans), vectors[a:b].copy())
            for spans, (a, b) in zip(runs, pairwise(bounds), strict=True)
        ]


@dataclass(frozen=True)
class MaskPlan:
    """The text, the text without each mask span, and without each group of spans that resemble each other (RAGMask).

    Row 0 is the text itself, its ranges empty; `spans` of every other row are what it lacks.

    Attributes:
        m: Words in a mask span.
        group_similarity: Cosine from which two spans resemble each other; None masks single spans only, as the paper does.
    """

    m: int
    group_similarity: float | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InvalidInputError: If `group_similarity` is not above 0 and at most 1.
        """
        if self.group_similarity is not None and not 0 < self.group_similarity <= 1:
            raise InvalidInputError(f"group_similarity must be above 0 and at most 1, not {self.group_similarity}")

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"masks:{self.m}:{self.group_similarity}"

    def build(self, texts: Sequence[str], encode: Encode) -> list[Evidence]:
        """Embed all masked forms of all texts together; groups cost one more pass, over the spans alone."""
        counts = [len(words(text)) for text in texts]
        tiles = [mask_spans(text, max(self.m, -(-(n * n) // WORK))) for text, n in zip(texts, counts, strict=True)]
        removed: list[list[tuple[Span, ...]]] = [[(), *((span,) for span in spans)] for spans in tiles]
        if self.group_similarity is not None:
            for i, groups in enumerate(self._groups(texts, encode)):
                removed[i].extend(groups[-min(MOST_GROUPS, WORK // max(counts[i], 1)) :])
        # A text that is one span has nothing left without it: there is no such row.
        kept = [[gone for gone in rows if without(text, gone)] for text, rows in zip(texts, removed, strict=True)]
        vectors = encode([without(text, gone) for text, rows in zip(texts, kept, strict=True) for gone in rows])
        bounds = [0, *accumulate(len(rows) for rows in kept)]
        return [Evidence(tuple(rows), vectors[a:b].copy()) for rows, a, b in zip(kept, bounds, bounds[1:], strict=False)]

    def _groups(self, texts: Sequence[str], encode: Encode) -> list[list[tuple[Span, ...]]]:
        return [
            _groups_of([span for (span,) in item.spans], item.vectors, self.group_similarity or 0.0)
            for item in WindowPlan().build(texts, encode)
        ]


def _groups_of(spans: Sequence[Span], vectors: Vectors, similarity: float) -> list[tuple[Span, ...]]:
    """Each window with the windows elsewhere that resemble it, as merged ranges, smallest first."""
    starts, ends = np.array([(s.start, s.end) for s in spans]).T
    apart = (ends[:, None] <= starts[None, :]) | (ends[None, :] <= starts[:, None])
    alike = apart & (vectors @ vectors.T >= similarity)
    groups = {
        merge([spans[row], *(spans[column] for column in np.flatnonzero(alike[row]).tolist())])
        for row in np.flatnonzero(alike.any(axis=1)).tolist()
    }
    return sorted(groups, key=lambda group: (sum(s.end - s.start for s in group), group[0].start))
