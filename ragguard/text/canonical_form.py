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

from ragguard.text.spans import merge
from ragguard.types import Span

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
