"""A quarantine, damaged: what it then says is what it said before, or an error; no text comes out of it by itself."""
# ruff: noqa: S608  # nothing but names of tables and columns is put into statements

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.trust.writes import TEXTS, document, verdict
from ragguard.errors import StoreError
from ragguard.quarantine import BECOMES, Block, Quarantine, State, Step, content_key

DATABASE, LOG, HEAD = "quarantine.db", "quarantine.db-wal", "head"
STATES: tuple[State, ...] = ("held", "confirmed", "released")
COUNT = 30
BEFORE = 20
"""Of the texts, those that are put away by a process that ends well; the others are only in the log."""

_ENTRY, _EVENT = "ragguard_quarantine_entry", "ragguard_quarantine_event"
_OTHER = "(SELECT {0} FROM {1} AS other WHERE other.id = :b)"
ROWS: tuple[str, ...] = (
    *(f"UPDATE {_ENTRY} SET {name} = {_OTHER.format(name, _ENTRY)} WHERE id = :a" for name in ("likeness", "state", "digest")),
    *(f"UPDATE {_EVENT} SET {name} = {_OTHER.format(name, _EVENT)} WHERE id = :a" for name in ("reason", "grounds", "digest")),
    f"UPDATE {_ENTRY} SET state = 'released' WHERE id = :a AND state != 'released'",
    f"UPDATE {_ENTRY} SET content = substr(content, 2) || 'x' WHERE id = :a",
    f"UPDATE {_ENTRY} SET digest = 'x' WHERE id = :a",
    f"UPDATE {_ENTRY} SET id = 1000 + id WHERE id = :a",
    f"UPDATE {_EVENT} SET entry = :b, defense = 'x' WHERE id = :a",
    f"UPDATE {_EVENT} SET what = 'release', defense = NULL WHERE id = :a",
    f"UPDATE {_EVENT} SET grounds = NULL WHERE id = :a",
    f"DELETE FROM {_ENTRY} WHERE id = :a",
    f"DELETE FROM {_EVENT} WHERE id IN (:a, :b)",
    f"DROP TABLE {_ENTRY}",
    f"DROP TABLE {_EVENT}",
    "UPDATE ragguard_quarantine SET version = 0",
)
"""Damage that the database itself does not see."""


def write(whole: Path) -> None:
    """Make one as it is when all is well, and one as a process leaves it that was killed before it emptied its log."""
    (whole / "quarantine").mkdir()
    (whole / "quarantine, logged").mkdir()
    path = whole / "quarantine" / DATABASE
    with Quarantine(path) as quarantine:
        _fill(quarantine, range(BEFORE))
    with Quarantine(path) as quarantine:
        _fill(quarantine, range(BEFORE, COUNT))
        head = quarantine.check()
        for name in (DATABASE, LOG):
            shutil.copy(path.with_name(name), whole / "quarantine, logged" / name)
    for folder in ("quarantine", "quarantine, logged"):
        (whole / folder / HEAD).write_text(head)


def read(folder: Path) -> str:
    """Ask it everything.

    Returns:
        `unchanged`; `told by its head`: it is another, which only who remembers its head is told; `silent`: nobody is.

    Raises:
        StoreError: If it tells the damage itself.
    """
    states = {text: _state(i) for i, text in enumerate(TEXTS[:COUNT])}
    same = {text: Block(content_key(text), state, same=True) for text, state in states.items() if state != "released"}
    alike = {text.upper(): Block(block.key, block.state, same=False) for text, block in same.items()}
    with Quarantine(folder / DATABASE, make=False) as quarantine:
        if quarantine.blocked([*states, *(text.upper() for text in states)]) == {**same, **alike}:
            found = {
                one.grounds[0].document.text: [one.state, *(event.what for event in one.history)] for one in quarantine.entries()
            }
            if found == {text: [state, *_steps(state)] for text, state in states.items()}:
                return "unchanged"
        try:
            quarantine.check((folder / HEAD).read_text())
        except StoreError:
            return "told by its head"
        return "silent"


def _fill(quarantine: Quarantine, numbers: range) -> None:
    for i in numbers:
        quarantine.hold(document(i), verdict(i))
        for step in _steps(_state(i))[1:]:
            (quarantine.confirm if step == "confirm" else quarantine.release)(content_key(TEXTS[i]), "Ada", "why")


def _state(number: int) -> State:
    return STATES[number % len(STATES)]


def _steps(state: State) -> list[Step]:
    return ["hold", *(step for step, becomes in BECOMES.items() if becomes == state != "held")]
