"""What the retriever and the compressor are configured with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ragguard.checks import positive
from ragguard.retriever import Guard, GuardPolicy, Observers


class Guarding(BaseModel):
    """Defenses and how they are applied.

    Attributes:
        defenses: Applied in turn.
        top_k: How many documents to return.
        policy: Deadline for a query, and what happens when a defense fails.
        observers: Are told what becomes of each query, such as `Observers([AuditLog("audit.jsonl")])`; None tells nobody.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    defenses: Sequence[Any]
    top_k: int = 5
    policy: GuardPolicy = GuardPolicy()
    observers: Observers | None = Field(default=None, exclude=True)
    _guard: Guard = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:
        """Check the settings.

        Raises:
            ValidationError: Pydantic's: if there are no defenses, something is no defense, or `top_k` is below 1.
        """
        positive(self.top_k, "top_k")
        self._guard = Guard(self.defenses, self.policy, observers=self.observers)
