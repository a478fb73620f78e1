"""Canonical text, and how it is cut: words, fragments, mask spans. Pure functions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from ragguard.errors import InvalidInputError
from ragguard.types import Span

LONGEST_WORD = 32
"""Characters after which a run without spaces is cut, so that a text without spaces still has words."""

# One character of a script that is written without spaces is a word, as in BERT's own pre-tokenizer.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]{{1,{LONGEST_WORD}}}")

# Characters that show nothing. Joiners and direction marks stay: Persian, Indic scripts, emoji and right-to-left text need them.
# Tags stay where they spell a flag, and a variation selector where it can mean something: once, and not after a Latin letter.
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,6}\U000e007f")
_SELECTOR = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_SPECIAL = re.compile(f"[{_INVISIBLE}{_SELECTOR}\r\x85\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIAL_ASCII = re.compile("[\x00-\x08\x0b-\x1f\x7f]")  # its part of the above, several times as fast
_IS_INVISIBLE = re.compile(f"[{_INVISIBLE}]")
_IS_SELECTOR = re.compile(f"[{_SELECTOR}]")
_NO_BASE = re.compile(f"[A-Za-z\\s{_SELECTOR}]")
_VOWEL_SEPARATOR = "\u180e"  # a gap that people see, between Mongolian letters; elsewhere it shows nothing
_MONGOLIAN = re.compile("[\u1820-\u18aa]")

# Cyrillic, Greek and Armenian letters that look like Latin ones in most fonts (Unicode TR39, confusables).
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405\u0391\u0392\u0395\u0396\u0397\u0399"
    "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u0578\u057d\u0585\u0131\u0261",
    "aeopcyxijsdqwhoavpikABEKMHOPCTYXIJSABEZHIKMNOPTYXnuoig",
)
LOOK_ALIKES = frozenset(map(chr, _LOOK_ALIKES)) - {"\u0131", "\u0261"}
"""Letters of other scripts that look like Latin ones; two of those above are Latin (of Turkish, and of phonetic notation)."""

_UNSEEN = ("Mn", "Me", "Cf")
_READ_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")

KEPT, KEPT_LENGTH = 4096, 32_768
"""Canonical forms that are remembered, and up to how many characters: every stage of a query asks for the same ones."""

LONGEST_RUN = 32
"""A character and its combining marks; more are cut. The Stream-Safe Text Format (UAX #15) allows 30 marks."""


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
        """Map a range of the canonical text to the range of the original text that it came from; never empty."""
        start = self._origin(span.start)
        end = self.length if span.end >= len(self.text) else self._origin(span.end)
        return Span(start, max(end, min(start + 1, self.length)))

    def _origin(self, offset: int) -> int:
        run = bisect_right(self.starts, offset) - 1
        limit = self.origins[run + 1] if run + 1 < len(self.origins) else self.length
        return max(self.origins[run], min(self.origins[run] + offset - self.starts[run], limit - 1))


def canonical(text: str) -> Canonical:
    """Bring a text into the form that is embedded, judged and returned.

    Unicode NFC; line ends become a line feed; lone surrogates become U+FFFD; characters that show nothing are removed (encoders
    delete them, so no defense could see them, but a language model reads them); so are combining marks beyond 31 in a row.

    Args:
        text: Any Python string.

    Returns:
        The canonical form. Applying the function to its text changes nothing.
    """
    return _kept(text) if len(text) <= KEPT_LENGTH else _canonical(text)


def _canonical(text: str) -> Canonical:
    if text.isascii() and not _SPECIAL_ASCII.search(text):
        return Canonical(text, (0,), (0,), len(text))
    clean, sources = _cleaned(text)
    runs = _composable_runs(clean)
    parts: list[str] = []
    starts, origins, written = [0], [0], 0
    for start, end in runs:
        part = clean[start:end]
        if not part.isascii():
            part = unicodedata.normalize("NFC", part)
        if sources[start] - origins[-1] != written - starts[-1]:
            if starts[-1] == written:
                origins[-1] = sources[start]
            else:
                starts.append(written)
                origins.append(sources[start])
        parts.append(part)
        written += len(part)
    return Canonical("".join(parts), tuple(starts), tuple(origins), len(text))


_kept = lru_cache(KEPT)(_canonical)


def _cleaned(text: str) -> tuple[str, Sequence[int]]:
    """The text without what shows nothing, and the offset in the original of each character left."""
    if not _SPECIAL.search(text):
        return text, range(len(text))
    flags = {i for match in _FLAG.finditer(text) for i in range(*match.span())}
    kept: list[str] = []
    sources: list[int] = []
    for i, char in enumerate(text):
        if i in flags:
            pass
        elif char == "\r" or char == "\x85":
            char = "\n"
        elif "\ud800" <= char <= "\udfff":
            char = "\ufffd"
        elif char == "\n" and i > 0 and text[i - 1] == "\r":
            continue  # the line end is already there
        elif char == _VOWEL_SEPARATOR and _MONGOLIAN.match(text[i + 1 : i + 2]) and kept and _MONGOLIAN.match(kept[-1]):
            pass
        elif _IS_INVISIBLE.match(char):
            continue
        elif _IS_SELECTOR.match(char):
            base = unicodedata.normalize("NFC", kept[-1])[-1] if kept else ""
            if not base or _NO_BASE.match(base):
                continue
        kept.append(char)
        sources.append(i)
    return "".join(kept), sources


def invisible(text: str) -> tuple[Span, ...]:
    """Ranges of characters that show nothing, which `canonical` removes, in order; line ends are none of them."""
    if not _SPECIAL.search(text):
        return ()
    kept = set(_cleaned(text)[1])
    return merge([Span(i, i + 1) for i, char in enumerate(text) if i not in kept and char != "\n"])


def _composable_runs(text: str) -> list[tuple[int, int]]:
    """Ranges before each character that composes with nothing before it: NFC of the whole is the NFC of these parts."""
    cuts = [i for i, char in enumerate(text) if i == 0 or char < "\u0300" or _starts_run(char)]
    return [(start, min(end, start + LONGEST_RUN)) for start, end in pairwise([*cuts, len(text)])]


def _starts_run(char: str) -> bool:
    # Combining marks, and the few starters (Hangul vowels and finals, some Indic vowel signs) that compose with what precedes.
    return not (unicodedata.category(char).startswith("M") or "\u1160" <= char <= "\u11ff")


def writable(value: object) -> str:
    """A name that can be written as UTF-8: half a surrogate pair is its escape, so that different names stay different."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def whole(text: str) -> str:
    """A text that can be written as UTF-8, as long as it was: half a surrogate pair is U+FFFD, as in the canonical form."""
    return _SURROGATE.sub("\ufffd", text)


def content_hash(text: str) -> str:
    """SHA-256 of a canonical text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def content_key(text: str) -> str:
    """What a text is named by, in whatever form it came: the hash of its canonical form."""
    return content_hash(canonical(text).text)


def words(text: str) -> list[Span]:
    """Ranges of the words of a text.

    A word is a run without white space, cut after 32 characters; in scripts that are written without spaces, a character.
    """
    return [Span(*match.span()) for match in _WORD.finditer(text)]


def folded_words(text: str) -> list[str]:
    """The words that a reader sees, in lower case: without marks, joiners and direction marks, look-alikes as Latin letters.

    What encoders read in spite of a disguise can then be compared as words.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
        text = "".join(char for char in text if unicodedata.category(char) not in _UNSEEN)
    return _READ_WORD.findall(text.lower())


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
