"""What a text hides from people that models read."""

from __future__ import annotations

import re

from ragguard.text.canonical_form import invisible
from ragguard.text.cutting import LOOK_ALIKES, UNSPACED
from ragguard.text.spans import merge
from ragguard.types import Span

_DOTTED = (  # letters with a dot below
    "\u1e05\u1e0d\u1e25\u1e33\u1e37\u1e43\u1e47\u1e5b\u1e63\u1e6d\u1e7f\u1e89\u1e93\u1ea1\u1eb9\u1ecb\u1ecd\u1ee5\u1ef5"
)
_PATTERNS = (
    re.compile("(?<=[A-Za-z])[\u061c\u200c-\u200f]+(?=[A-Za-z])"),  # joiners and marks between Latin letters join nothing
    re.compile(f"[a-z]\u0323|[{_DOTTED}]{{4,}}"),  # Sanskrit in Latin letters has three in a row: k\u1e5b\u1e63\u1e47a
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"<[^<>]*(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0)[^<>]*>[^<]*", re.I),
    re.compile(r"<[a-z]+[^<>]*\s(?:hidden|aria-hidden=.true.)[^<>]*>[^<]*", re.I),
    re.compile(r"<(?:template|noscript|script|style)\b[^<>]*>.*?</", re.I | re.DOTALL),
    re.compile(r"\balt\s*=\s*\"[^\"]{20,}\"|\balt\s*=\s*'[^']{20,}'", re.I),
)
_WORD, _LATIN = re.compile(r"[^\W\d_]+"), re.compile("[A-Za-z]")
# Greek letters that are signs, as in TNF\u03b1, NF-\u03baB, \u03b1x: not between small Latin letters, and not in front of three.
_SIGN = re.compile("(?<![a-z])[\u03b1\u03b9\u03ba\u03bd\u03c1](?![a-z]{3})|[\u03b1\u03b9\u03ba\u03bd\u03c1](?![a-z])")

# Direction (UAX #9): overrides show letters in another order, and so do right-to-left embeddings and isolates of left-to-right
# text. Around right-to-left letters, and left-to-right, they are how such text is marked up.
_LINE = re.compile(".+")
_OVERRIDE = re.compile("[\u202d\u202e]")
_MARKED = re.compile("[\u202b\u2067]([^\u202a-\u202e\u2066-\u2069\n]*)")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]+")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")

_BREAKS = re.compile(
    f"\u200b(?=[{UNSPACED}])|(?<=[{UNSPACED}])\u200b|^\ufeff|[\x0b\x0c]|(?<=[^\\W\\d_]{{2}})\u00ad(?=[^\\W\\d_]{{2}})"
)
"""Typesetting: where lines may break in scripts without spaces, a mark of byte order, a page break, a hyphen within a word."""


def hidden_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that are hidden, in order."""
    spans = [Span(*match.span()) for pattern in _PATTERNS for match in pattern.finditer(text)]
    if not text.isascii():
        for match in _WORD.finditer(_SIGN.sub(" ", text)):  # as long as the text
            if not LOOK_ALIKES.isdisjoint(match.group()) and _LATIN.search(match.group()):
                spans.append(Span(*match.span()))
        for line in _LINE.finditer(text):
            marked = _MARKED.finditer(line.group())
            if _OVERRIDE.search(line.group()) or not all(_RIGHT_TO_LEFT.search(match[1]) for match in marked):
                spans += [Span(*match.span()) for match in _DIRECTION.finditer(text, *line.span())]
    return merge(spans)


def removed_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a text as it came whose characters show nothing, without those that typesetting explains; in order."""
    explained = {match.start() for match in _BREAKS.finditer(text)}
    return tuple(span for span in invisible(text) if not explained.issuperset(range(span.start, span.end)))
