"""What a quarantine must do whatever is done to it, by several at once and in any order (a stateful test of Hypothesis)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchmarks.trust.kills import killed
from benchmarks.trust.writes import SHELF, TEXTS, decide, decide_alone, hold_alone, verdict
from ragguard.errors import InvalidInputError
from ragguard.quarantine import Block, Event, Quarantine, State, Step, content_key
from ragguard.types import Document

NEVER = tuple(f"{text}!" for text in TEXTS[:4])
"""What is only asked for: the same words again, and one that nobody knows."""

NUMBERS = st.integers(0, len(SHELF) - 1)
DEFENSES = st.sampled_from(("Guard", "Scan", "Another"))
STEPS: st.SearchStrategy[Step] = st.sampled_from(("confirm", "release"))
AFTER = st.floats(0, 0.03)
BECOMES: dict[Step, State] = {"confirm": "confirmed", "release": "released"}


class QuarantineMachine(RuleBasedStateMachine):
    """A quarantine that two have open, against lists of what was done with each text."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._path = self._folder / "quarantine.db"
        self._open = [Quarantine(self._path) for _ in range(2)]
        self._known: dict[int, list[tuple[Step, str]]] = {}  # in the order in which they were put away
        self._head = self._open[0].check()

    def teardown(self) -> None:
        """Leave nothing behind."""
        for one in self._open:
            one.close()
        shutil.rmtree(self._folder)

    @rule(number=NUMBERS, defense=DEFENSES, who=st.integers(0, 1), hidden=st.booleans())
    def hold(self, number: int, defense: str, who: int, hidden: bool) -> None:
        """Put one away, perhaps with what shows nothing in it; a defense that spoke on it before is not heard."""
        text = SHELF[number].replace(" ", " \u200b") if hidden else SHELF[number]
        state = self._open[who].hold(Document(f"d{number}", text), verdict(number, defense), by="scan")
        self._add(number, "hold", defense)
        _must(state == self._state(number), f"{state} of {self._known}")

    @rule(number=NUMBERS, step=STEPS, who=st.integers(0, 1), late=st.booleans())
    def decide(self, number: int, step: Step, who: int, late: bool) -> None:
        """Decide about one; refused where there is none, it is so already, or its history has grown since it was seen."""
        seen = len(self._known.get(number, ())) - late
        fine = self._state(number) not in (None, BECOMES[step]) and not late
        try:
            decide(self._open[who], number, step, seen)
        except InvalidInputError:
            _must(not fine, f"{step} of {number} was refused: {self._known}")
        else:
            _must(fine, f"{step} of {number} was not refused: {self._known}")
            self._add(number, step, "Ada")

    @rule()
    def restart(self) -> None:
        """Close it, and open it again."""
        self._open[0].close()
        self._open[0] = Quarantine(self._path, make=False)

    @rule(number=NUMBERS, defense=DEFENSES, after=st.none() | AFTER)
    def hold_elsewhere(self, number: int, defense: str, after: float | None) -> None:
        """Another process puts one away, and may be killed: it is there, or nothing is."""
        done = killed(hold_alone, (self._path, number, defense), after)
        self._settle(number, "hold", defense, done)

    @rule(number=NUMBERS, step=STEPS, after=st.none() | AFTER)
    def decide_elsewhere(self, number: int, step: Step, after: float | None) -> None:
        """Another process decides, and may be killed."""
        if self._state(number) not in (None, BECOMES[step]):
            done = killed(decide_alone, (self._path, number, step), after)
            self._settle(number, step, "Ada", done)

    @invariant()
    def is_what_was_made_of_it(self) -> None:
        """What must not be retrieved, every history, and a chain that has what it had."""
        for one in self._open:
            found = {entry.key: list(map(_told, entry.history)) for entry in one.entries()}
            expected = {content_key(SHELF[number]): history for number, history in self._known.items()}
            _must(found == expected, f"{found}, not {expected}")
            self._head = one.check(self._head)
            asked = (*SHELF, *NEVER)
            blocked = one.blocked(asked)
            _must(blocked == {text: block for text in asked if (block := self._block(text))}, f"{blocked} of {self._known}")

    def _block(self, text: str) -> Block | None:
        number = SHELF.index(text) if text in SHELF else None
        if number in self._known:
            return self._blocking(number, same=True)
        words = text.lower().rstrip("!")
        alike = (self._blocking(one, same=False) for one in self._known if SHELF[one].lower() == words)
        return next((block for block in alike if block), None)

    def _blocking(self, number: int, *, same: bool) -> Block | None:
        state = self._state(number)
        return None if state in (None, "released") else Block(content_key(SHELF[number]), state, same)

    def _state(self, number: int) -> State | None:
        state: State | None = None
        for what, _ in self._known.get(number, ()):
            if what != "hold":
                state = BECOMES[what]
            elif state != "confirmed":
                state = "held"
        return state

    def _add(self, number: int, what: Step, whose: str) -> None:
        history = self._known.setdefault(number, [])
        if what != "hold" or (what, whose) not in history:
            history.append((what, whose))

    def _settle(self, number: int, what: Step, whose: str, done: float | None) -> None:
        """Take up what another process did, if it did; a whole one did."""
        before = len(self._known.get(number, ()))
        keys = {entry.key: len(entry.history) for entry in self._open[0].entries()}
        if done is not None or keys.get(content_key(SHELF[number]), 0) > before:
            self._add(number, what, whose)


def _told(event: Event) -> tuple[Step, str]:
    return event.what, event.grounds.verdict.defense if event.grounds else event.actor


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
