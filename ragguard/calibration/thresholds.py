"""Calibration: one scale for all signals, and a threshold that costs no more clean queries than the user allows."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ragguard.calibration.joint import JointScore
from ragguard.checks import positive
from ragguard.errors import InvalidInputError
from ragguard.text import content_hash

VERSION = 1
"""Of the file's schema and of what the signals compute."""

TYPICAL, EXTREME = 0.5, 0.98
"""Quantiles of clean queries' largest scores between which a signal's unit lies. The second is no higher, so that one poisoned
query in a hundred does not stretch it; up to the largest itself, HotFlip's ASR@10 on nq_dev was .60 instead of .23 (with the
signals of commit 6ed0ffd)."""

NORM = 4
"""Scores of several signals add up in this norm: nearly the largest, a little more where several agree. Against the largest alone
it took GASLITE from ASR@10 .26 to .09 and adversarial decoding from .20 to .06 on nq_dev (with the same signals)."""

TOLD = 0.7
"""Signals with this share of a document's suspicion are named, and always the largest: a quarter or more of its fourth power."""

HALF = 0.5
"""Likewise of the largest part of a joint score."""

HARDER = 4
"""Of what a derived query finds, its own source repeats it, as few documents repeat what users ask: so many times the share of
derived queries may be harmed. Benchmarks/results/few_queries.json has what that costs real ones."""

CONFIDENCE = 0.95


class Scale(BaseModel):
    """How a signal is brought to the common scale: 0 is the worst document of a usual clean query, 1 that of one query in fifty.

    Attributes:
        typical: Median over clean queries of the largest score among their top documents.
        unit: Distance from there to their 98 % quantile.
        maxima: The largest scores themselves, one a query, ascending; p-values come from them.
        alone: Whether a high score is suspicious by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    typical: float
    unit: float = Field(gt=0)
    maxima: tuple[float, ...] = Field(min_length=1)
    alone: bool = True

    def standard(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores on the common scale."""
        return (scores - self.typical) / self.unit

    def p_value(self, score: float) -> float:
        """Share of clean queries whose most suspicious top document scores as high, the query at hand counted in."""
        return _p_value(self.maxima, score)

    def rarity(self, score: float) -> str:
        """How rare that is, in words that say what was counted."""
        queries = len(self.maxima)
        above = queries - bisect_left(self.maxima, score)
        return (
            f"as much for {above} of {queries} ordinary queries" if above else f"more than for any of {queries} ordinary queries"
        )


class Calibration(BaseModel):
    """What a guard learned from clean queries; frozen, and written with its guard (`CalibratedGuard.save`).

    Attributes:
        version: Of the schema.
        encoder: Name of the encoder; scores of another do not compare.
        k: Up to how many results a query may ask for: the loss is counted in the undefended top k.
        scales: One for each signal, by name, from the reference queries.
        maxima: Suspicion of the most suspicious document in the top k of each calibration query, ascending.
        documents: How many different texts the corpus had; 0 if that is unknown.
        corpus: Their hash, see `corpus_hash`; empty likewise.
        derived: Whether the queries were derived from documents: then thresholds carry no guarantee for queries that users ask.
        joint: What several signals together say, for each kind of planted text; none for guards of version 0.1.
        leading: For each of `maxima`, the signal that has most of it; empty likewise.
        unjudged: Calibration queries that lose a document of their top k because it cannot be judged (too long, or no words).
            They count as harmed.
        unjudgeable: Ids of these documents, up to ten.
        planted: Suspicions of texts with which the guard attacked itself, by form, ascending: its protection at any threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    encoder: str
    k: int = Field(ge=1)
    scales: Mapping[str, Scale]
    maxima: tuple[float, ...] = Field(min_length=1)
    documents: int = Field(default=0, ge=0)
    corpus: str = ""
    derived: bool = False
    joint: tuple[JointScore, ...] = ()
    leading: tuple[str, ...] = ()
    unjudged: int = Field(default=0, ge=0)
    unjudgeable: tuple[str, ...] = ()
    planted: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)

    def suspicions(self, scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Of candidates, from their scores by signal; see the function of this name. Shape (candidates,)."""
        return suspicions(self.scales, scores, self.joint)

    def telling(self, scores: Mapping[str, float]) -> list[str]:
        """The signals that have most of one candidate's suspicion: at least one that says something alone, then the others.

        Args:
            scores: By signal.
        """
        alone = {name: (scores[name] - scale.typical) / scale.unit for name, scale in self.scales.items() if scale.alone}
        row = {name: np.array([score]) for name, score in scores.items()}
        joint = max(self.joint, key=lambda joint: float(joint(row)[0]), default=None)
        if joint and joint(row)[0] > 0:
            weights = joint.parts(scores)
            least = HALF * max(weights.values())
        else:
            weights = alone
            norm = sum(max(value, 0.0) ** NORM for value in alone.values()) ** (1 / NORM)
            least = min(TOLD * norm, max(alone.values()))
        first = max(alone, key=lambda name: weights.get(name, 0.0))
        speaking = [name for name in self.scales if name == first or weights.get(name, -math.inf) >= least]
        return sorted(speaking, key=lambda name: (not self.scales[name].alone, -weights.get(name, 0.0)))

    @property
    def asked(self) -> str:
        """What it was calibrated on, for sentences."""
        return "queries derived from documents" if self.derived else "clean queries"

    def threshold(self, loss: float, *, poisoned: float = 0.0, confident: bool = False) -> float:
        """The suspicion above which a document is acted upon (split conformal, DESIGN section 4; Vovk et al. 2005).

        Of derived queries it carries no guarantee: queries that users ask are not exchangeable with them.

        Args:
            loss: Share of clean queries that may lose a document, between 0 and 1.
            poisoned: Share of the calibration queries that may themselves have met poison.
            confident: Hold the share with 95 % confidence over draws of calibration queries, instead of on average.

        Raises:
            InvalidInputError: If a share is out of range, or there are too few calibration queries for it.
        """
        _checked_share(loss)
        if self.derived and self.joint:
            loss = min(HARDER * loss, 0.5)
        if not 0 <= poisoned < 1:
            raise InvalidInputError(f"the share of poisoned calibration queries must lie between 0 and 1, not {poisoned}")
        n = len(self.maxima) + self.unjudged
        clean = n - math.floor(poisoned * n)
        rank = _confident_rank(clean, loss) if confident else math.ceil((1 - loss) * (clean + 1))
        if clean >= rank > len(self.maxima):
            raise InvalidInputError(
                f"{self.unjudged} of {n} calibration queries lose {', '.join(map(repr, self.unjudgeable))}, "
                f"which cannot be judged: that alone is more than {loss:.2%}; "
                "split what is too long, leave out what has no words, or allow more"
            )
        if rank > clean:
            least = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - loss)) if confident else math.ceil(1 / loss) - 1
            raise InvalidInputError(
                f"{clean} calibration queries cannot support a loss of {loss:.2%} of clean queries; "
                f"give at least {least}, or allow more"
            )
        return self.maxima[rank - 1]

    def p_value(self, suspicion: float) -> float:
        """Share of clean queries with a document as suspicious in their top k, the query at hand counted in."""
        return _p_value(self.maxima, suspicion)


