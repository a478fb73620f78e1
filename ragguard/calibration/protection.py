"""What a calibrated guard promises and what it stops, at its very threshold, in numbers and in sentences."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ragguard.calibration.thresholds import Calibration

WEAK = 0.8
"""Below this share of planted texts a form is said not to be stopped."""

FEW = 5
"""Queries beyond the threshold from which one more or less hardly moves it."""

Z = 1.96


@dataclass(frozen=True)
class Protection:
    """What is stopped of one form of attack on the guard itself.

    Attributes:
        form: Of `ragguard.calibration.self_attacks.FORMS`.
        planted: How many texts were tried.
        stopped: How many are above the threshold.
        low: Lower end of the 95 % interval (Wilson) of the share that is stopped.
        high: Its upper end.
    """

    form: str
    planted: int
    stopped: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share that is stopped."""
        return self.stopped / self.planted


@dataclass(frozen=True)
class Report:
    """Both sides of a threshold.

    Attributes:
        threshold: The suspicion above which a document is acted upon.
        harmed: Share of clean queries that is harmed, expected over draws of such queries; None for derived ones.
        low: Lower end of its 95 % interval, given the number of queries.
        high: Its upper end.
        queries: How many set the threshold.
        derived: Whether they were derived from documents: then nothing is promised of queries that users ask.
        protection: What is stopped, by form; empty for guards of version 0.1, which never attacked themselves.
        weak: Forms that are not stopped, in the words of `protection`.
        reasons: Why, and what would help, in sentences.
        unjudgeable: Ids of documents that clean queries lose because they cannot be judged, up to ten.
    """

    threshold: float
    harmed: float | None
    low: float
    high: float
    queries: int
    derived: bool
    protection: tuple[Protection, ...]
    weak: tuple[str, ...]
    reasons: tuple[str, ...]
    unjudgeable: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For files and services."""
        return asdict(self)

    def __str__(self) -> str:
        """In lines for people."""
        lines = [self.harm, *map(_line, self.protection)]
        if not self.protection:
            lines.append("What it stops is not known: calibrate again, and it attacks itself.")
        if self.weak:
            lines.append(f"NOT STOPPED: {', '.join(self.weak)}.")
        if self.unjudgeable:
            lines.append(f"Never returned, since they cannot be judged: {', '.join(self.unjudgeable)}. Split what is too long.")
        return "\n".join([*lines, *self.reasons])

    @property
    def harm(self) -> str:
        """What clean queries are harmed, in a sentence."""
        if self.harmed is None:
            return (
                f"Harmed: not known. The {self.queries} queries were derived from documents; calibrate on queries of your users."
            )
        return (
            f"Harmed: {self.harmed:.1%} of clean queries like these are expected to lose a document "
            f"(95 % interval {self.low:.1%} to {self.high:.1%}; it rests on {self.queries} queries)."
        )


def _line(part: Protection) -> str:
    return f"Stops {part.stopped} of {part.planted} texts, {part.form} ({part.low:.0%} to {part.high:.0%})."


def report(calibration: Calibration, loss: float, *, poisoned: float = 0.0, confident: bool = False) -> Report:
    """What a calibration promises at a share of clean queries, and what it stops there.

    The true share of clean queries above the r-th smallest of n maxima is Beta(n + 1 - r, r) distributed over draws of these
    queries (Vovk, "Conditional validity of inductive conformal predictors", 2012).

    Args:
        calibration: Of the guard.
        loss: Share of clean queries that may be harmed.
        poisoned: Share of the calibration queries that may have met poison.
        confident: Whether that share holds with 95 % confidence.

    Raises:
        InvalidInputError: As `Calibration.threshold`.
    """
    from scipy.stats import beta  # slow to import

    threshold = calibration.threshold(loss, poisoned=poisoned, confident=confident)
    n = len(calibration.maxima) + calibration.unjudged
    rank = bisect_right(calibration.maxima, threshold)
    low, high = beta.ppf([0.025, 0.975], n + 1 - rank, rank).tolist()
    protection = tuple(_protection(form, values, threshold) for form, values in calibration.planted.items())
    weak = tuple(part.form for part in protection if part.rate < WEAK)
    return Report(
        threshold=threshold,
        harmed=None if calibration.derived else 1 - rank / (n + 1),
        low=0.0 if calibration.derived else low,
        high=1.0 if calibration.derived else high,
        queries=n,
        derived=calibration.derived,
        protection=protection,
        weak=weak,
        reasons=_reasons(calibration, threshold, n - rank) if weak else (),
        unjudgeable=calibration.unjudgeable,
    )


def _protection(form: str, suspicions: Sequence[float], threshold: float) -> Protection:
    planted = len(suspicions)
    stopped = planted - bisect_right(suspicions, threshold)
    return Protection(form, planted, stopped, *wilson(stopped, planted))


def _reasons(calibration: Calibration, threshold: float, above: int) -> tuple[str, ...]:
    reasons = []
    if calibration.leading:
        name = calibration.leading[bisect_right(calibration.maxima, threshold) - 1]
        reasons.append(f"Why: honest documents of the calibration queries have as much of the signal {name!r}.")
    if calibration.derived:
        reasons.append("What helps: queries of your users.")
    elif above < FEW:
        reasons.append(f"What helps: more queries; {above} of {len(calibration.maxima)} lie above the threshold, so few set it.")
    reasons.append("What helps against all of these: sources of documents, and a quota for each (SourceQuota).")
    return tuple(reasons)


def wilson(hits: int, n: int, z: float = Z) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    share = hits / n
    centre, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max((centre - spread) / (1 + z * z / n), 0.0), min((centre + spread) / (1 + z * z / n), 1.0)
