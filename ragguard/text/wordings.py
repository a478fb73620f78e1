"""Wordings that are looked for, each only in texts that have one of the words it needs: most texts have few of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """A way to say something.

    Attributes:
        needs: Parts of words in lower case, one of which a text must have.
        pattern: What is looked for then.
        weight: How sure the wording is.
    """

    needs: tuple[str, ...]
    pattern: re.Pattern[str]
    weight: float

    @classmethod
    def of(cls, needs: str, pattern: str, weight: float) -> Wording:
        """From what it needs, separated by bars, and a pattern that ignores case."""
        return cls(tuple(needs.split("|")), re.compile(pattern, re.IGNORECASE), weight)


def find(wordings: Sequence[Wording], text: str) -> Iterator[tuple[float, re.Match[str]]]:
    """All places of a text that are worded so, and the weights."""
    lowered = text.lower()
    for wording in wordings:
        if any(need in lowered for need in wording.needs):
            for match in wording.pattern.finditer(text):
                yield wording.weight, match
