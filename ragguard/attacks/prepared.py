"""Attack texts that are already written: a dataset's `attacks.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ragguard.attacks.base import Attack, Family, Target, ThreatModel


class Prepared(Attack):
    """Plays back texts written for each target, in their order."""

    def __init__(self, name: str, family: Family, threat: ThreatModel, texts: Mapping[str, Sequence[str]]) -> None:
        """Configure.

        Args:
            name: Short name for tables.
            family: A or B.
            threat: What the author of the texts knew.
            texts: Query id to texts.
        """
        super().__init__()
        self.name, self.family, self.threat = name, family, threat
        self._texts = texts

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:  # noqa: ARG002
        """The texts written for this target."""
        yield from self._texts.get(target.id, ())
