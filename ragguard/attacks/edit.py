"""Honest documents changed in place, as a page is vandalised just before it is collected (Carlini et al., arXiv 2302.10149)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.types import Document

_NUMBER = re.compile(r"\b[0-9]+(?:[.,][0-9]+)*\b")


class Edit(Attack):
    """Puts the incorrect answer into each relevant document, or changes a number of one that does not give the correct answer."""

    name = "edit"
    family = "B"
    threat = ThreatModel(knows=("query", "answer", "corpus"), edits=True)

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[Document]:
        """The target's relevant documents, changed; without those that hold neither the answer nor a number."""
        for document in target.relevant:
            text = misanswered(document.text, target)
            if text == document.text:
                text = _with_another_number(text, generator)
            if text != document.text:
                yield replace(document, text=text)


def misanswered(text: str, target: Target) -> str:
    """The text with the target's incorrect answer wherever it has the correct one, capitalised likewise; otherwise as it is."""
    if not (target.correct and target.incorrect):
        return text
    capital = target.incorrect[0].upper() + target.incorrect[1:]
    return re.sub(
        rf"(?<!\w){re.escape(target.correct)}(?!\w)",
        lambda match: capital if match[0][0].isupper() else target.incorrect,
        text,
        flags=re.IGNORECASE,
    )


def _with_another_number(text: str, generator: np.random.Generator) -> str:
    """The text with another last digit in one of its numbers, wherever that number stands."""
    numbers = sorted(set(_NUMBER.findall(text)))
    if not numbers:
        return text
    number = str(generator.choice(numbers))
    digit = (int(number[-1]) + int(generator.integers(1, 10))) % 10
    return _NUMBER.sub(lambda match: f"{number[:-1]}{digit}" if match[0] == number else match[0], text)
