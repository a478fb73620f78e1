"""Hostile text as people can look at it: nothing in it is invisible, and nothing in it moves what stands around it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ragguard.text import invisible
from ragguard.types import Span

LINE_ENDS = "\n\t"
"""Controls that are shown as what they do."""

UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
"""Unicode categories: controls, joiners and bidi controls, no characters, private ones, surrogates, other line ends."""


@dataclass(frozen=True)
class Piece:
    """A run of characters that are shown alike.

    Attributes:
        text: What to show.
        meaning: Of a character that cannot be seen: its name; empty of what is shown as it is.
        marked: Whether a verdict is about it.
    """

    text: str
    meaning: str
    marked: bool


def pieces(text: str, spans: Sequence[Span] = (), start: int = 0, end: int | None = None) -> Iterator[Piece]:
    """A part of a text in pieces, with what is in these ranges marked; equal unseen characters in a row are one piece.

    Args:
        text: Any string.
        spans: Ranges of `text`.
        start: Where the part begins.
        end: Where it ends; None is the end of the text.
    """
    part = text[start:end]
    marks = bytearray(len(part))
    for span in spans:
        first, last = max(span.start - start, 0), min(span.end - start, len(part))
        marks[first:last] = b"\1" * max(last - first, 0)
    for (unseen, marked), run in groupby(zip(part, marks, strict=True), lambda pair: (_unseen(pair[0]), pair[1])):
        shown = [char for char, _ in run]
        if not unseen:
            yield Piece("".join(shown), "", bool(marked))
            continue
        repeated = f" ×{len(shown)}" if len(shown) > 1 else ""
        yield Piece(f"U+{ord(unseen):04X}{repeated}", unicodedata.name(unseen, "a character without a name"), bool(marked))


def visible(text: str) -> str:
    """A text in one string, unseen characters as ⟨U+202E⟩."""
    return text if text.isascii() and text.isprintable() else "".join(map(_as_text, pieces(text)))


def in_line(text: str) -> str:
    """As `visible`, in one line: of a name or a reason, which must not pose as lines of its own."""
    return visible(text).replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


def marked(text: str, spans: Sequence[Span]) -> str:
    """As `visible`, with what is in these ranges between ⟦ and ⟧."""
    runs = groupby(pieces(text, spans), lambda piece: piece.marked)
    parts = [(mark, "".join(map(_as_text, run))) for mark, run in runs]
    return "".join(f"⟦{part}⟧" if mark else part for mark, part in parts)


def cut(text: str, length: int) -> str:
    """The beginning of a text, and how much more there is."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text) - length:,} more characters)"


def _as_text(piece: Piece) -> str:
    return f"⟨{piece.text}⟩" if piece.meaning else piece.text


def _unseen(char: str) -> str:
    """The character itself if it cannot be seen, else nothing."""
    if char in LINE_ENDS or (char.isascii() and char.isprintable()):
        return ""
    return char if unicodedata.category(char) in UNSEEN or invisible(char) else ""
