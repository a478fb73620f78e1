"""Calibrating: signals for a corpus, and what they say of the documents that clean queries find."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ragguard.calibration import Calibration, all_of, parts, scale
from ragguard.calibration.derived import DerivedQuery, WithoutCopies
from ragguard.checks import positive
from ragguard.defenses.base import judgeable
from ragguard.defenses.learning import Planting, Scorer, attack_itself, learn, reference_queries
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder, Retriever
from ragguard.signals import (
    ControlText,
    Echo,
    Flood,
    HiddenText,
    Intrusion,
    OffSubject,
    Outlier,
    Profiles,
    Repetition,
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
from ragguard.types import Document

SIGNALS: tuple[type[Signal], ...] = (
    Echo,
    Scatter,
    Stuffing,
    Spike,
    Seam,
    Surprise,
    Intrusion,
    HiddenText,
    ControlText,
    OffSubject,
    Repetition,
)
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
    signals: Sequence[type[Signal]],
    documents: Sequence[Document],
    texts: Sequence[str],
    queries: Sequence[str | DerivedQuery],
    loss: float,
    *,
    k: int,
    depth: int = 2,
) -> tuple[tuple[Signal, ...], Calibration]:
    """Signals of a corpus, what they learned from it, and the suspicions of the queries' documents, which set the threshold.

    What fits signals to the corpus comes from queries derived from it, so that all real queries set the threshold and their
    order says nothing. Where none can be derived, half of the real ones fit the scales, and nothing learns what goes together.

    Args:
        encoder: Embeds the queries.
        retriever: The undefended retriever.
        profiles: Of the corpus.
        signals: What is looked at.
        documents: The corpus.
        texts: Canonical texts of the corpus, or a sample.
        queries: That set the threshold.
        loss: Share of clean queries that may be harmed.
        k: Results per query.
        depth: Candidates for each result: as in service, since some signals look at all candidates.

    Raises:
        InvalidInputError: If `k` or `depth` is below 1, there are too few queries, or one finds no document.
    """
    if not any(signal.alone for signal in signals):
        raise InvalidInputError(f"a guard needs a signal that says something alone, beside {[signal.name for signal in signals]}")
    positive(k), positive(depth, "depth")
    plain = [query.text if isinstance(query, DerivedQuery) else query for query in queries]
    references = [query for query in reference_queries(documents) if query.text not in set(plain)]
    fit, held = ([query.text for query in references], all_of(plain, loss)) if references else parts(plain, loss)
    scorer = Scorer(encoder, profiles, build(signals, texts, encoder, fit))
    planting = Planting(texts)
    learned = learn(scorer, retriever, references, planting, k) if references else None
    if learned is None:  # then nothing can tell a source, which repeats its query, from a copy
        fit, held = parts(plain, loss)
        retriever = WithoutCopies(retriever, [query for query in queries if isinstance(query, DerivedQuery)])
    hits = {query: retriever.retrieve(query, depth * k) for query in (held if learned else (*fit, *held))}
    lost = {query: [hit.document.id for hit in hits_of[:k] if not judgeable([hit.document])] for query, hits_of in hits.items()}
    candidates = {
        query: [canonical(hit.document.text).text for hit in hits_of if judgeable([hit.document])]
        for query, hits_of in hits.items()
    }
    if empty := [query for query, hits_of in hits.items() if not hits_of]:
        raise InvalidInputError(f"the calibration query {empty[0]!r} finds no document; leave it out")
    scorer.prepare(text for texts_of in candidates.values() for text in texts_of)
    if learned is None:
        fitted = [scorer(query, candidates[query]) for query in fit if candidates[query]]
        scales = {
            signal.name: scale([float(each[signal.name][:k].max()) for each in fitted], signal.unit, alone=signal.alone)
            for signal in scorer.signals
        }
    else:
        scales, joint = learned
    judge = Calibration(encoder=encoder.name, k=k, scales=scales, maxima=(0.0,), joint=joint if learned else ())
    worst = sorted(_worst(judge, scorer(query, candidates[query]), k) for query in held if not lost[query])
    unjudgeable = dict.fromkeys(document for query in held for document in lost[query])
    if not worst:
        raise InvalidInputError(f"every calibration query finds documents that cannot be judged: {list(unjudgeable)[:10]}")
    calibration = judge.model_copy(
        update={
            "maxima": tuple(top for top, _ in worst),
            "leading": tuple(name for _, name in worst),
            "unjudged": sum(bool(lost[query]) for query in held),
            "unjudgeable": tuple(unjudgeable)[:10],
        }
    )
    return scorer.signals, calibration.model_copy(update={"planted": attack_itself(calibration, scorer, planting, held)})


def _worst(calibration: Calibration, scores: Mapping[str, Scores], k: int) -> tuple[float, str]:
    """The largest suspicion among the first k candidates, and the signal that has most of it."""
    suspicion = calibration.suspicions(scores)[:k]
    i = int(suspicion.argmax())
    return float(suspicion[i]), calibration.telling({name: float(values[i]) for name, values in scores.items()})[0]
