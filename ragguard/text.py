"""Canonical text, and how it is cut: words, fragments, mask spans. Pure functions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ragguard.errors import InvalidInputError
from ragguard.types import Span

LONGEST_WORD = 32
"""Characters after which a run without spaces is cut, so that a text without spaces still has words."""

# One character of a script that is written without spaces is a word, as in BERT's own pre-tokenizer.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,{LONGEST_WORD}}}")

# Characters that show nothing and mean nothing in any script. Joiners, variation selectors and direction marks stay:
# Persian, Indic scripts, emoji and right-to-left text need them. Tags stay where they spell a flag.
_FLAG = r"\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,6}\U000e007f"
_INVISIBLE = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_REWRITE = re.compile(rf"(?P<flag>{_FLAG})|(?P<newline>\r\n?|\x85)|(?P<surrogate>[\ud800-\udfff])|(?P<invisible>{_INVISIBLE})")


@dataclass(frozen=True, slots=True)
class Canonical:
    """A text in canonical form, and where its characters came from.

    Attributes:
        text: The canonical text.
        starts: Offsets in `text` at which a run that maps to the original one to one begins; ascending, first is 0.
        origins: For each of `starts`, the offset in the original.
        length: Length of the original.
    """

    text: str
    starts: tuple[int, ...]
    origins: tuple[int, ...]
    length: int

    def to_original(self, span: Span) -> Span:
        """Map a range of the canonical text to the range of the original text that it came from."""
        end = self.length if span.end >= len(self.text) else self._origin(span.end)
        return Span(self._origin(span.start), end)

    def _origin(self, offset: int) -> int:
        run = bisect_right(self.starts, offset) - 1
        return min(self.origins[run] + offset - self.starts[run], self.length)


def canonical(text: str) -> Canonical:
    """Bring a text into the form that is embedded, judged and returned.

    Unicode NFC; line ends become a line feed; lone surrogates become U+FFFD; control characters, soft hyphens, zero-width
    spaces, tag characters outside of flags and the like are removed: encoders delete them, so no defense could see them.

    Args:
        text: Any Python string.

    Returns:
        The canonical form. Applying the function to its text changes nothing.
    """
    parts: list[str] = []
    starts, origins, written = [0], [0], 0

    def emit(part: str, origin: int) -> None:
        nonlocal written
        if not part:
            return
        if origin - origins[-1] != written - starts[-1]:
            if starts[-1] == written:
                origins[-1] = origin
            else:
                starts.append(written)
                origins.append(origin)
        parts.append(part)
        written += len(part)

    position = 0
    cleaned: list[tuple[str, int]] = []
    for match in _REWRITE.finditer(text):
        if match.lastgroup == "flag":
            continue
        cleaned.append((text[position : match.start()], position))
        if match.lastgroup != "invisible":
            cleaned.append(("\n" if match.lastgroup == "newline" else "\ufffd", match.start()))
        position = match.end()
    cleaned.append((text[position:], position))
    joined = "".join(part for part, _ in cleaned)
    if unicodedata.is_normalized("NFC", joined):
        for part, origin in cleaned:
            emit(part, origin)
    else:
        sources = [origin + i for part, origin in cleaned for i in range(len(part))]
        for start, end in _composable_runs(joined):
            emit(unicodedata.normalize("NFC", joined[start:end]), sources[start])
    return Canonical("".join(parts), tuple(starts), tuple(origins), len(text))


def _composable_runs(text: str) -> list[tuple[int, int]]:
    """Cut a text before every character that composes with nothing before it: NFC of the whole is the NFC of the parts."""
    cuts = [i for i, char in enumerate(text) if _starts_run(char)]
    if not cuts or cuts[0] != 0:
        cuts.insert(0, 0)
    return list(zip(cuts, [*cuts[1:], len(text)], strict=True))


def _starts_run(char: str) -> bool:
    # Combining marks, and the few starters (Hangul vowels and finals, some Indic vowel signs) that compose with what precedes.
    return not (unicodedata.category(char).startswith("M") or "\u1160" <= char <= "\u11ff")


def content_hash(text: str) -> str:
    """SHA-256 of a canonical text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def words(text: str) -> list[Span]:
    """Ranges of the words of a text.

    A word is a run without white space, cut after 32 characters; in scripts that are written without spaces, a character.
    """
    return [Span(*match.span()) for match in _WORD.finditer(text)]


def fragments(text: str, n: int) -> list[Span]:
    """Cut a text into n contiguous fragments of nearly equal numbers of words.

    With fewer words than fragments, neighbouring fragments repeat a word, so that there always are n, none empty.

    Args:
        text: A text with at least one word.
        n: Number of fragments, at least 1.

    Returns:
        n ranges, ascending; each from the start of its first word to the end of its last.

    Raises:
        InvalidInputError: If `n` is below 1 or the text has no word.
    """
    if n < 1:
        raise InvalidInputError(f"the number of fragments must be at least 1, not {n}")
    spans = words(text)
    if not spans:
        raise InvalidInputError("a text without words cannot be cut into fragments")
    bounds = [i * len(spans) // n for i in range(n + 1)]
    return [Span(spans[first].start, spans[max(last, first + 1) - 1].end) for first, last in pairwise(bounds)]


def mask_spans(text: str, m: int) -> list[Span]:
    """Tile a text with spans of m consecutive words; the last may be shorter.

    Raises:
        InvalidInputError: If `m` is below 1.
    """
    if m < 1:
        raise InvalidInputError(f"a mask span must have at least 1 word, not {m}")
    spans = words(text)
    return [Span(spans[i].start, spans[min(i + m, len(spans)) - 1].end) for i in range(0, len(spans), m)]


def windows(text: str, length: int, stride: int) -> list[Span]:
    """Overlapping runs of `length` consecutive words, one every `stride` words; the last one ends with the text.

    Raises:
        InvalidInputError: If `length` or `stride` is below 1.
    """
    if length < 1 or stride < 1:
        raise InvalidInputError(f"windows need a length and a stride of at least 1 word, not {length} and {stride}")
    spans = words(text)
    if not spans:
        return []
    starts = [*range(0, max(len(spans) - length, 0), stride), max(len(spans) - length, 0)]
    return [Span(spans[start].start, spans[min(start + length, len(spans)) - 1].end) for start in starts]


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
