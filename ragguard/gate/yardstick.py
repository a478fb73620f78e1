"""The yardstick: what numbers documents of a corpus have, and from where on a document stands out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragguard.calibration import EXTREME
from ragguard.errors import InvalidInputError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ruler:
    """One signal's numbers of honest documents.

    Attributes:
        numbers: Ascending, shape (n,); the largest are left out as far as they may be poison.
        unit: From their median to their 98 % quantile, at least the signal's own.
    """

    numbers: Numbers
    unit: float

    def p_value(self, number: float) -> float:
        """Share of the documents whose number is as high, the one at hand counted in."""
        return (self.above(number) + 1) / (len(self.numbers) + 1)

    def above(self, number: float) -> int:
        """How many of the documents have a number as high."""
        return len(self.numbers) - int(np.searchsorted(self.numbers, number))

    def standard(self, number: float) -> float:
        """On the scale of all signals: `-log(p-value)`, and beyond the largest honest number one more for each unit."""
        return -math.log(self.p_value(number)) + self.beyond(number)

    def beyond(self, number: float) -> float:
        """Units beyond the largest honest number; 0 within."""
        return max(number - float(self.numbers[-1]), 0.0) / self.unit


@dataclass(frozen=True)
class Yardstick:
    """Rulers of all signals, and the suspicion from which a document is flagged (split conformal, Vovk et al. 2005).

    Attributes:
        rulers: By signal.
        threshold: A document whose largest standard number is above it is flagged.
        documents: How many documents set the threshold.
    """

    rulers: Mapping[str, Ruler]
    threshold: float
    documents: int

    def standard(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """A document's numbers on the common scale; its suspicion is the largest."""
        return {name: self.rulers[name].standard(number) for name, number in numbers.items()}

    def beyond(self, numbers: Mapping[str, float]) -> float:
        """How far the document is outside of all that was honest, in units of the signal by which it is farthest."""
        return max(self.rulers[name].beyond(number) for name, number in numbers.items())


def yardstick(
    fit: Mapping[str, Numbers], calibration: Mapping[str, Numbers], units: Mapping[str, float], flagged: float, poisoned: float
) -> Yardstick:
    """Learn from numbers of documents.

    Where fit and calibration are different honest documents, at most the share `flagged` of honest documents like them is
    flagged, on average over draws. Where they are the same, and those that will be judged, at most the share flagged + poisoned
    of them all is flagged: that is counted, not inferred.

    Args:
        fit: By signal, numbers of the documents that give the scales, shape (n,).
        calibration: Likewise of those that set the threshold.
        units: By signal, the least unit.
        flagged: Share of honest documents that may be flagged, between 0 and 1.
        poisoned: Share of the documents that may be poison, at least 0 and below 1.

    Raises:
        InvalidInputError: If there are too few documents for that share.
    """
    number = len(next(iter(calibration.values())))
    honest = number - math.floor(poisoned * number)
    rank = math.ceil((1 - flagged) * (honest + 1))
    least = math.ceil(1 / flagged) - 1
    if rank > honest or min(len(numbers) for numbers in fit.values()) < 2:
        raise InvalidInputError(
            f"{honest} documents cannot support a share of {flagged:.2%} of honest documents flagged; "
            f"the gate needs {least} to set its threshold with: give more, or allow more"
        )
    rulers = {name: _ruler(values, units[name], poisoned) for name, values in fit.items()}
    standard = [[rulers[name].standard(value) for value in values.tolist()] for name, values in calibration.items()]
    threshold = float(np.sort(np.max(standard, axis=0))[rank - 1])
    return Yardstick(rulers, threshold, number)


def _ruler(values: Numbers, least: float, poisoned: float) -> Ruler:
    numbers = np.sort(values)[: len(values) - math.floor(poisoned * len(values))]
    unit = float(np.quantile(numbers, EXTREME) - np.median(numbers))
    return Ruler(numbers, max(unit, least))
