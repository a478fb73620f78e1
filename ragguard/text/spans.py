"""Ranges of a text: joined, and taken out."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.types import Span


def merge(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Sort ranges and join those that touch or overlap."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)


def without(text: str, spans: Sequence[Span]) -> str:
    """The text with the given ranges removed and the rest joined by single spaces."""
    position, rest = 0, []
    for span in merge(spans):
        rest.append(text[position : span.start])
        position = span.end
    rest.append(text[position:])
    return " ".join(part for part in (piece.strip() for piece in rest) if part)
