"""What is on disk, damaged in every way: it is read as it was, computed again, or refused; never read as something else."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trust import damaged_quarantine
from benchmarks.trust.kills import PROCESSES
from benchmarks.trust.writes import AUDIT, KEYS, append, decision, evidence, same, saved_guard
from ragguard.audit import Flaw, read
from ragguard.defenses.saved import SavedGuard
from ragguard.errors import RAGGuardError
from ragguard.evidence import SQLStore

Damage = Callable[[np.random.Generator, bytearray], None]

PAGE, BLOCK = 4096, 512
AT_ONCE = 100
"""Corruptions that one process sees, so that one that dies is told."""

ITEMS = {key: evidence(i, dimension=64) for i, key in enumerate(KEYS[:40])}
DATABASE, LOG, GUARD = "evidence.db", "evidence.db-wal", "guard.json"


def _flip(generator: np.random.Generator, data: bytearray) -> None:
    data[int(generator.integers(len(data)))] ^= 1 << int(generator.integers(8))


def _flip_eight(generator: np.random.Generator, data: bytearray) -> None:
    for _ in range(8):
        _flip(generator, data)


def _cut(generator: np.random.Generator, data: bytearray) -> None:
    del data[int(generator.integers(len(data))) :]


def _block(generator: np.random.Generator, data: bytearray) -> slice:
    start = int(generator.integers(len(data)))
    return slice(start, min(start + BLOCK, len(data)))


def _zero(generator: np.random.Generator, data: bytearray) -> None:
    where = _block(generator, data)
    data[where] = bytes(where.stop - where.start)


def _garble(generator: np.random.Generator, data: bytearray) -> None:
    where = _block(generator, data)
    data[where] = generator.bytes(where.stop - where.start)


def _swap_pages(generator: np.random.Generator, data: bytearray) -> None:
    one, other = (PAGE * int(page) for page in generator.integers(max(len(data) // PAGE, 1), size=2))
    first, second = data[one : one + PAGE], data[other : other + PAGE]
    if len(first) == len(second):
        data[one : one + PAGE], data[other : other + PAGE] = second, first


def _repeat_page(generator: np.random.Generator, data: bytearray) -> None:
    one, other = (PAGE * int(page) for page in generator.integers(max(len(data) // PAGE, 1), size=2))
    data[one : one + PAGE] = data[other : other + PAGE]


BYTES: tuple[Damage, ...] = (_flip, _flip_eight, _cut, _zero, _garble, _swap_pages, _repeat_page)
SWAPPED = "UPDATE ragguard_evidence AS mine SET {0} = (SELECT {0} FROM ragguard_evidence WHERE content = :b) WHERE content = :a"
ROWS: tuple[str, ...] = (
    *(SWAPPED.format(column) for column in ("vectors", "spans", "digest")),
    "UPDATE ragguard_evidence SET content = 'x' || content",
    "UPDATE ragguard_evidence SET form = 'fp32' WHERE content = :a",
    "UPDATE ragguard_evidence SET count = count - 1 WHERE content = :a",
    "UPDATE ragguard_evidence SET digest = 1000000000000 WHERE content = :a",
    "UPDATE ragguard_evidence SET vectors = 'text' WHERE content = :a",
    "UPDATE ragguard_evidence SET vectors = zeroblob(length(vectors)) WHERE content = :a",
    "DELETE FROM ragguard_evidence WHERE content IN (:a, :b)",
    "DELETE FROM ragguard_kind",
    "UPDATE ragguard_kind SET name = 'another|fragments:5'",
    "UPDATE ragguard_store SET version = 0",
    "DROP TABLE ragguard_kind",
)
"""Damage that the database itself does not see: a row with what is another's, and its like."""


@dataclass(frozen=True)
class Kept:
    """Something on disk.

    Attributes:
        folder: Where it is when all is well.
        file: What is damaged.
        rows: Statements that damage rows; without any, bytes are damaged.
        read: Reads all of it: says `unchanged`, `silent`, or how it was found.
    """

    folder: str
    file: str
    rows: tuple[str, ...]
    read: Callable[[Path], str]


