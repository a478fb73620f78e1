"""Text before any model: its canonical form, how it is cut, what in it is hidden or speaks to a model. Pure functions."""

from ragguard.text.canonical_form import (
    KEPT,
    KEPT_LENGTH,
    LONGEST_RUN,
    Canonical,
    canonical,
    content_hash,
    content_key,
    invisible,
    whole,
    writable,
)
from ragguard.text.cutting import (
    LONGEST_WORD,
    LOOK_ALIKES,
    UNSPACED,
    folded_words,
    fragments,
    mask_spans,
    windows,
    words,
)
from ragguard.text.spans import merge, without

__all__ = [
    "KEPT",
    "KEPT_LENGTH",
    "LONGEST_RUN",
    "LONGEST_WORD",
    "LOOK_ALIKES",
    "UNSPACED",
    "Canonical",
    "canonical",
    "content_hash",
    "content_key",
    "folded_words",
    "fragments",
    "invisible",
    "mask_spans",
    "merge",
    "whole",
    "windows",
    "without",
    "words",
    "writable",
]
