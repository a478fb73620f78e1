"""How the wrapper works: how many candidates, how long, and what happens when something fails."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class GuardPolicy(BaseModel):
    """How the wrapper works.

    Attributes:
        overfetch: Candidates asked for, as a multiple of k; all our benchmarks judge 2. The work on a query grows with it.
        max_overfetch: Up to this multiple of k, more candidates are asked for while fewer than k are kept.
        deadline_s: Seconds that a query has; None waits.
        on_deadline: What happens after them. `raise`: DeadlineExceededError. `degrade`: the answer is what the defenses that were
            done by then let pass, marked degraded; an error still where the retriever has found nothing yet.
        fail_open: If a defense raises, go on without it and mark the result degraded. The default fails closed.
        contests: Say what kept hits of different sources disagree about; a fifth of a millisecond for ten hits
            (`benchmarks/results/contested.json`), next to nothing where the query asks for no number, date, yes or no.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    overfetch: int = Field(default=2, ge=1)
    max_overfetch: int = Field(default=16, ge=1)
    deadline_s: float | None = Field(default=None, gt=0)
    on_deadline: Literal["raise", "degrade"] = "raise"
    fail_open: bool = False
    contests: bool = True

    @model_validator(mode="after")
    def _room_to_fetch_more(self) -> GuardPolicy:
        if self.max_overfetch < self.overfetch:
            raise ValueError(f"max_overfetch={self.max_overfetch} must be at least overfetch={self.overfetch}")
        return self
