"""Deciding a record again: from the numbers in it alone, or from the texts, by the guard as it is now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ragguard.audit.record import SOURCE, Decided, Judge, Record, decided, guard_digest, judges_of
from ragguard.calibration import JointScore, Scale, suspicions
from ragguard.defenses.calibrated import CalibratedGuard
from ragguard.defenses.quota import SourceQuota
from ragguard.errors import RAGGuardError
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardPolicy
from ragguard.text import content_key, writable
from ragguard.types import Document, GuardedResult, Hit

TOLERANCE = 1e-3
"""By how much a number may differ that is computed again. Texts embedded in other company, or on other hardware, have vectors
that differ by 1e-6; thresholds divide by units of some hundredths. Actions and ranks may not differ at all."""

Depth: TypeAlias = Literal["texts", "numbers", "nothing"]


@dataclass(frozen=True)
class Replay:
    """What came of deciding again.

    Attributes:
        depth: `texts`: all defenses judged the texts again. `numbers`: verdicts of calibrated guards were held against the
            recorded signals, scales and threshold; other defenses record nothing that theirs follow from. `nothing`: nothing
            could be decided, only digests and what was kept held against the rest of the record.
        differences: What came out otherwise, one sentence each; empty if nothing did.
        changes: What is not as it was of the guard that was given, one sentence each: why there may be differences.
        why_not: Why it was not decided from texts; empty if it was.
    """

    depth: Depth
    differences: tuple[str, ...]
    changes: tuple[str, ...] = ()
    why_not: str = ""


def replay(
    record: Record,
    defenses: Sequence[Defense] = (),
    documents: Mapping[str, Document] | None = None,
    queries: Mapping[str, str] | None = None,
) -> Replay:
    """Decide a record again.

    Args:
        record: From an audit log.
        defenses: The guard; without it, numbers are all there is. It judges as it would a query: its `drift` counts, and
            `Holding` puts away. Load one for this, rather than give the one that serves.
        documents: The corpus, by id, where the record has no texts; its metadata, but for `source`, are those of today.
        queries: By `query_hash`, where the record has no texts.
    """
    within, changes = _contradictions(record), _changes(record, judges_of(tuple(defenses))) if defenses else ()
    query = record.query if record.query is not None else (queries or {}).get(record.query_hash)
    try:
        hits, missing = _hits(record, documents or {}, defenses)
        why_not = _why_not(record, defenses, query, missing)
        if why_not or query is None:
            numbers = any(judge.kind == CalibratedGuard.__name__ for judge in record.judges) and record.verdicts
            return Replay("numbers" if numbers else "nothing", within, changes, why_not)
        policy = GuardPolicy.model_validate({**record.policy, "deadline_s": None})
        result = Guard(defenses, policy)(query, hits, record.k)
    except (RAGGuardError, ValueError) as error:
        return Replay("texts", (*within, f"it was answered, and now is not: {error}"), changes)
    return Replay("texts", (*within, *_differences(record, result)), changes)


def _why_not(record: Record, defenses: Sequence[Defense], query: str | None, missing: str) -> str:
    if record.outcome != "answered":
        return f"its outcome was {record.outcome}"
    if not defenses:
        return "no guard was given"
    if len({(verdict.defense, verdict.document) for verdict in record.verdicts}) < len(record.verdicts):
        return "documents have several verdicts of one name: they were judged in several readings, or by defenses of one name"
    return "the query is not known" if query is None else missing


def _hits(record: Record, documents: Mapping[str, Document], defenses: Sequence[Defense]) -> tuple[list[Hit], str]:
    """The candidates as they were judged, or why there are none."""
    hits, counted = [], {defense.settings.key for defense in defenses if isinstance(defense, SourceQuota)} - {SOURCE}
    for candidate in record.candidates:
        known = documents.get(candidate.id)
        text = candidate.text if candidate.text is not None else None if known is None else known.text
        if text is None:
            return [], f"document {candidate.id!r} is not in the corpus"
        if content_key(text) != candidate.hash:
            return [], f"document {candidate.id!r} has another text now"
        if known is None and counted:
            return [], f"document {candidate.id!r} is not in the corpus, and a record has no {min(counted)!r}"
        metadata = {**(known.metadata if known else {})}
        if candidate.source is not None:
            metadata[SOURCE] = candidate.source
        hits.append(Hit(Document(candidate.id, text, metadata), candidate.score))
    return hits, ""


def _changes(record: Record, now: Sequence[Judge]) -> tuple[str, ...]:
    before = record.judges
    names = [judge.name for judge in before], [judge.name for judge in now]
    if names[0] != names[1]:
        return (f"the guard was {' + '.join(names[0])}, and is {' + '.join(names[1])}",)
    return tuple(
        f"{was.name}: its {key} is another"
        for was, judge in zip(before, now, strict=True)
        for key in sorted(was.described.keys() | judge.described.keys())
        if was.described.get(key) != judge.described.get(key)
    )


def _contradictions(record: Record) -> tuple[str, ...]:
    """What does not follow from what else is recorded: digests, what became of the verdicts, those of calibrated guards."""
    differences = []
    if guard_digest(record.judges, record.policy) != record.guard:
        differences.append("its guard is not the one that its digest names")
    if record.query is not None and content_key(record.query) != record.query_hash:
        differences.append("its query is not the one that its hash names")
    for candidate in record.candidates:
        if candidate.text is not None and content_key(candidate.text) != candidate.hash:
            differences.append(f"document {candidate.id!r}: its text is not the one that its hash names")
    placed = sorted((*record.kept, *record.reserve, *record.removed)) == sorted(candidate.id for candidate in record.candidates)
    if not placed or {verdict.document for verdict in record.verdicts if verdict.action == "drop"} != {*record.removed}:
        differences.append("what was kept and removed is not what the verdicts say")
    names = [judge.name for judge in record.judges]
    for judge in record.judges:
        if judge.kind != CalibratedGuard.__name__ or names.count(judge.name) > 1:  # then nobody knows whose verdicts are whose
            continue
        try:
            description = judge.described
            scales = {
                name: Scale(typical=typical, unit=unit, maxima=(0.0,), alone=name not in description.get("context", ()))
                for name, (typical, unit) in description["scales"].items()
            }
            joint = [JointScore.model_validate(each) for each in description.get("joint") or ()]
            threshold, drops = float(description["threshold"]), description["settings"]["policy"] in ("drop", "raise")
        except (KeyError, TypeError, ValueError, AttributeError):
            differences.append(f"what is recorded of {judge.name} is not how it describes itself")
            continue
        for verdict in record.verdicts:
            if verdict.defense == judge.name:
                differences += _follows(verdict, scales, joint, threshold, drops)
    return tuple(differences)


def _follows(
    verdict: Decided, scales: Mapping[str, Scale], joint: Sequence[JointScore], threshold: float, drops: bool
) -> list[str]:
    about = f"document {verdict.document!r}"
    if verdict.suspicion is None:  # of a text that could not be judged, which is dropped, or that somebody released
        return (
            []
            if (verdict.action == "drop") != verdict.reason.startswith("Released by ")
            else [f"{about}: {verdict.action} follows from no suspicion"]
        )
    scores = {name: np.array([verdict.signals.get(name, np.nan)]) for name in scales}
    again = float(suspicions(scales, scores, joint)[0])
    if not math.isclose(again, verdict.suspicion, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return [f"{about}: its signals make a suspicion of {again:.4g}, not {verdict.suspicion:.4g}"]
    if (verdict.action == "drop") != (drops and verdict.suspicion > threshold):
        return [f"{about}: {verdict.action} does not follow from {verdict.suspicion:.4g} with a threshold of {threshold:.4g}"]
    return []


def _differences(record: Record, result: GuardedResult) -> list[str]:
    kept = tuple(writable(hit.document.id) for hit in result.kept)
    differences = [] if kept == record.kept else [f"kept was {', '.join(record.kept)}, and is {', '.join(kept)}"]
    now = {(verdict.defense, verdict.document): verdict for verdict in map(decided, result.verdicts)}
    for was in record.verdicts:
        verdict = now.get((was.defense, was.document))
        if verdict is None:
            differences.append(f"document {was.document!r}: {was.defense} has no verdict on it now")
        elif (was.action, was.before, was.after) != (verdict.action, verdict.before, verdict.after):
            differences.append(f"document {was.document!r}: {was.defense} said {_outcome(was)}, and says {_outcome(verdict)}")
        elif off := _off(was, verdict):
            differences.append(f"document {was.document!r}: {was.defense} found another {off}")
    return differences


def _off(was: Decided, now: Decided) -> str:
    """A number that is not what it was; empty if all are."""
    pairs = {
        **{name: (value, now.signals.get(name)) for name, value in was.signals.items()},
        "suspicion": (was.suspicion, now.suspicion),
    }
    for name, (before, after) in pairs.items():
        if before is None and after is None:
            continue
        if before is None or after is None or not np.isclose(before, after, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return name
    return ""


def _outcome(verdict: Decided) -> str:
    return f"{verdict.action} ({verdict.before} -> {verdict.after or 'out'})"
