"""What a store and an index must do whatever is done to them, in any order (stateful tests of Hypothesis)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from benchmarks.trust.kills import killed
from benchmarks.trust.quarantine_machine import QuarantineMachine
from benchmarks.trust.writes import KEYS, TEXTS, evidence, put_alone, same
from ragguard.evidence import SQLStore
from ragguard.index import DenseIndex
from ragguard.testing import WordHashEncoder
from ragguard.types import Document

SOME = st.lists(st.integers(0, 19), min_size=1, max_size=6, unique=True)
WORDS = ("town", "hall", "ceiling", "paint", "guild", "bread", "bees", "copper")


class StoreMachine(RuleBasedStateMachine):
    """A store against a set of numbers: what is known is returned as it was, what is not is None, in every process."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._known: set[int] = set()
        self._store = SQLStore(self._folder / "evidence.db", cached=2)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self._store.close()
        shutil.rmtree(self._folder)

    @rule(numbers=SOME)
    def put(self, numbers: list[int]) -> None:
        """Store some, known or not."""
        self._store.put({KEYS[i]: evidence(i, dimension=8) for i in numbers})
        self._known |= set(numbers)

    @rule(numbers=SOME)
    def get(self, numbers: list[int]) -> None:
        """Ask for some."""
        self._check(numbers)

    @rule(numbers=SOME)
    def vacuum(self, numbers: list[int]) -> None:
        """Forget all but some."""
        gone = self._store.vacuum([TEXTS[i] for i in numbers])
        if gone != len(self._known - set(numbers)):
            raise ValueError(f"{gone} rows went of {sorted(self._known)}, of which {numbers} were to stay")
        self._known &= set(numbers)

    @rule()
    def restart(self) -> None:
        """Close it, and open it again."""
        self._store.close()
        self._store = SQLStore(self._folder / "evidence.db", cached=2)

    @rule(numbers=SOME, after=st.floats(0, 0.02))
    def kill(self, numbers: list[int], after: float) -> None:
        """Another process stores some, and is killed: they are there all, or none that were not."""
        killed(put_alone, (self._folder / "evidence.db", numbers), after)
        self.restart()
        fresh = [i for i in numbers if i not in self._known]
        there = [i for i, item in zip(fresh, self._store.get([KEYS[i] for i in fresh]), strict=True) if item is not None]
        if there and there != fresh:
            raise ValueError(f"of {fresh}, {there} are there")
        self._known |= set(there)

    @invariant()
    def is_what_it_was(self) -> None:
        """All that is known, and nothing else."""
        self._check(range(20))

    def _check(self, numbers: list[int] | range) -> None:
        for i, item in zip(numbers, self._store.get([KEYS[i] for i in numbers]), strict=True):
            if (item is not None) != (i in self._known) or (item is not None and not same(item, evidence(i, dimension=8))):
                raise ValueError(f"{i} is {item}, and known are {sorted(self._known)}")


class IndexMachine(RuleBasedStateMachine):
    """An index against a dictionary and plain arithmetic."""

    @initialize()
    def empty(self) -> None:
        """Nothing is known."""
        self._encoder = WordHashEncoder()
        self._index = DenseIndex(self._encoder, backend="faiss")
        self._texts: dict[str, str] = {}

    @rule(number=st.integers(0, 30), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
    def add(self, number: int, words: list[str]) -> None:
        """Add a document, or the same again; another text under its id is refused."""
        name, text = f"d{number}", " ".join(words)
        try:
            added = self._index.add([Document(name, text)])
        except ValueError:
            if self._texts.get(name, text) == text:
                raise
            return
        if added != (name not in self._texts) or self._texts.get(name, text) != text:
            raise ValueError(f"{added} added of {name}: {text!r}, known as {self._texts.get(name)!r}")
        self._texts[name] = text

    @precondition(lambda self: self._texts)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Take some away, and one that is not there."""
        gone = data.draw(st.lists(st.sampled_from(sorted(self._texts)), unique=True))
        if self._index.delete([*gone, "nobody"]) != len(gone):
            raise ValueError(f"not all of {gone} went")
        for name in gone:
            del self._texts[name]

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), k=st.integers(1, 40))
    def ask(self, words: list[str], k: int) -> None:
        """The k nearest, as arithmetic has them."""
        query = " ".join(words)
        hits = self._index.retrieve(query, k)
        names = list(self._texts)
        nearest: list[float] = []
        if names:
            scores = self._encoder.encode_document(list(self._texts.values())) @ self._encoder.encode_query([query])[0]
            nearest = sorted(scores.tolist(), reverse=True)[:k]
        if not np.allclose([hit.score for hit in hits], nearest, atol=1e-5):
            raise ValueError(f"{[hit.score for hit in hits]} instead of {nearest}")
        if any(self._texts.get(hit.document.id) != hit.document.text for hit in hits):
            raise ValueError(f"{[hit.document.id for hit in hits]} of {names}")


def machines(examples: int) -> dict[str, int]:
    """Run each so often, of up to 25 steps each: a store, an index, a quarantine.

    Returns:
        `machine_runs`.

    Raises:
        ValueError: If one of them does what it must not; Hypothesis prints the steps.
    """
    every = (StoreMachine, IndexMachine, QuarantineMachine)
    for machine in every:
        chosen = settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        run_state_machine_as_test(machine, settings=chosen)
    return {"machine_runs": len(every) * examples}