def corpus_hash(texts: Sequence[str]) -> tuple[int, str]:
    """How many different canonical texts there are, and a hash of them that does not depend on their order."""
    every = bytearray()  # a set of a million names takes ten times the room
    for text in texts:
        every += bytes.fromhex(content_hash(text))
    names = np.unique(np.frombuffer(every, dtype="S32"))
    return len(names), hashlib.sha256(names.tobytes().hex().encode()).hexdigest()


def scale(maxima: Sequence[float], least: float, *, alone: bool = True) -> Scale:
    """The scale of a signal, from its largest score in the top documents of each reference query.

    Args:
        maxima: One number a query.
        least: Least unit, for signals that are the same on nearly all queries.
        alone: Whether a high score is suspicious by itself.
    """
    typical, extreme = np.quantile(maxima, [TYPICAL, EXTREME]).tolist()
    return Scale(typical=typical, unit=max(extreme - typical, least), maxima=tuple(sorted(maxima)), alone=alone)


def suspicions(
    scales: Mapping[str, Scale], scores: Mapping[str, NDArray[np.float64]], joint: Sequence[JointScore] = ()
) -> NDArray[np.float64]:
    """Suspicion of each candidate, shape (candidates,).

    The 4-norm of the standard scores above 0, over the signals that say something alone. With joint scores that number n becomes
    n / (1 + n), which is below 1, and what one of them finds has 1 and its largest excess: a signal at its ceiling on honest
    documents may blind the norm, and not what no honest document has together.
    """
    above = np.maximum([scales[name].standard(values) for name, values in scores.items() if scales[name].alone], 0)
    norms: NDArray[np.float64] = (above**NORM).sum(axis=0) ** (1 / NORM)
    if not joint:
        return norms
    together = np.max([one(scores) for one in joint], axis=0)
    return np.where(together > 0, 1 + together, norms / (1 + norms))


def _p_value(maxima: Sequence[float], value: float) -> float:
    above = len(maxima) - bisect_left(maxima, value)
    return (above + 1) / (len(maxima) + 1)


def parts(queries: Sequence[str], loss: float) -> tuple[Sequence[str], Sequence[str]]:
    """Fit and calibration queries, which must differ, where nothing else can fit: half each, but as many as the loss demands.

    Raises:
        InvalidInputError: If the share is out of range, or there are too few.
    """
    _checked_share(loss)
    least = math.ceil(1 / loss) - 1
    distinct = list(dict.fromkeys(queries))
    count = max(len(distinct) // 2, least)
    if len(distinct) - count < 10:
        raise InvalidInputError(
            f"{len(distinct)} different queries are too few: a loss of {loss:.2%} needs {least} to calibrate with and 10 to fit "
            "scales; give more, or allow more"
        )
    return distinct[:-count], distinct[-count:]


def all_of(queries: Sequence[str], loss: float) -> Sequence[str]:
    """The different queries, all of which set the threshold.

    Raises:
        InvalidInputError: If the share is out of range, or there are too few.
    """
    _checked_share(loss)
    least = math.ceil(1 / loss) - 1
    distinct = list(dict.fromkeys(queries))
    if len(distinct) < least:
        raise InvalidInputError(
            f"{len(distinct)} different queries are too few: a loss of {loss:.2%} needs {least}; give more, or allow more"
        )
    return distinct


def _checked_share(loss: float) -> None:
    if not 0 < loss < 1:
        raise InvalidInputError(f"the share of clean queries that may lose a document must lie between 0 and 1, not {loss}")


def _confident_rank(n: int, loss: float) -> int:
    """The least rank whose order statistic lies above the (1 - loss) quantile with 95 % confidence; n + 1 if there is none."""
    from scipy.stats import binom  # slow to import

    return int(binom.ppf(CONFIDENCE, n, 1 - loss)) + 1


def checked_k(k: int, calibration: Calibration) -> int:
    """A number of results that the calibration holds for.

    Raises:
        InvalidInputError: If there are more results than it was calibrated with.
    """
    if positive(k) > calibration.k:
        raise InvalidInputError(f"calibrated for at most {calibration.k} results, not {k}; calibrate with k={k}")
    return k
