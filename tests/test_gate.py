"""What the gate learns, and what it decides on numbers that are read off the text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ragguard.demo.scenario import DATA
from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import load
from ragguard.gate import Gate, GateSettings, GateVerdict
from ragguard.gate import gate as module
from ragguard.gate.copies import Copies
from ragguard.gate.query_log import QueryLog
from ragguard.gate.signals import GateSignal, View
from ragguard.gate.yardstick import Ruler, Yardstick
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Span, Verdict

DOCUMENTS = load(DATA).documents[:60]
LOOSE = GateSettings(max_flagged=0.05)
Steps = list[tuple[str, int, int | None]]


def made(*, trusted: bool = True, settings: GateSettings = LOOSE, **options: Any) -> Gate:
    return Gate(DOCUMENTS, trusted=trusted, settings=settings, **options)


@pytest.fixture(scope="module")
def usual() -> Gate:
    return made()


@pytest.mark.parametrize(("trusted", "documents"), [(True, 30), (False, 60)])
def test_what_is_read_and_what_sets_the_threshold(monkeypatch: pytest.MonkeyPatch, trusted: bool, documents: int) -> None:
    monkeypatch.setattr(module, "BLOCK", 25)
    steps: Steps = []
    gate = Gate(
        [Document("blank", " "), *DOCUMENTS],
        trusted=trusted,
        settings=LOOSE,
        step=lambda *told: steps.append(told),
    )
    assert (gate.learned, gate.yardstick.documents, gate.trusted, gate.settings) == (61, documents, trusted, LOOSE)
    reading = [("reading", n, None) for n in (25, 50, 61)]
    assert steps == [*reading, *(("calibrating", n, 60) for n in (25, 50, 60))]
    steps.clear()
    assert [one.verdict.action for one in gate.judge(DOCUMENTS[:3])] == ["admit"] * 3
    assert steps == [("judging", 3, None)]
    steps.clear()
    assert [one.document.id for one in gate.judge()] == ["blank", *(one.id for one in DOCUMENTS)]
    assert steps == [("judging", n, 61) for n in (25, 50, 61)]


def test_the_yardstick_is_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALIBRATING", 50)
    first, again, other = (made(settings=GateSettings(max_flagged=0.05, seed=seed)).yardstick for seed in (1, 1, 2))
    assert first.documents == 25
    name = "surprise"
    assert len(first.rulers[name].numbers) == 25
    assert np.array_equal(first.rulers[name].numbers, again.rulers[name].numbers)
    assert not np.array_equal(first.rulers[name].numbers, other.rulers[name].numbers)


class Deaf(Copies):
    def add(self, texts: Any) -> None:
        """Nothing: copies take time."""


def test_of_a_large_corpus_every_text_is_as_likely_to_be_read(usual: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = copy(usual)
    gate._copies = Deaf()
    monkeypatch.setattr(module, "SAMPLE", 20)
    counts = np.zeros(60)
    texts = [one.text for one in DOCUMENTS]
    for seed in range(90):
        kept, read = gate._learn(np.random.default_rng(seed))
        assert (len(kept), len(set(kept)), read) == (20, 20, 60)
        counts[[texts.index(came) for came, _ in kept]] += 1
    np.testing.assert_allclose(counts.reshape(3, 20).mean(axis=1), 30, atol=3)  # each was in a third of the samples
    assert counts.min() > 12
    assert len(made(trusted=False)._corpus) == 20


@pytest.mark.parametrize(
    ("trusted", "poisoned", "held"), [(True, None, 0.0), (False, None, 0.01), (True, 0.1, 0.1), (False, 0.0, 0.0)]
)
def test_the_share_that_is_held_for_poison(trusted: bool, poisoned: float | None, held: float) -> None:
    gate = made(trusted=trusted, settings=GateSettings(max_flagged=0.05, poisoned=poisoned))
    assert gate.poisoned == held
    fit = 30 if trusted else 60
    assert {len(ruler.numbers) for ruler in gate.yardstick.rulers.values()} == {fit - math.floor(held * fit)}


def test_one_in_a_hundred_is_flagged_by_default() -> None:
    with pytest.raises(InvalidInputError, match="30 documents cannot support a share of 1.00% .* the gate needs 99"):
        Gate(DOCUMENTS, trusted=True)


class Read(GateSignal):
    """Reads its number after its letter: "a3" is 3."""

    unit = 1.0

    def __init__(self) -> None:
        self.seen: list[View] = []

    def number(self, view: View) -> float:
        self.seen.append(view)
        return next((float(word[1:]) for word in view.text.split() if word[0] == self.name and word[1:].isdigit()), 0.0)

    def spans(self, view: View) -> tuple[Span, ...]:
        at = view.text.index(self.name)
        return (Span(at, at + 2),)


class Alpha(Read):
    name, meaning = "a", "is too alpha"


class Beta(Read):
    name, meaning = "b", "is too beta"


@pytest.fixture
def scripted(usual: Gate) -> Gate:
    """Honest numbers are 0 to 3, and a unit is 2: 3 is admitted, 4 is flagged, 5 is far."""
    gate = copy(usual)
    gate._signals = (Alpha(), Beta())
    gate.yardstick = Yardstick({name: Ruler(np.arange(4.0), 2.0) for name in "ab"}, threshold=1.0, documents=4)
    return gate


def verdicts(gate: Gate, *texts: str) -> list[GateVerdict]:
    return [one.verdict for one in gate.judge([Document(f"d{i}", text) for i, text in enumerate(texts)])]


def test_decisions_by_hand(scripted: Gate) -> None:
    usual, edge, flagged, far, both = verdicts(scripted, "a1 text", "b3 text", "text a4", "b5 text", "a5 b9 text")
    assert [one.action for one in (usual, edge, flagged, far, both)] == ["admit", "admit", "flag", "quarantine", "quarantine"]
    assert usual == GateVerdict(
        "d0",
        "admit",
        "",
        {"a": 1, "b": 0},
        {"a": 0.8, "b": 1},
        (),
        pytest.approx(-math.log(0.8)),  # type: ignore[arg-type]
    )
    assert edge.suspicion == pytest.approx(-math.log(0.4))
    assert (edge.reason, edge.spans) == ("", ())
    assert flagged.suspicion == pytest.approx(-math.log(0.2) + 0.5)
    assert flagged.p_values == {"a": 0.2, "b": 1}
    assert flagged.reason == "The document is too alpha (a 4.00): none of 4 documents of the yardstick does so as much."
    assert flagged.spans == (Span(5, 7),)
    assert far.reason == "The document is too beta (b 5.00): none of 4 documents of the yardstick does so as much, nor nearly."
    assert both.reason.startswith("The document is too beta (b 9.00); is too alpha (a 5.00): none of 4")
    assert both.spans == (Span(0, 2), Span(3, 5))
    assert both.suspicion == pytest.approx(-math.log(0.2) + 3)
    assert scripted.above(both) == ("b", "a")
    assert scripted.above(edge) == ()


def test_the_reason_says_how_many_honest_documents_do_so_too(scripted: Gate) -> None:
    scripted.yardstick = replace(scripted.yardstick, threshold=Ruler(np.arange(4.0), 2.0).standard(1.0))
    at, over = verdicts(scripted, "a1 text", "a1 b2 text")
    assert (at.action, scripted.above(at)) == ("admit", ())
    assert over.reason.startswith("The document is too beta (b 2.00): 2 of 4")
    told = [one.reason.partition(": ")[2] for one in verdicts(scripted, "a2 text", "b3 text", "b4 text")]
    assert told == [
        "2 of 4 documents of the yardstick do so as much.",
        "1 of 4 documents of the yardstick does so as much.",
        "none of 4 documents of the yardstick does so as much.",
    ]


def test_what_cannot_be_judged_is_quarantined_in_its_place(scripted: Gate) -> None:
    found = verdicts(scripted, " ", "a1 text", "w " * 5000, "a5 text")
    assert [one.document_id for one in found] == ["d0", "d1", "d2", "d3"]
    assert [one.action for one in found] == ["quarantine", "admit", "quarantine", "quarantine"]
    assert found[0].reason == "The text has no words, so nothing can be judged."
    assert "has 5000 words" in found[2].reason
    assert (found[0].signals, found[0].suspicion) == ({}, None)


def test_signals_see_the_text_as_it_came_and_as_it_is_read(usual: Gate) -> None:
    encoder = WordHashEncoder()
    log = QueryLog(["who painted the hall", "when do trains leave"], encoder)
    gate, blind = made(log=log), copy(usual)
    assert {signal.name for signal in gate._signals} - {signal.name for signal in blind._signals} == {"logged query", "hub"}
    signal = Alpha()
    for one, known in ((gate, log), (blind, None)):
        one._signals, signal.seen = (signal,), []
        one.yardstick = Yardstick({"a": Ruler(np.arange(4.0), 2.0)}, threshold=1.0, documents=4)
        texts = ["a1 to\u200bwn hall", f"{DOCUMENTS[3].text} And so on.", f"{DOCUMENTS[3].text} And so forth."]
        verdicts(one, " ", *texts)
        assert [view.text for view in signal.seen] == texts
        assert [view.form.text for view in signal.seen] == ["a1 town hall", *texts[1:]]
        assert [view.copies for view in signal.seen] == [0, 1, 1]
        assert [len(view.reading.tokens) > 0 for view in signal.seen] == [True] * 3
        assert {view.log for view in signal.seen} == {known}
        if known:
            vectors = encoder.encode_document([view.form.text for view in signal.seen])
            assert [view.vector.tolist() for view in signal.seen if view.vector is not None] == vectors.tolist()
        else:
            assert [view.vector for view in signal.seen] == [None] * 3


def test_nothing_incoming_is_nothing_judged(scripted: Gate) -> None:
    assert verdicts(scripted) == []


class Again:
    """Can be read more than once, and is no list."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def test_documents_come_in_blocks_and_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    assert [len(block) for block in module.blocks(DOCUMENTS[:10])] == [4, 4, 2]
    assert list(module.blocks([])) == []
    again = Again(*DOCUMENTS[:2])
    assert module.repeatable(again) is again
    with pytest.raises(InvalidInputError, match="expected documents, not 'text'"):
        list(module.blocks(Again(DOCUMENTS[0], "text")))
    for wrong in (iter(DOCUMENTS), "text", b"text", None, 3):
        with pytest.raises(InvalidInputError, match="that can be read more than once"):
            module.repeatable(wrong)  # type: ignore[arg-type]


def test_a_verdict_of_the_gate_as_a_defense_says_it() -> None:
    told = GateVerdict("d", "quarantine", "why", {"a": 1.0}, {"a": 0.5}, (Span(0, 1),), 2.0)
    said = Verdict("d", "gate", "drop", "why", 1, None, {"a": 1.0}, (Span(0, 1),), 2.0)
    assert told.verdict() == said
    for action in ("admit", "flag"):
        assert replace(told, action=action).verdict() == replace(said, action="keep", rank_after=1)
