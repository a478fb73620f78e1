from __future__ import annotations

from collections.abc import Callable

import pytest

from ragguard.attacks import Attack, Budget, EvadeGate, Target
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets
from ragguard.evaluation.cache import CachedEncoder
from ragguard.gate import Gate, GateSettings
from ragguard.gate.query_log import QueryLog
from ragguard.index import DenseIndex
from ragguard.testing import DOCUMENTS, AttackContract, WordHashEncoder
from ragguard.types import Document

PASSAGES = [one.text for one in DOCUMENTS[3:7]]


class TestEvadeGate(AttackContract):
    def make_attack(self) -> Attack:
        index = DenseIndex(WordHashEncoder())
        index.add(DOCUMENTS)
        return EvadeGate(PASSAGES, index, WordHashEncoder(), lambda _: 0.0, k=3)


def excess(gate: Gate, spent: list[str]) -> Callable[[str], float]:
    def above(text: str) -> float:
        spent.append(text)
        (judged,) = gate.judge([Document("mine", text)])
        return float("inf") if judged.verdict.suspicion is None else judged.verdict.suspicion - gate.yardstick.threshold

    return above


def test_the_gate_is_evaded_and_the_search_keeps_to_its_calls(encoder: SentenceTransformerEncoder) -> None:
    """The real gate and model, with the queries under attack in the log: a copy is found, what was searched for is not."""
    dataset, known = datasets.load(DATA), CachedEncoder(encoder)
    honest, carriers = dataset.documents[:110], [one.text for one in dataset.documents[110:]]
    targets = [Target(name, query) for name, query in dataset.queries.items()][:2]
    index = DenseIndex(known)
    index.add(honest)
    log = QueryLog([one.query for one in targets], known)
    gate = Gate(honest, trusted=True, settings=GateSettings(max_flagged=0.02), log=log)

    def admitted(calls: int) -> tuple[int, int]:
        spent: list[str] = []
        made = EvadeGate(carriers, index, known, excess(gate, spent), calls=calls)(targets, Budget(1))
        assert len(spent) <= calls * len(targets)
        found = 0
        for target, judged in zip(targets, gate.judge(made), strict=True):
            bar = index.retrieve(target.query, 10)[-1].score
            near = float(known.encode_document([judged.document.text])[0] @ known.encode_query([target.query])[0])
            found += judged.verdict.action == "admit" and near > bar
        return found, len(spent)

    assert admitted(1) == (0, 2)
    found, spent = admitted(200)
    assert found == 2
    assert spent < 2 * 200  # it stops when it has succeeded


def test_what_it_cannot_search_with_is_refused() -> None:
    index = DenseIndex(WordHashEncoder())
    with pytest.raises(InvalidInputError, match="needs passages"):
        EvadeGate([], index, WordHashEncoder(), lambda _: 0.0)
    with pytest.raises(InvalidInputError, match="calls"):
        EvadeGate(PASSAGES, index, WordHashEncoder(), lambda _: 0.0, calls=0)
