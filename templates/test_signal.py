from __future__ import annotations

from ragguard.signals import Signal
from ragguard.testing import DOCUMENTS, QUERY, SignalContract
from templates.signal import Asks


class TestAsks(SignalContract):
    def make_signal(self) -> Signal:
        return Asks()

    def test_a_question_stands_out(self) -> None:
        honest, planted = Asks()(self.candidates(texts=[DOCUMENTS[0].text, f"{QUERY}? {DOCUMENTS[0].text}"]))
        assert honest == 0 < planted

    def test_an_attacker_who_knows_it_leaves_the_mark_out(self) -> None:
        assert Asks()(self.candidates(texts=[f"{QUERY} {DOCUMENTS[0].text}"])) == 0
