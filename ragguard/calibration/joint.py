"""The joint score: several signals at once, which no honest document of the corpus has together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Scores = Mapping[str, NDArray[np.float64]]

LOWEST, HIGHEST = -1.0, 4.0
"""Standard scores are cut there, so that no signal alone carries the sum, and one that is usual excuses only so much."""

SPREAD = 0.98
"""Quantile of the corpus's own candidates that is one unit above their median."""

USUAL, RARE = 0.875, 0.98
"""Quantiles of the reference queries' largest sums: a sum counts above the first, and the second is one above it. These queries
are sentences of the corpus, whose own documents repeat them. With the first higher, less of what is copied counts (msmarco_dev);
with it lower, honest documents crowd what does, and what copies a question into a text on its subject passes (nq_dev);
benchmarks/results/few_queries.json."""

LEAST = 0.05
"""Least distance between the two."""

RIDGE = 1e-3
"""Weight of the squared weights: enough to make the fit unique."""


class JointScore(BaseModel):
    """A logistic model of the signals, each of which can only add to it: planted texts against the corpus's own candidates.

    Attributes:
        weights: By signal, at least 0.
        bias: Of the sum.
        typical: By signal, the median over candidates of reference queries.
        unit: By signal, from there to their 98 % quantile.
        usual: The sum that seven in eight of the reference queries' worst documents do not exceed.
        rare: How much more it is that 98 in a hundred do not exceed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: Mapping[str, float]
    bias: float
    typical: Mapping[str, float]
    unit: Mapping[str, float]
    usual: float = 0.0
    rare: float = Field(default=1.0, gt=0)

    def __call__(self, scores: Scores) -> NDArray[np.float64]:
        """By how much each candidate exceeds what is usual, 1 being rare; shape (candidates,); below 0 where it does not."""
        return (self._sum(scores) - self.usual) / self.rare

    def parts(self, scores: Mapping[str, float]) -> dict[str, float]:
        """What each signal adds to the sum of one candidate; what lies below the median adds nothing."""
        return {
            name: weight * float(np.clip((scores[name] - self.typical[name]) / self.unit[name], 0, HIGHEST))
            for name, weight in self.weights.items()
        }

    def _sum(self, scores: Scores) -> NDArray[np.float64]:
        names = list(self.weights)
        rows = np.stack([(scores[name] - self.typical[name]) / self.unit[name] for name in names])
        total: NDArray[np.float64] = np.array([self.weights[name] for name in names]) @ np.clip(rows, LOWEST, HIGHEST) + self.bias
        return total


def fit_joint(clean: Sequence[Scores], attacked: Scores, least: Mapping[str, float]) -> JointScore:
    """Fit by penalised likelihood, both sides weighing the same; weights are at least 0 (monotone in every signal).

    Conformal calibration afterwards guarantees the share of clean queries harmed for any score, as long as the queries that
    set the threshold took no part in the fit (Vovk et al., "Algorithmic learning in a random world", 2005).

    Args:
        clean: For each reference query, the scores of what it finds, by signal, shape (candidates,) each.
        attacked: Scores of planted texts, by signal, shape (planted,).
        least: Least unit of each signal, which names the signals, too.
    """
    from scipy.optimize import minimize  # slow to import

    names = list(least)
    honest = np.stack([np.concatenate([scores[name] for scores in clean]) for name in names])
    planted = np.stack([attacked[name] for name in names])
    typical = np.median(honest, axis=1)
    unit = np.maximum(np.quantile(honest, SPREAD, axis=1) - typical, [least[name] for name in names])
    both = np.concatenate([honest, planted], axis=1)
    rows = np.clip((both - typical[:, None]) / unit[:, None], LOWEST, HIGHEST)
    sign = np.repeat([-1.0, 1.0], [honest.shape[1], planted.shape[1]])
    weight = np.repeat([1 / honest.shape[1], 1 / planted.shape[1]], [honest.shape[1], planted.shape[1]])

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = (parameters[1:] @ rows + parameters[0]) * sign
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + RIDGE * (parameters[1:] ** 2).sum())
        return value, np.concatenate([[pull.sum()], rows @ pull + 2 * RIDGE * parameters[1:]])

    bounds = [(None, None), *[(0, None)] * len(names)]
    bias, *weights = minimize(loss, np.zeros(len(names) + 1), jac=True, bounds=bounds, method="L-BFGS-B").x.tolist()
    named = [dict(zip(names, values, strict=True)) for values in (weights, typical.tolist(), unit.tolist())]
    unfinished = JointScore(weights=named[0], bias=bias, typical=named[1], unit=named[2])
    usual, rare = np.quantile([unfinished(scores).max() for scores in clean], [USUAL, RARE]).tolist()
    return unfinished.model_copy(update={"usual": usual, "rare": max(rare - usual, LEAST)})
