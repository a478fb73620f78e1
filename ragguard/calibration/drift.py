"""Whether live queries still are what was calibrated for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ragguard.calibration.protection import wilson


@dataclass
class Drift:
    """Counts how many live queries have a suspicious document among their top results, and says when there are too many.

    Attributes:
        loss: The share that calibration allows.
        queries: Queries seen.
        suspicious: Those with a document above the threshold.
    """

    loss: float
    queries: int = 0
    suspicious: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def count(self, suspicious: bool) -> None:
        """Count a query."""
        with self._lock:
            self.queries += 1
            self.suspicious += suspicious

    @property
    def warning(self) -> str | None:
        """What to do, if the 95 % interval (Wilson) of the live rate lies above the allowed share; None if it does not.

        Either there is an attack, or queries or corpus have changed since calibration: the guard cannot tell which.
        """
        with self._lock:
            queries, suspicious = self.queries, self.suspicious
        if queries * self.loss < 1:  # too few to say anything of such a share
            return None
        low, _ = wilson(suspicious, queries)
        if low <= self.loss:
            return None
        return (
            f"{suspicious} of {queries} queries had a suspicious document among their results "
            f"(at least {low:.1%} with 95 % confidence), more than the {self.loss:.1%} calibrated for: "
            "review what was removed; if it was honest, calibrate again"
        )
