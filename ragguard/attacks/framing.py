"""Makes honest documents look guilty: an adaptive attack on guards that take agreement for guilt.

Such guards are near-duplicate filters, flood signals, and clustering, as in TrustRAG (arXiv 2501.00879) and RAGDefender
(arXiv 2511.01268).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.attacks.edit import misanswered
from ragguard.attacks.sybil import reworded
from ragguard.checks import positive


class Framing(Attack):
    """Near-copies of each relevant document, which give the incorrect answer where the original gives the correct one."""

    name = "framing"
    family = "B"

    def __init__(self, *, sources: int = 3, seed: int = 0) -> None:
        """Configure.

        Args:
            sources: Under how many sources the documents come, in turn.
            seed: Of the wording.

        Raises:
            InvalidInputError: If `sources` is below 1.
        """
        super().__init__(seed=seed)
        self.threat = ThreatModel(knows=("query", "answer", "corpus", "defense"), sources=positive(sources, "sources"))

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """A near-copy of each relevant document in turn; none without relevant documents."""
        rewordings = [reworded(misanswered(document.text, target), generator) for document in target.relevant]
        for copies in zip(*rewordings, strict=False):
            yield from copies
