from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragguard.attacks import Budget, QueryCopy
from ragguard.demo.scenario import DATA
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets, experiment, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.index import DenseIndex
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Hit, Span, Vectors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DATA, tmp_path / "demo")
    return tmp_path / "demo"


def test_the_demo_corpus_is_what_it_should_be() -> None:
    dataset = datasets.load(DATA)
    assert len(dataset.documents) >= 160
    assert len(dataset.queries) >= 60
    assert len({document.metadata["topic"] for document in dataset.documents}) >= 20
    bodies = [document.text.removeprefix(document.metadata["title"]).split() for document in dataset.documents]
    assert all(60 <= len(body) <= 200 for body in bodies)
    assert all(document.metadata["source"] for document in dataset.documents)
    assert len({document.text for document in dataset.documents}) == len(dataset.documents)
    texts = {document.id: document.text.lower() for document in dataset.documents}
    for query_id, (right, wrong) in dataset.answers.items():
        assert right.lower() != wrong.lower()
        assert dataset.relevant[query_id]
        assert dataset.queries[query_id].lower() not in " ".join(texts.values())
    assert {text.query_id for text in dataset.attack_texts} == set(dataset.queries)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("corpus.jsonl", "{broken", r"corpus.jsonl:181 is not JSON"),
        ("corpus.jsonl", '["a list"]', r"corpus.jsonl:181 must be a JSON object"),
        ("corpus.jsonl", '{"_id": "x"}', r"corpus.jsonl:181 needs a string under 'text'"),
        ("queries.jsonl", '{"_id": 3, "text": "t"}', r"queries.jsonl:81 needs a string under '_id'"),
        ("qrels/test.tsv", "only\ttwo", r"test.tsv:\d+ needs query id"),
        ("qrels/test.tsv", "nobody\tnothing\t1", r"test.tsv:\d+ judges 'nobody'"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, file: str, line: str, message: str) -> None:
    with (folder / file).open("a") as out:
        out.write(line + "\n")
    with pytest.raises(InvalidInputError, match=message):
        datasets.load(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    with pytest.raises(InvalidInputError, match="queries.jsonl"):
        datasets.load(folder)


def test_documents_without_words_are_left_out_and_listed(folder: Path) -> None:
    with (folder / "corpus.jsonl").open("a") as out:
        out.write(json.dumps({"_id": "blank", "title": "", "text": " "}) + "\n")
    dataset = datasets.load(folder)
    assert dataset.left_out == ("blank",)
    assert "blank" not in {document.id for document in dataset.documents}


def test_the_experiment_counts_what_it_says() -> None:
    """A retriever that returns only poison, one that never does, and the index itself."""
    dataset = datasets.load(DATA)
    encoder = WordHashEncoder()
    index = DenseIndex(encoder, backend="faiss")
    index.add(dataset.documents)

    class Only:
        def __init__(self, over: DenseIndex, poison: bool) -> None:
            self.over, self.poison = over, poison

        def retrieve(self, query: str, k: int) -> list[Hit]:
            hits = self.over.retrieve(query, len(self.over))
            return [hit for hit in hits if hit.document.id.startswith("poison/") == self.poison][:k]

    systems = [
        experiment.System("poison only", lambda over: Only(over, True)),
        experiment.System("honest only", lambda over: Only(over, False)),
        experiment.System("none", lambda over: over),
    ]
    steps: list[str] = []
    queries = list(dataset.queries)[:10]
    attack = QueryCopy(dataset.documents, places=("every-fragment",))
    rows = experiment.run(dataset, index, [attack], systems, k=5, budget=Budget(2), queries=queries, step=steps.append)
    assert [(row.asr, row.sr) for row in rows[:2]] == [(1.0, 0.0), (0.0, rows[1].clean_sr)]
    assert rows[2].asr > 0.9
    assert len(steps) == experiment.steps(1, 3)
    assert len(index) == len(dataset.documents)


def test_shortcomings_name_the_best_defense_and_the_cost() -> None:
    def row(attack: str, defense: str, asr: float, family: str = "A") -> experiment.Row:
        clean = 0.95 if defense == "guard" else 1.0
        return experiment.Row(attack, family, defense, 5, asr, 1.0, clean, 1.0)  # type: ignore[arg-type]

    rows = [row("copy", "none", 1.0), row("copy", "guard", 0.05), row("lie", "none", 0.9, "B"), row("lie", "guard", 0.8, "B")]
    stopped, cost = report.shortcomings(rows)
    assert "80% of its targets under guard" in stopped
    assert "lie from the truth" in stopped
    assert "guard: without any attack, 5% of the questions" in cost


def test_the_page_is_self_contained_and_escapes_hostile_text(tmp_path: Path) -> None:
    hostile = Document("x", "<script>alert(1)</script> & more")
    shown = report.show([Hit(hostile, 1.0)], {"x"}, frozenset(), {"x": [Span(0, 8)]})
    assert shown[0].parts == (("<script>", True), ("alert(1)</script> & more", False))
    example = report.Example("<b>?", "a", shown, shown, "guard", "why")
    rows = [experiment.Row("copy", "A", name, 5, 0.5, 1.0, 1.0, 1.0) for name in ("none", "guard")]
    details = {
        "dataset": "d",
        "documents": 1,
        "questions": 1,
        "budget": 1,
        "encoder": "e",
        "device": "cpu",
        "seed": 0,
        "commit": "c",
    }
    report.write_html(tmp_path / "report.html", rows, details, ["not <stopped>"], example)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert "src=" not in page
    assert "@import" not in page


def test_a_text_is_embedded_once_and_not_once_a_run(tmp_path: Path) -> None:
    class Counting(WordHashEncoder):
        asked = 0

        def encode_document(self, texts: Sequence[str]) -> Vectors:
            self.asked += len(texts)
            return super().encode_document(texts)

    encoder = Counting()
    texts = ["one", "two", "one", "lone \ud800"]
    expected = WordHashEncoder().encode_document(texts)
    for _ in range(2):
        cached = CachedEncoder(encoder, tmp_path)
        np.testing.assert_array_equal(cached.encode_document(texts), expected)
        np.testing.assert_array_equal(cached.encode_query(["one"]), expected[:1])
    assert encoder.asked == 4  # three texts and one query
    assert cached.encode_document([]).shape == (0, 128)
