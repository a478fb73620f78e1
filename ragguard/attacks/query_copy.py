"""The query itself as the trigger: that of PoisonedRAG's black-box attack (Zou et al., arXiv 2402.07867)."""

from __future__ import annotations

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.planted import PlantedAttack


class QueryCopy(PlantedAttack):
    """Copies the query into random passages, once or several times."""

    base = "query-copy"
    family = "A"
    threat = ThreatModel(knows=("query",))

    def trigger(self, target: Target, generator: np.random.Generator) -> str:  # noqa: ARG002
        """The query."""
        return target.query
