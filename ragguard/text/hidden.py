"""What a text hides from people that models read, and how surely it hides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from ragguard.text.canonical_form import invisible
from ragguard.text.control import DISCUSSED, control_marks
from ragguard.text.cutting import UNSPACED
from ragguard.text.disguised import direction_marks, dotted_marks, joined_marks, look_alike_marks
from ragguard.text.marks import CERTAIN, Mark, strength
from ragguard.text.places import about_models
from ragguard.text.spans import merge
from ragguard.types import Span

ASKS = 0.5
"""Weight of markup that is not shown and holds a question, as what is planted to be retrieved does, and few lines of mail."""

INSIDE = 0.5
"""Weight of characters that show nothing between the letters of a word: a filter is misled by one, a typist leaves one."""

_CLOSED = (  # looked for up to the last end: text with beginnings only would be read to its end from each
    (re.compile(r"<!--(.*?)-->", re.DOTALL), "-->"),
    (re.compile(r"<(?:template|noscript|script|style)\b[^<>]{0,300}>(.*?)</", re.I | re.DOTALL), "</"),
)
_UNSHOWN = (
    re.compile(
        r"<[^<>]{0,300}(?:display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0+(?![.,\d]*[1-9]))[^<>]{0,300}>([^<]*)",
        re.I,
    ),
    re.compile(r"<[a-z]{1,20}[^<>]{0,300}\s(?:hidden|aria-hidden=.true.)[^<>]{0,300}>([^<]*)", re.I),
    re.compile(r"\balt\s*=\s*(\"[^\"]{20,}\"|'[^']{20,}')", re.I),
)
_ASKS = re.compile(
    r"^\W*(?:(?:who|whose|whom)\b|(?:(?:at|in|on|by|of|for|from|to) )?(?:what|where|when|why|how|which)\b(?! to\b)"
    r"(?=.*\?|(?: \w+)? (?:is|are|was|were|do|does|did|can|has|have)\b|(?: [^\s:,;.]+){3,}\W*$))|[?\uff1f\u061f]\W*$",
    re.IGNORECASE | re.DOTALL,
)
_BREAKS = re.compile(
    f"\u200b(?=[{UNSPACED}])|(?<=[{UNSPACED}])\u200b|^\ufeff|[\x0b\x0c]|(?<=[^\\W\\d_]{{2}})\u00ad(?=[^\\W\\d_]|\\s)|(?<=[^\\W\\d_])\u00ad(?=[^\\W\\d_]{{2}})"
)
"""Typesetting: where lines may break in scripts without spaces, a mark of byte order, a page break, a hyphen within a word."""

_EDGE = re.compile(r"[^\W\d_]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]+")  # what programs that read PDF leave where a line ended
_TAGS = re.compile("[\U000e0000-\U000e0fff]")


def hidden_marks(text: str) -> tuple[Mark, ...]:
    """Places of a canonical text that are hidden, in order, with their weights.

    Markup that is not shown weighs where it holds a question or an order: every page has some.
    """
    marks = list(_unshown(text))
    marks += joined_marks(text)
    if not text.isascii():
        marks += [*dotted_marks(text), *look_alike_marks(text), *direction_marks(text)]
    return tuple(sorted(marks, key=lambda mark: mark.span.start))


def hidden_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that are hidden, however little that says, in order."""
    return merge([mark.span for mark in hidden_marks(text)])


def removed_marks(text: str) -> tuple[Mark, ...]:
    """Places of a text as it came whose characters show nothing, without those that typesetting explains; in order.

    Between words they are what copying from web pages leaves; within words, and where they spell something, they hide.
    """
    spans = invisible(text)
    if not spans:
        return ()
    explained = {match.start() for match in _BREAKS.finditer(text)}
    left = [span for span in spans if not explained.issuperset(range(span.start, span.end))]
    return tuple(Mark(span, _removed(text, span, left[i - 1] if i else None)) for i, span in enumerate(left))


def removed_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a text as it came whose characters show nothing, without those that typesetting explains; in order."""
    return tuple(mark.span for mark in removed_marks(text))


def _unshown(text: str) -> Iterator[Mark]:
    if "<" not in text and "=" not in text:
        return
    orders: list[Span] = []
    closed = chain(*(pattern.finditer(text, 0, text.rfind(end) + len(end)) for pattern, end in _CLOSED if end in text))
    for match in chain(closed, *(pattern.finditer(text) for pattern in _UNSHOWN)):
        place = Span(*match.span())
        if strength(control_marks(match[1])):
            orders.append(place)
        else:
            yield Mark(place, ASKS if _ASKS.search(match[1]) else 0.0)
    if orders:
        weight = DISCUSSED if about_models(text, merge(orders)) else CERTAIN
        yield from (Mark(place, weight) for place in orders)


def _removed(text: str, span: Span, before: Span | None) -> float:
    held = text[span.start : span.end]
    if _TAGS.search(held):
        return CERTAIN
    around = text[max(span.start - 1, 0) : span.start], text[span.end : span.end + 1]
    if not all(map(_EDGE.match, around)) or (around[0].islower() and around[1].isupper()):
        return 0.0  # between words, or between the parts of a name such as getName
    if _CONTROLS.fullmatch(held):
        again = before is not None and text[before.end : span.start].isalpha()
        return INSIDE if again else 0.0
    return INSIDE
