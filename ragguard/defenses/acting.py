"""Acting on suspicion: what is said of each document, and what a policy does with those above a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ragguard.calibration import Calibration
from ragguard.calibration.thresholds import TOLD as TOLD
from ragguard.defenses.base import Judgement
from ragguard.defenses.saved import Policy
from ragguard.errors import DefenseError
from ragguard.evidence import EvidenceBuilder, MemoryStore, WholePlan
from ragguard.protocols import Encoder
from ragguard.signals import Candidates, Scores, Signal
from ragguard.text import without
from ragguard.types import Hit, Vectors


class Acting:
    """Judgements of what is more suspicious than a threshold, and of what is not. Safe to use from many threads."""

    def __init__(self, encoder: Encoder, signals: Sequence[Signal], calibration: Calibration, policy: Policy) -> None:
        """Bind a policy.

        Args:
            encoder: Embeds what is left of sanitised documents.
            signals: Those of the calibration.
            calibration: What is usual for them.
            policy: What is done with a document above the threshold.
        """
        self._signals, self._calibration, self._policy = tuple(signals), calibration, policy
        self._rest = EvidenceBuilder(encoder, WholePlan(), MemoryStore())

    def __call__(
        self,
        hits: Sequence[Hit],
        vector: Vectors,
        candidates: Candidates,
        scores: Mapping[str, Scores],
        suspicions: Scores,
        threshold: float,
    ) -> list[Judgement]:
        """Act on what is suspicious; what is not keeps its order.

        Args:
            hits: The candidates, best first.
            vector: The query's, shape (d,).
            candidates: The same candidates as the signals see them.
            scores: Of each signal by name, shape (candidates,).
            suspicions: Of the candidates, shape (candidates,).
            threshold: The suspicion above which a document is acted upon.

        Raises:
            DefenseError: If something is suspicious and the policy is to raise.
        """
        by_hit = [dict(zip(scores, row, strict=True)) for row in zip(*(each.tolist() for each in scores.values()), strict=True)]
        judged = [
            self._judgement(i, hits[i], suspicion, by_hit[i], candidates, threshold)
            for i, suspicion in enumerate(suspicions.tolist())
        ]
        guilty = [i for i, judgement in enumerate(judged) if (judgement.suspicion or 0) > threshold]
        if guilty and self._policy == "raise":
            raise DefenseError("; ".join(f"document {hits[i].document.id!r}: {judged[i].reason}" for i in guilty))
        return self._ranked(judged, guilty, hits, vector)

    def _judgement(
        self, i: int, hit: Hit, suspicion: float, scores: Mapping[str, float], candidates: Candidates, threshold: float
    ) -> Judgement:
        numbers = {**scores, "p_value": self._calibration.p_value(suspicion)}
        if suspicion <= threshold:
            queries, share = self._calibration.asked, numbers["p_value"]
            seen = [signal.meaning for signal in self._signals if signal.telltale and scores[signal.name] > 0]
            begin = f"The document {' and '.join(seen)}, which is not enough to act on" if seen else "Nothing unusual"
            reason = f"{begin}: {share:.0%} of {queries} have a document as suspicious in their results."
            return Judgement(i, hit.score, reason, signals=numbers, suspicion=suspicion)
        scales = self._calibration.scales
        by_name = {signal.name: signal for signal in self._signals}
        over = [by_name[name] for name in self._calibration.telling(scores)]
        meanings = " and ".join(f"{signal.meaning} ({scales[signal.name].rarity(scores[signal.name])})" for signal in over)
        spans = next((spans for signal in over if (spans := signal.spans(candidates, i))), ())
        note = f" Calibrated on {self._calibration.asked}: no guarantee." if self._calibration.derived else ""
        advice = f" {over[0].advice}" if over[0].advice else ""
        drop = self._policy in ("drop", "raise")
        return Judgement(i, hit.score, f"The document {meanings}.{note}{advice}", drop, numbers, spans, suspicion)

    def _ranked(self, judged: list[Judgement], guilty: Sequence[int], hits: Sequence[Hit], vector: Vectors) -> list[Judgement]:
        if not guilty or self._policy in ("drop", "flag"):
            return judged
        behind = min(hit.score for hit in hits) - 1.0
        scores = dict.fromkeys(guilty, behind)
        if self._policy == "sanitise":
            rest = {i: without(hits[i].document.text, judged[i].spans) for i in guilty if judged[i].spans}
            rest = {i: text for i, text in rest.items() if text}
            for (i, _), evidence in zip(rest.items(), self._rest.get(list(rest.values())), strict=True):
                scores[i] = min(float(evidence.vectors[0] @ vector), hits[i].score)
        moved = [replace(judgement, score=scores.get(judgement.position, judgement.score)) for judgement in judged]
        return sorted(moved, key=lambda judgement: -judgement.score)
