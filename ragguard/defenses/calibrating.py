"""Calibrating: signals for a corpus, and what they say of the documents that clean queries find."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ragguard.calibration import Calibration, scale, suspicions
from ragguard.checks import positive
from ragguard.defenses.base import judgeable
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder, Retriever
from ragguard.signals import (
    Candidates,
    ControlText,
    Echo,
    Flood,
    HiddenText,
    Intrusion,
    Outlier,
    Profiles,
    Scatter,
    Scores,
    Seam,
    Signal,
    Spike,
    Stuffing,
    Surprise,
    frequencies,
)
from ragguard.text import canonical, folded_words

SIGNALS: tuple[type[Signal], ...] = (Echo, Scatter, Stuffing, Spike, Seam, Surprise, Intrusion, HiddenText, ControlText)
"""Of the default guard. `Flood` needs a share of its own: among them it stops little, and makes Scatter stop less on msmarco_dev.
`Outlier` adds nothing on nq_dev."""

REFERENCE = 200
"""Queries that `Outlier` compares documents with, at most."""


def build(signals: Sequence[type[Signal]], texts: Sequence[str], encoder: Encoder, queries: Sequence[str]) -> tuple[Signal, ...]:
    """Signals of a corpus.

    Args:
        signals: Which ones.
        texts: Canonical texts of the corpus, or a sample, whose word frequencies `Stuffing` needs.
        encoder: Embeds the reference queries of `Outlier`.
        queries: Reference queries, of which the first 200 are used.
    """
    built: list[Signal] = []
    for signal in signals:
        if issubclass(signal, Stuffing):
            built.append(signal(frequencies(folded_words(text) for text in texts)))
        elif issubclass(signal, Outlier):
            built.append(signal(np.stack([encode_one_query(encoder, query) for query in queries[:REFERENCE]])))
        else:
            built.append(signal())
    return tuple(built)


def signals_named(names: Collection[str], path: Path | str) -> list[type[Signal]]:
    """The signals of this package that a saved guard names, in the order of `SIGNALS`.

    Args:
        names: Of the signals.
        path: Of the file; named in errors.

    Raises:
        InvalidInputError: If one is not of this package.
    """
    classes: tuple[type[Signal], ...] = (*SIGNALS, Flood)
    known = {signal.name: signal for signal in classes}
    if strange := sorted(set(names) - known.keys()):
        raise InvalidInputError(f"{path} has the signals {strange}, which are not known here; pass signals, or calibrate again")
    return [signal for name, signal in known.items() if name in names]


def refuse_outlier(calibration: Calibration) -> None:
    """A signal that is bound to queries cannot be had from a file.

    Raises:
        InvalidInputError: If there is one.
    """
    if Outlier.name in calibration.scales:
        raise InvalidInputError(
            "the signal outlier compares with queries, which are not saved: calibrate without it, or each time"
        )


def calibrate(
    encoder: Encoder,
    retriever: Retriever,
    profiles: Profiles,
    signals: Sequence[Signal],
    fit: Sequence[str],
    held: Sequence[str],
    *,
    k: int,
    depth: int = 2,
) -> Calibration:
    """Scales from the fit queries, and the suspicions of the calibration queries' documents.

    Args:
        encoder: Embeds the queries.
        retriever: The undefended retriever.
        profiles: Of the corpus.
        signals: What is looked at.
        fit: Queries for the scales.
        held: Queries for the threshold; none of them among `fit`.
        k: Results per query.
        depth: Candidates for each result: as in service, since some signals look at all candidates.

    Raises:
        InvalidInputError: If `k` or `depth` is below 1, or no query finds a document.
    """
    positive(k), positive(depth, "depth")

    candidates = {
        query: [hit for hit in retriever.retrieve(query, depth * k) if judgeable([hit.document])] for query in (*fit, *held)
    }
    if empty := [query for query, hits in candidates.items() if not hits]:
        raise InvalidInputError(f"the calibration query {empty[0]!r} finds no document; leave it out")
    profiles.prepare(list({canonical(hit.document.text).text: None for hits in candidates.values() for hit in hits}))

    def scores_for(query: str) -> dict[str, Scores]:
        known = profiles.get([canonical(hit.document.text).text for hit in candidates[query]])
        seen = Candidates(folded_words(query), encode_one_query(encoder, query), known)
        return {signal.name: signal(seen) for signal in signals}

    fitted = [scores_for(query) for query in fit]
    scales = {signal.name: scale([float(scores[signal.name][:k].max()) for scores in fitted], signal.unit) for signal in signals}
    maxima = sorted(float(suspicions(scales, scores_for(query))[:k].max()) for query in held)
    return Calibration(encoder=encoder.name, k=k, scales=scales, maxima=tuple(maxima))
