"""How a text is cut: words, fragments, mask spans, windows. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from ragguard.errors import InvalidInputError
from ragguard.types import Span

LONGEST_WORD = 32
"""Characters after which a run without spaces is cut, so that a text without spaces still has words."""

# One character of a script that is written without spaces is a word, as in BERT's own pre-tokenizer.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]{{1,{LONGEST_WORD}}}")

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
