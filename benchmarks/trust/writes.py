"""What is written to disk, each with the states that it may be found in; imports no model, so that processes start quickly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragguard.audit import AuditLog, Flaw, Record, read
from ragguard.calibration import Calibration, Scale
from ragguard.defenses.saved import CalibratedGuardSettings, SavedGuard
from ragguard.evaluation.files import write_whole
from ragguard.evidence import SQLStore
from ragguard.quarantine import Quarantine, Step
from ragguard.retriever import Decision, GuardPolicy
from ragguard.text import content_hash
from ragguard.types import Document, Evidence, GuardedResult, Hit, Span, Verdict

TEXTS = tuple(f"text number {i} of the shelf" for i in range(100))
KEYS = tuple(f"encoder|fragments:5|{content_hash(text)}" for text in TEXTS)
KEPT = 10
"""Of the texts, those that a vacuum leaves."""

ROWS, DIMENSION = 5, 384
HELD = 5
"""Texts in quarantine."""

SHELF = (*TEXTS[:3], *(text.upper() for text in TEXTS[:3]))
"""Three texts, and three that have the same words."""

LARGE = "a text that it takes long to write " * 60_000
MAXIMA = 20_000
"""Numbers in a saved guard: so many that writing it takes long enough to be interrupted."""


def evidence(number: int, generation: int = 0, rows: int = ROWS, dimension: int = DIMENSION) -> Evidence:
    """Of one text, the same whenever it is asked for, and another one in each generation."""
    vectors = np.random.default_rng((number, generation)).normal(size=(rows, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Evidence(tuple((Span(i, i + 1 + generation),) for i in range(rows)), vectors)


def same(one: Evidence, other: Evidence) -> bool:
    """Whether one is the other as a store keeps it: fp16 moves a number by 2^-11 of it at most."""
    return (
        one.spans == other.spans
        and one.vectors.shape == other.vectors.shape
        and bool(np.allclose(one.vectors, other.vectors, rtol=0, atol=1e-3))
    )


@dataclass(frozen=True)
class Write:
    """A write that may be interrupted.

    Attributes:
        before: Makes what is there before it, in an empty folder.
        write: Does it.
        state: What is found afterwards: "old" or "new"; anything else is torn.
    """

    before: Callable[[Path], None]
    write: Callable[[Path], None]
    state: Callable[[Path], str]


def _put(folder: Path, generation: int) -> None:
    with SQLStore(folder / "evidence.db") as store:
        store.put({key: evidence(i, generation) for i, key in enumerate(KEYS)})


def _generation(folder: Path) -> str:
    with SQLStore(folder / "evidence.db") as store:
        found = store.get(KEYS)
    for state, generation in (("old", 0), ("new", 1)):
        if all(item is not None and same(item, evidence(i, generation)) for i, item in enumerate(found)):
            return state
    return "torn"


def _filled(folder: Path) -> str:
    with SQLStore(folder / "evidence.db") as store:
        found = store.get(KEYS)
    if not any(found):
        return "old"
    return "new" if all(item is not None and same(item, evidence(i)) for i, item in enumerate(found)) else "torn"


def _vacuum(folder: Path) -> None:
    with SQLStore(folder / "evidence.db") as store:
        store.vacuum(TEXTS[:KEPT])


def _vacuumed(folder: Path) -> str:
    with SQLStore(folder / "evidence.db") as store:
        found = store.get(KEYS)
    if any(item is not None and not same(item, evidence(i)) for i, item in enumerate(found)):
        return "torn"
    there = [i for i, item in enumerate(found) if item is not None]
    return "old" if len(there) == len(KEYS) else "new" if there == list(range(KEPT)) else "torn"


def saved_guard(generation: int, maxima: int = MAXIMA) -> SavedGuard:
    """A guard as it is saved, another one in each generation."""
    worst = tuple(np.sort(np.random.default_rng(generation).normal(size=maxima)).tolist())
    scales = {"echo": Scale(typical=0.1 + generation, unit=1.0, maxima=worst)}
    calibration = Calibration(encoder="encoder", k=10, scales=scales, maxima=worst)
    return SavedGuard(settings=CalibratedGuardSettings(), calibration=calibration)


def _save(folder: Path, generation: int) -> None:
    saved_guard(generation).write(folder / "guard.json")


def _saved(folder: Path) -> str:
    found = SavedGuard.read(folder / "guard.json")
    return "old" if found == saved_guard(0) else "new" if found == saved_guard(1) else "torn"


def _result(generation: int) -> str:
    return f"generation {generation}\n" * 200_000


def _written(folder: Path) -> str:
    found = (folder / "results.json").read_text(encoding="utf-8")
    return "old" if found == _result(0) else "new" if found == _result(1) else "torn"


def document(number: int, text: str | None = None) -> Document:
    """One that is put away."""
    return Document(f"d{number}", TEXTS[number] if text is None else text)


def verdict(number: int, defense: str = "Guard") -> Verdict:
    """On it."""
    return Verdict(f"d{number}", defense, "drop", "It speaks to the model.", 1, None, {}, (Span(0, 4),), 1.0)


def hold_alone(path: Path, number: int, defense: str) -> None:
    """Put one of the shelf away, in a process of its own."""
    with Quarantine(path) as quarantine:
        quarantine.hold(Document(f"d{number}", SHELF[number]), verdict(number, defense))


def decide_alone(path: Path, number: int, step: Step) -> None:
    """Decide about one of the shelf, in a process of its own."""
    with Quarantine(path) as quarantine:
        decide(quarantine, number, step, None)


def decide(quarantine: Quarantine, number: int, step: Step, seen: int | None) -> None:
    """Decide about one of the shelf."""
    decision = quarantine.confirm if step == "confirm" else quarantine.release
    decision(content_hash(SHELF[number]), "Ada", "why", seen=seen)


def put_alone(path: Path, numbers: Sequence[int]) -> None:
    """Store small evidence of some texts, in a process of its own."""
    with SQLStore(path) as store:
        store.put({KEYS[i]: evidence(i, dimension=8) for i in numbers})


def _hold(folder: Path, numbers: Sequence[int]) -> None:
    with Quarantine(folder / "quarantine.db") as quarantine:
        for i in numbers:
            quarantine.hold(document(i, LARGE if i == HELD else None), verdict(i))


def _held(folder: Path) -> str:
    before = {content_hash(text): ["hold"] for text in TEXTS[:HELD]}
    return _either(folder, before, {**before, content_hash(LARGE): ["hold"]})


def _release(folder: Path) -> None:
    key = content_hash(TEXTS[0])
    with Quarantine(folder / "quarantine.db") as quarantine:
        if quarantine.show(key).state == "held":
            quarantine.release(key, "Ada", "A quotation. " * 100)


def _released(folder: Path) -> str:
    before = {content_hash(text): ["hold"] for text in TEXTS[:HELD]}
    return _either(folder, before, {**before, content_hash(TEXTS[0]): ["hold", "release"]})


def _either(folder: Path, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> str:
    with Quarantine(folder / "quarantine.db") as quarantine:
        quarantine.check()
        found = {one.key: [event.what for event in one.history] for one in quarantine.entries()}
    return "old" if found == old else "new" if found == new else "torn"


AUDIT = "audit.jsonl"


def decision(number: int, characters: int = 200_000) -> Decision:
    """What an observer is told, with so much text that writing it down takes long enough to be interrupted."""
    hits = tuple(Hit(Document(f"d{i}", f"{number} {i} {'text ' * (characters // 100)}"), 1 - i / 100) for i in range(20))
    result = GuardedResult("query", 10, hits, hits[:10], hits[10:])
    return Decision(number, "query", 10, (), GuardPolicy(), 0.0, 0.1, (), result, None)


def append(folder: Path, *decisions: Decision) -> None:
    """Write records into a log by an observer of its own."""
    log = AuditLog(folder / AUDIT, texts=True)
    for one in decisions:
        log(one)


def _appended(folder: Path) -> str:
    found = [*read([folder / AUDIT])]
    records = [one for one in found if isinstance(one, Record)]
    if any(one.kind != "damaged" for one in found if isinstance(one, Flaw)):
        return "torn"
    whole = all(one.candidates[0].text == decision(one.number).result.candidates[0].document.text for one in records)  # type: ignore[union-attr]
    return "torn" if not whole or not records else "old" if len(records) == 1 else "new"  # half a line is told, and no record


WRITES: Mapping[str, Write] = {
    "store, filled": Write(lambda _: None, lambda folder: _put(folder, 0), _filled),
    "store, overwritten": Write(lambda folder: _put(folder, 0), lambda folder: _put(folder, 1), _generation),
    "store, vacuumed": Write(lambda folder: _put(folder, 0), _vacuum, _vacuumed),
    "guard, saved": Write(lambda folder: _save(folder, 0), lambda folder: _save(folder, 1), _saved),
    "result, written": Write(
        lambda folder: write_whole(folder / "results.json", _result(0)),
        lambda folder: write_whole(folder / "results.json", _result(1)),
        _written,
    ),
    "audit, appended": Write(lambda folder: append(folder, decision(1)), lambda folder: append(folder, decision(1)), _appended),
    "quarantine, held": Write(lambda folder: _hold(folder, range(HELD)), lambda folder: _hold(folder, [HELD]), _held),
    "quarantine, released": Write(lambda folder: _hold(folder, range(HELD)), _release, _released),
}
