"""Many voices for one lie (Douceur, "The Sybil Attack", 2002); so are PoisonedRAG's five texts a query (arXiv 2402.07867)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.checks import positive
from ragguard.errors import InvalidInputError

PATIENCE = 100
"""Draws in a row that find no new wording, after which there is none."""

_LEADS = (
    "This entry was last revised in spring.",
    "Here is a short account for the general reader.",
    "What follows is taken from lecture notes.",
    "The facts in brief are these.",
    "A reader asked about this recently.",
    "Several handbooks tell the story in these words.",
    "This summary is part of a longer article.",
    "For those in a hurry, here is an overview.",
    "The following paragraph comes from a teaching guide.",
    "These notes were put together for a school project.",
    "Below is a reply that was given on our forum.",
    "We publish this extract with small corrections.",
)
_SYNONYMS = dict(
    pair
    for word, synonym in (
        ("later", "afterwards"),
        ("began", "started"),
        ("large", "big"),
        ("several", "various"),
        ("many", "numerous"),
        ("because", "since"),
        ("although", "though"),
        ("often", "frequently"),
        ("built", "constructed"),
        ("showed", "demonstrated"),
        ("quickly", "rapidly"),
        ("whole", "entire"),
        ("usually", "normally"),
        ("mainly", "chiefly"),
        ("famous", "well-known"),
        ("until", "till"),
    )
    for pair in ((word, synonym), (synonym, word))
)
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
# The end of a sentence: not an abbreviation of two letters, such as "St." and "Dr.".
_END = re.compile(r"(?<=\w{3}[.!?])\s+(?=[A-Z])")


class Sybil(Attack):
    """Near-duplicates of one lie, brought in under several sources; no two are the same."""

    family = "B"

    def __init__(self, *, sources: int = 5, seed: int = 0) -> None:
        """Configure.

        Args:
            sources: Under how many sources the documents come, in turn; part of the name.
            seed: Of the wording.

        Raises:
            InvalidInputError: If `sources` is below 1.
        """
        super().__init__(seed=seed)
        self.threat = ThreatModel(knows=("query", "answer"), sources=positive(sources, "sources"))
        self.name = f"sybil-{sources}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """One wording after another of a lie drawn from the target's.

        Raises:
            InvalidInputError: If the target has no lies.
        """
        if not target.lies:
            raise InvalidInputError(f"{self.name} has no lie to repeat for {target.id!r}; give Target(..., lies=(text, ...))")
        yield from reworded(target.lies[int(generator.integers(len(target.lies)))], generator)


def reworded(text: str, generator: np.random.Generator) -> Iterator[str]:
    """Near-duplicates of a text: a sentence put in front, two neighbouring sentences exchanged, words replaced by synonyms.

    Args:
        text: What is reworded. Its first sentence stays first, and capitalised words, names among them, stay as they are.
        generator: Draws the changes.

    Yields:
        Texts that differ from `text` and from each other, until no new one is found.
    """
    sentences = _END.split(text)
    seen: set[str] = set()
    failures = 0
    while failures < PATIENCE:
        order = list(range(len(sentences)))
        if len(order) > 2:
            i = int(generator.integers(1, len(order) - 1))
            order[i : i + 2] = i + 1, i
        body = _WORD.sub(
            lambda match: _SYNONYMS.get(match[0], match[0]) if generator.integers(2) else match[0],
            " ".join(sentences[i] for i in order),
        )
        variant = f"{generator.choice(_LEADS)} {body}"
        if variant in seen:
            failures += 1
            continue
        failures = 0
        seen.add(variant)
        yield variant
