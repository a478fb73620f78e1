"""Words in disguise: letters that only look like others, marks that join nothing, text that is shown in another order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ragguard.text.cutting import LOOK_ALIKES
from ragguard.text.marks import CERTAIN, Mark
from ragguard.types import Span

WORD = 0.5
"""Weight of one word in disguise: two are no slip."""

SLIP = 0.1
"""Weight of a word of another alphabet with a Latin letter in it, or of a short one in capitals, in a text of that alphabet: what
keyboards with two layouts produce."""

_JOINED = re.compile("(?<=[A-Za-z])[\u061c\u200c-\u200f]+(?=[A-Za-z])")
_WORD, _LATIN = re.compile(r"[^\W\d_]+"), re.compile("[A-Za-z]")
# Greek letters that are signs, as in TNF\u03b1, NF-\u03baB, \u03b1x: not between small Latin letters, and not in front of three.
_SIGN = re.compile("(?<![a-z])[\u03b1\u03b9\u03ba\u03bd\u03c1](?![a-z]{3})|[\u03b1\u03b9\u03ba\u03bd\u03c1](?![a-z])")
_OTHER = re.compile("[\u0370-\u058f]")
_ALL_OTHER = re.compile("(?<![^\\W\\d_])[\u0370-\u058f]{3,}(?![^\\W\\d_])")
SHORT = 5
"""Capitals of a code such as HDMI, at most."""

# Direction (UAX #9): overrides show letters in another order, and so do right-to-left embeddings and isolates of left-to-right
# text. Around right-to-left letters, and left-to-right, they are how such text is marked up.
_LINE = re.compile(".+")
_OVERRIDE = re.compile("\u202e([^\u202c\n]*)")
_MARKED = re.compile("[\u202b\u2067]([^\u202a-\u202e\u2066-\u2069\n]*)")
_SHOWN_IN_ORDER = re.compile("[A-Za-z0-9]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")

_DOT = "\u0323"
_DOTTED = re.compile(
    f"[{_DOT}{''.join(char for char in map(chr, range(0x1E00, 0x1F00)) if _DOT in unicodedata.normalize('NFD', char))}]"
)
_DOTTABLE = re.compile(r"[^\W\d_]\u0323?")
_WORD_WITH_DOTS = re.compile(r"(?:[^\W\d_]\u0323?)+")
_USUAL_DOTTED = frozenset("aeious")  # of Vietnamese, Igbo and Yoruba; consonants of Sanskrit and Arabic in Latin letters
LEAST_DOTTED = 3
"""Letters in a row, all with a dot, from which a word is no transliteration, if both vowels and other consonants than s are."""


def joined_marks(text: str) -> Iterator[Mark]:
    """Joiners and marks of direction between Latin letters, which join nothing."""
    return (Mark(Span(*match.span()), WORD) for match in _JOINED.finditer(text))


def look_alike_marks(text: str) -> Iterator[Mark]:
    """Words of Latin letters and of those that look like them."""
    if LOOK_ALIKES.isdisjoint(text):
        return
    other = len(_ALL_OTHER.findall(text))
    for match in _WORD.finditer(_SIGN.sub(" ", text)):  # as long as the text
        word = match.group()
        if LOOK_ALIKES.isdisjoint(word) or not _LATIN.search(word):
            continue
        code = word.isupper() and len(word) <= SHORT
        slip = other > 0 and (code or 2 * len(_OTHER.findall(word)) > len(word))
        yield Mark(Span(*match.span()), SLIP if slip or len(word) < LEAST_DOTTED else WORD)


def direction_marks(text: str) -> Iterator[Mark]:
    """Marks by which Latin letters or digits are shown backwards."""
    for line in _LINE.finditer(text):
        shown = line.group()
        for match in _OVERRIDE.finditer(text, *line.span()):
            if _SHOWN_IN_ORDER.search(match[1]):
                yield Mark(Span(match.start(), match.start() + 1), CERTAIN)
        if not _RIGHT_TO_LEFT.search(shown):
            for match in _MARKED.finditer(text, *line.span()):
                yield Mark(Span(match.start(), match.start() + 1), WORD)


def dotted_marks(text: str) -> Iterator[Mark]:
    """Words in which a dot stands below every letter, as no language and no transliteration has them."""
    if not _DOTTED.search(text):
        return
    for match in _WORD_WITH_DOTS.finditer(text):
        letters = _DOTTABLE.findall(unicodedata.normalize("NFD", match.group()).lower())
        bases = {letter[0] for letter in letters if letter.endswith(_DOT)}
        if len(letters) >= LEAST_DOTTED and all(letter.endswith(_DOT) for letter in letters):
            vowels, rest = bases & set("aeiouy"), bases - _USUAL_DOTTED - {"y"}
            if vowels and rest:
                yield Mark(Span(*match.span()), WORD)