def corruptions(count: int, seed: int = 0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Damage databases, their logs, and a saved guard so many times in all, and read them.

    Args:
        count: How many.
        seed: Of the damage.
        say: Called with each step.

    Returns:
        `corruptions`, `silent_loads`, `crashes`, and how each was found: unchanged, computed again (or every time), refused,
        told, told by a remembered head, or cut between lines.
    """
    found: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as made:
        whole = Path(made)
        _write(whole)
        for place, name in enumerate(KEPT):
            wanted = count // len(KEPT) + (place < count % len(KEPT))
            found[name] = Counter()
            for start in range(0, wanted, AT_ONCE):
                found[name] += _apart(whole, name, (seed, place, start), min(AT_ONCE, wanted - start))
                say(f"damaged: {name}: {dict(found[name])}")
    total = sum((one for one in found.values()), Counter())
    return {
        "corruptions": total.total(),
        "silent_loads": total["silent"],
        "crashes": sum(number for how, number in total.items() if how.startswith("crash")),
        "corrupted_by_file": found,
    }


def _write(whole: Path) -> None:
    """The files as they are when all is well; the log as a process leaves it that was killed before it emptied it."""
    saved_guard(0, maxima=60).write(whole / "guard" / GUARD)
    (whole / "live").mkdir()
    with SQLStore(whole / "live" / DATABASE) as store:
        store.put(dict(list(ITEMS.items())[:20]))
    with SQLStore(whole / "live" / DATABASE) as store:
        store.put(dict(list(ITEMS.items())[20:]))
        (whole / "logged").mkdir()
        for name in (DATABASE, LOG):
            shutil.copy(whole / "live" / name, whole / "logged" / name)
    (whole / "audit").mkdir()
    append(whole / "audit", *(decision(number, 2000) for number in range(1, 11)))
    shutil.copy(whole / "audit" / AUDIT, whole / "audit" / f"{AUDIT}.whole")
    damaged_quarantine.write(whole)


def _apart(whole: Path, name: str, seed: tuple[int, ...], count: int) -> Counter[str]:
    """In a process of its own, which may die of it."""
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as pool:
        try:
            return pool.submit(_damaged, whole, name, seed, count).result()
        except BrokenProcessPool:
            return Counter({"crash: the process died": 1})


def _damaged(whole: Path, name: str, seed: tuple[int, ...], count: int) -> Counter[str]:
    logging.getLogger("ragguard").setLevel(logging.ERROR)
    generator, kept = np.random.default_rng(seed), KEPT[name]
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as made:
        for number in range(count):
            folder = Path(made) / str(number)
            shutil.copytree(whole / kept.folder, folder)
            path = folder / kept.file
            if kept.rows:
                _change_rows(generator, path, kept.rows[number % len(kept.rows)])
            else:
                data = bytearray(before := path.read_bytes())
                while data == before:  # a page may have been swapped with itself
                    BYTES[int(generator.integers(len(BYTES)))](generator, data)
                path.write_bytes(data)
            try:
                found[kept.read(folder)] += 1
            except RAGGuardError:
                found["refused"] += 1
            except Exception as error:  # counted: nothing else may be raised
                found[f"crash: {error!r:.200}"] += 1
            shutil.rmtree(folder)
    return found


def _change_rows(generator: np.random.Generator, path: Path, statement: str) -> None:
    names = [key.rpartition("|")[2] for key in ITEMS]
    one, other = (int(row) for row in generator.permutation(damaged_quarantine.COUNT)[:2])
    chosen = {"a": one + 1, "b": other + 1} if path.name == damaged_quarantine.DATABASE else {"a": names[one], "b": names[other]}
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, chosen)
    connection.close()


def _store(folder: Path) -> str:
    """Read all, write what is missing, and read again."""
    with SQLStore(folder / DATABASE, cached=1) as store:
        first = _read(store)
        if not first:
            return "silent" if first is None else "unchanged"
        store.put({key: ITEMS[key] for key in first})
    with SQLStore(folder / DATABASE, cached=1) as store:
        again = _read(store)
    if again is None:
        return "silent"
    return "computed every time" if again else "computed again"  # the former where an index of the database is damaged


def _read(store: SQLStore) -> list[str] | None:
    """What is missing; None if something is there that was never written."""
    found = dict(zip(ITEMS, store.get(list(ITEMS)), strict=True))
    if any(item is not None and not same(item, ITEMS[key]) for key, item in found.items()):
        return None
    return [key for key, item in found.items() if item is None]


def _guard(folder: Path) -> str:
    return "unchanged" if SavedGuard.read(folder / GUARD) == saved_guard(0, maxima=60) else "silent"


def _audit(folder: Path) -> str:
    """What is cut off at the end of a line is not missed, as the documentation says."""
    found = [*read([folder / AUDIT])]
    if any(isinstance(one, Flaw) for one in found):
        return "told"
    expected = [*read([folder / f"{AUDIT}.whole"])]
    return "unchanged" if found == expected else "cut between lines" if found == expected[: len(found)] else "silent"


KEPT: Mapping[str, Kept] = {
    DATABASE: Kept("live", DATABASE, (), _store),
    LOG: Kept("logged", LOG, (), _store),
    "rows": Kept("live", DATABASE, ROWS, _store),
    GUARD: Kept("guard", GUARD, (), _guard),
    AUDIT: Kept("audit", AUDIT, (), _audit),
    damaged_quarantine.DATABASE: Kept("quarantine", damaged_quarantine.DATABASE, (), damaged_quarantine.read),
    damaged_quarantine.LOG: Kept("quarantine, logged", damaged_quarantine.LOG, (), damaged_quarantine.read),
    "rows of the quarantine": Kept("quarantine", damaged_quarantine.DATABASE, damaged_quarantine.ROWS, damaged_quarantine.read),
}
"""What is damaged."""
