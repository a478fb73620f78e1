"""What a guard learns before any real query: scales, joint scores, and how well it stops attacks on itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ragguard.calibration import Calibration, JointScore, Scale, scale
from ragguard.calibration.derived import DerivedQuery, WithoutCopies, derived_queries
from ragguard.calibration.joint import fit_joint
from ragguard.calibration.self_attacks import FORMS, LEARNED, REPEATED, planted
from ragguard.defenses.base import judgeable
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder, Retriever
from ragguard.signals import (
    Candidates,
    Echo,
    OffSubject,
    Profile,
    Profiles,
    Repetition,
    Scatter,
    Scores,
    Signal,
    Stuffing,
)
from ragguard.signals.stuffing import COMMON, frequencies
from ragguard.text import canonical, folded_words
from ragguard.types import Document

REFERENCES, LEAST = 200, 20
"""Queries derived from the corpus from which scales and joint scores are learned; with fewer than the second, they are not."""

TARGETS = 30
"""Queries against which texts are planted: to learn from, and again, other ones, to see what is stopped."""

TRIED = ("copied in front", "copied everywhere", "dealt out", "stuffed", "gibberish", "injected", "reworded")
"""Forms of which a guard tells what it stops."""

REPEATING = frozenset(signal.name for signal in (Echo, Scatter, Stuffing, OffSubject, Repetition))
"""Signals that see repeated queries."""

SEED = 1
"""Of reference queries, passages and planted texts."""


class Scorer:
    """All signals' scores of texts for a query."""

    def __init__(self, encoder: Encoder, profiles: Profiles, signals: Sequence[Signal]) -> None:
        """Bind.

        Args:
            encoder: Embeds queries.
            profiles: Of the corpus.
            signals: What is looked at.
        """
        self.signals = tuple(signals)
        self._encoder, self._profiles, self._apart = encoder, profiles, profiles.apart()

    def prepare(self, texts: Iterable[str]) -> None:
        """Embed the windows of canonical texts in large batches."""
        self._profiles.prepare(list(dict.fromkeys(texts)))

    def __call__(self, query: str, texts: Sequence[str]) -> dict[str, Scores]:
        """By signal, one number for each canonical text, shape (texts,)."""
        return self._scores(query, self._profiles.get(texts))

    def apart(self, planted_texts: Sequence[tuple[str, str]]) -> dict[str, Scores]:
        """By signal, one number for each pair of query and text, which knows nothing of the others; shape (pairs,).

        What these texts are is kept nowhere.
        """
        self._apart.prepare(list(dict.fromkeys(text for _, text in planted_texts)))
        each = [self._scores(query, self._apart.get([text])) for query, text in planted_texts]
        return {signal.name: np.concatenate([scores[signal.name] for scores in each]) for signal in self.signals}

    def _scores(self, query: str, profiles: Sequence[Profile]) -> dict[str, Scores]:
        candidates = Candidates(folded_words(query), encode_one_query(self._encoder, query), profiles)
        return {signal.name: signal(candidates) for signal in self.signals}


class Planting:
    """Writes texts that attack queries, in passages of the corpus."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Bind a corpus, as canonical texts with words."""
        self._texts = texts
        shares = frequencies(folded_words(text) for text in texts)
        self._common = frozenset(word for word, share in shares.items() if share > COMMON)

    def __call__(self, queries: Sequence[str], form: str) -> list[tuple[str, str]]:
        """For each query a text of one of `FORMS`, in canonical form, with the query in front."""
        generator = np.random.default_rng([SEED, list(FORMS).index(form)])
        passages = generator.integers(len(self._texts), size=len(queries)).tolist()
        return [
            (query, canonical(planted(form, query, self._texts[passage], self._common, generator)).text)
            for query, passage in zip(queries, passages, strict=True)
        ]


def reference_queries(documents: Sequence[Document]) -> tuple[DerivedQuery, ...]:
    """Queries to learn from; none where too few can be derived: then real ones must fit the scales."""
    try:
        derived = derived_queries(documents, REFERENCES, SEED)
    except InvalidInputError:
        return ()
    return derived if len(derived) >= LEAST else ()


def learn(
    scorer: Scorer, retriever: Retriever, references: Sequence[DerivedQuery], planting: Planting, k: int
) -> tuple[dict[str, Scale], tuple[JointScore, ...]] | None:
    """Scales and joint scores, from what the reference queries find and from texts planted against some of them.

    The documents that a reference query was made of repeat it, as honest pages do that answer keyword queries: the scales, which
    say what is usual, leave them out; the joint scores learn to tell them from copies.
    One score cannot see both a copy in a passage on something else and copies that leave nothing else, so that there are two.

    Args:
        scorer: Of the signals.
        retriever: The undefended retriever.
        references: The queries.
        planting: Of the corpus.
        k: Results per query.

    Returns:
        None where fewer than 20 of the queries find a document.
    """
    sources = WithoutCopies(retriever, references)
    retrieved = {
        query.text: [canonical(hit.document.text).text for hit in retriever.retrieve(query.text, k) if judgeable([hit.document])]
        for query in references
    }
    retrieved = {query: texts for query, texts in retrieved.items() if texts}
    if len(retrieved) < LEAST:
        return None
    scorer.prepare(text for texts in retrieved.values() for text in texts)
    clean = [scorer(query, texts) for query, texts in retrieved.items()]
    rows = [[i for i, text in enumerate(texts) if not sources.copied(query, text)] for query, texts in retrieved.items()]
    usual = [(scores, kept) for scores, kept in zip(clean, rows, strict=True) if kept] or [(scores, [0]) for scores in clean]
    scales = {
        signal.name: scale([float(scores[signal.name][kept].max()) for scores, kept in usual], signal.unit, alone=signal.alone)
        for signal in scorer.signals
    }
    targets = list(retrieved)[:TARGETS]
    attacked = scorer.apart([pair for form in LEARNED for pair in planting(targets, form)])
    repeated = {
        name: values.reshape(len(LEARNED), -1)[[LEARNED.index(form) for form in REPEATED]].ravel()
        for name, values in attacked.items()
    }
    units = {signal.name: signal.unit for signal in scorer.signals}
    joint = [
        fit_joint(clean, texts, chosen)
        for texts, names in ((attacked, units.keys() - {Repetition.name}), (repeated, REPEATING))
        if (chosen := {name: unit for name, unit in units.items() if name in names})
    ]
    return scales, tuple(joint)


def attack_itself(
    calibration: Calibration, scorer: Scorer, planting: Planting, queries: Sequence[str]
) -> Mapping[str, tuple[float, ...]]:
    """Suspicions of texts planted against queries that nothing was learned from, by form, ascending.

    Args:
        calibration: Of the guard.
        scorer: Of its signals.
        planting: Of the corpus.
        queries: Of which 40 are attacked, spread over the list.
    """
    targets = [queries[i] for i in np.unique(np.linspace(0, len(queries) - 1, min(TARGETS, len(queries))).astype(int)).tolist()]
    scores = {form: scorer.apart(planting(targets, form)) for form in TRIED}
    return {form: tuple(sorted(calibration.suspicions(each).tolist())) for form, each in scores.items()}
