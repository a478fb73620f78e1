"""Places of a text that speak for something, each with a weight, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ragguard.types import Span

LEAST = 0.4
"""What is lighter than this together says nothing: no honest text of `tests/data/ordinary` that is not held out is as heavy by a
heading, a role and a comment, and an order that is quoted without a word on models or attacks weighs half."""

CERTAIN = 1.0
"""Weight of a place that has hardly another reading, as an order to the model in plain prose."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text.

    Attributes:
        span: Where it is.
        weight: How much it says, from 0 (an honest text has it as well) to 1 (hardly any has).
    """

    span: Span
    weight: float


def strength(marks: Iterable[Mark]) -> float:
    """The logarithm of one more than the sum of the weights; 0 where the sum is below `LEAST`."""
    total = sum(mark.weight for mark in marks)
    return math.log1p(total) if total >= LEAST else 0.0
