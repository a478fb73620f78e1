"""Where something stands in a text: in prose, in quotation marks, in code, in a table; and whether the text is about models."""

from __future__ import annotations

import re
from bisect import bisect_right

from ragguard.text.spans import merge, without
from ragguard.types import Span

_SHOWN = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"^(```|~~~).*?(?:^\1|\Z)", re.MULTILINE | re.DOTALL),  # a fence
        (r"`[^`\n]+`", 0),
        ("\u201c[^\u201d\n]{1,300}\u201d|\u201e[^\u201c\u201d\n]{1,300}[\u201c\u201d]|\u00ab[^\u00bb\n]{1,300}\u00bb", 0),
        ("\u300c[^\u300d\n]{1,300}\u300d|(?<!\\w)\u2018[^\u2019\n]{3,300}\u2019", 0),
        (r'"[^"\n]{1,300}"|(?<!\w)\'[^\'\n]{3,300}\'(?!\w)', 0),
        (r"^ *(?:>|\|).*", re.MULTILINE),  # a quotation of mail and Markdown, a row of a table
        (r"^(?: {4}|\t).*", re.MULTILINE),  # indented code
        (r"^.*(?:[;{}]|\) *=>|\*/) *(?://.*|#.*)?$|^.*\[/.*$", re.MULTILINE),  # a statement
    )
)

_OF_MODELS = re.compile(
    r"injection|jailbreaks?|payloads?|red.?team\w*|prompts?\b|chat.?templates?|tokeni[sz]er\w*|special tokens?"
    r"|ChatML|Llama|Alpaca|Vicuna|Orca|Gemma|Mistral|DeepSeek|stop strings?|fine-?tun\w*"
    r"|hidden text|invisible text|zero.width|homoglyphs?|prompt leaks?"
    r"|\u63d0\u793a\u8bcd|\u6a21\u677f|\u5206\u8bcd\u5668",
    re.IGNORECASE,
)
_RELATED = re.compile(
    r"\b(?:attacks?|attackers?|filters?|filtre|tokens?|templates?|markers?|messages?|turns?|models?|assistants?|testers?|examples?"
    r"|phrases?|patterns?|classifier|detector|scanners?|format|roles?|Angriff\w*|Vorlage|plantilla|ataques?|attaques?)\b",
    re.IGNORECASE,
)
RELATED = 2
"""Different words that go with models and with other things, from which a text is about models."""


def shown(text: str) -> tuple[Span, ...]:
    """Ranges that a text shows rather than says: quotations, code, rows of tables."""
    return merge([Span(*match.span()) for pattern in _SHOWN for match in pattern.finditer(text)])


def within(place: Span, ranges: tuple[Span, ...]) -> bool:
    """Whether a place begins and ends in one of the ranges, which are in order and apart."""
    at = bisect_right(ranges, place.start, key=lambda span: span.start) - 1
    return at >= 0 and place.end <= ranges[at].end


def about_models(text: str, places: tuple[Span, ...], least: int = RELATED) -> bool:
    """Whether a text is about language models or attacks on them, by its words outside of the places themselves.

    Args:
        text: Canonical.
        places: Whose words do not count.
        least: Different related words that are enough.
    """
    rest = without(text, places)
    return bool(_OF_MODELS.search(rest)) or len({word.lower() for word in _RELATED.findall(rest)}) >= least
