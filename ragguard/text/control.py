"""What in a text speaks to a language model instead of to a reader."""

from __future__ import annotations

import re

from ragguard.text.spans import merge
from ragguard.types import Span

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"<\|[a-z0-9_ ]{2,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<\uff5c[^<>]{2,40}\uff5c>",
        r"^\s*(?:system|assistant|developer)\s*:|\n\n(?:Human|Assistant):|^#{2,}\s*(?:instruction|system|response)s?\s*(?::|$)",
        r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}\b(?:previous|above|prior|earlier|preceding|other|all)\b[^.\n]{0,30}"
        r"\b(?:instructions?|prompts?|rules|context|passages?|documents?|text|information)\b",
        r"\b(?:when|if|whenever)\b[^.\n]{0,20}\b(?:asked|answering|queried|prompted)\b[^.\n]{0,80}"
        r"\b(?:answer|say|output|respond|reply)\b",
        r"\b(?:respond with|reply with|answer with|answer only|say exactly|output only)\b[^.\n]{0,60}[:\"'\u201c]",
        r"\byou are (?:now |an? )(?:[a-z]+ )?(?:AI|assistant|chatbot|language model|GPT)\b",
        r"\byour (?:new )?(?:instructions|system prompt)\b",
        r"\b(?:do not|don't|never) (?:mention|reveal|answer|use the (?:other|above))\b[^.\n]{0,60}",
    )
)


def control_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that speak to a model, in order."""
    return merge([Span(*match.span()) for pattern in _PATTERNS for match in pattern.finditer(text)])
