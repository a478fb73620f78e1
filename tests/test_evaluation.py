from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragguard.attacks import Attack, Budget, QueryCopy, Target, ThreatModel
from ragguard.defenses.base import BaseDefense, Judgement
from ragguard.demo.scenario import DATA
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets, experiment, metrics
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.sources import HONEST_SOURCES, with_sources
from ragguard.index import DenseIndex
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Hit, Vectors


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
        ("corpus.jsonl", '{"_id": "x", "text": "t", "metadata": "m"}', r"corpus.jsonl:181 needs an object under 'metadata'"),
        ("corpus.jsonl", '{"_id": "", "text": "t"}', r"corpus.jsonl:181 needs printable characters under '_id'"),
        ("queries.jsonl", '{"_id": [3], "text": "t"}', r"queries.jsonl:81 needs a string under '_id'"),
        ("queries.jsonl", '{"_id": "q-astronomy-1", "text": "t"}', r"queries.jsonl:81 has the id 'q-astronomy-1'"),
        ("qrels/test.tsv", "only\ttwo", r"test.tsv:\d+ needs query id"),
        ("qrels/test.tsv", "q-astronomy-1\tastronomy-1\t0.5", r"test.tsv:\d+ needs query id.* not '0.5'"),
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


class Only:
    """A retriever that returns only poison, or none."""

    def __init__(self, over: DenseIndex, poison: bool) -> None:
        self.over, self.poison = over, poison

    def retrieve(self, query: str, k: int) -> list[Hit]:
        hits = self.over.retrieve(query, len(self.over.documents))
        return [hit for hit in hits if hit.document.id.startswith("poison/") == self.poison][:k]


SYSTEMS = [
    experiment.System("poison only", lambda over: Only(over, True)),
    experiment.System("honest only", lambda over: Only(over, False)),
    experiment.System("none", lambda over: over),
]


@pytest.fixture
def demo() -> datasets.Dataset:
    return datasets.load(DATA)


@pytest.fixture
def index(demo: datasets.Dataset) -> DenseIndex:
    index = DenseIndex(CachedEncoder(WordHashEncoder()), backend="faiss")
    index.add(demo.documents)
    return index


def running(
    demo: datasets.Dataset, index: DenseIndex, systems: Sequence[experiment.System], **more: Any
) -> experiment.Experiment:
    assert isinstance(index.encoder, CachedEncoder)
    return experiment.Experiment(index, index.encoder, datasets.targets(demo, 10), systems, k=5, **more)


@pytest.mark.parametrize("together", [False, True])
def test_the_experiment_counts_what_it_says(demo: datasets.Dataset, index: DenseIndex, together: bool) -> None:
    steps: list[str] = []
    one = running(demo, index, SYSTEMS, together=together, step=steps.append)
    before = sorted(document.text for document in index.documents)
    clean, trial = one.clean(), one.under(QueryCopy(demo.documents, places=("every-fragment",)), Budget(2))
    rows = metrics.rows(clean, [trial], demo.relevant, 5)
    assert [(row.asr, row.sr) for row in rows[:2]] == [(1.0, 0.0), (0.0, rows[1].clean_sr)]
    assert (rows[0].poison_precision, rows[0].poison_recall) == (2 / 5, 1.0)
    assert rows[0].poison_f1 == pytest.approx(4 / 7)
    assert rows[2].asr > 0.9
    assert rows[0].intervals["asr"] == pytest.approx((0.6915, 1.0), abs=1e-3)  # exact binomial, 10 of 10
    assert len(steps) == experiment.steps(1, 3, 10)
    assert sorted(document.text for document in index.documents) == before
    (same,) = [c for c in metrics.comparisons([trial], demo.relevant, 5) if (c.metric, c.second) == ("asr", "honest only")]
    assert (same.difference, same.p) == pytest.approx((1.0, 2 / 2**10))


def test_an_edited_document_replaces_its_original_and_is_relevant_no_more(demo: datasets.Dataset, index: DenseIndex) -> None:
    class Shout(Attack):
        name, family, threat = "shout", "B", ThreatModel(knows=("corpus",), edits=True)

        def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str | Document]:
            yield dataclasses.replace(target.relevant[0], text=target.relevant[0].text + " Or was it otherwise?")

    before = sorted(document.text for document in index.documents)
    one = running(demo, index, SYSTEMS[2:])
    trial = one.under(Shout(), Budget(1))
    assert sorted(document.text for document in index.documents) == before
    for answer in trial.answers["none"]:
        assert answer.poisoned[0] in demo.relevant[answer.query_id]
    row = metrics.rows(one.clean(), [trial], demo.relevant, 5)[0]
    assert row.asr == row.clean_sr > 0
    assert row.sr == 0


def test_a_guard_that_drops_honest_documents_is_found_out(demo: datasets.Dataset, index: DenseIndex) -> None:
    class DropsTheFirst(BaseDefense):
        name = "drops the first"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
            return [Judgement(i, h.score, "why not", drop=i == 0, suspicion=float(i == 0)) for i, h in enumerate(hits)]

    def over(corpus: DenseIndex) -> GuardedRetriever:
        return GuardedRetriever(corpus, [DropsTheFirst()], GuardPolicy(overfetch=2, max_overfetch=2))

    one = running(demo, index, [experiment.System("none", lambda corpus: corpus), experiment.System("first", over)])
    trial = one.under(QueryCopy(demo.documents, places=("every-fragment",)), Budget(1))
    plain, guarded = metrics.rows(one.clean(), [trial], demo.relevant, 5)
    assert (plain.clean_loss, guarded.clean_loss, guarded.clean_drop) == (0, 1, 1)
    assert guarded.benign_dropped == pytest.approx(0.2)
    assert guarded.asr < plain.asr
    assert guarded.auroc is not None
    assert guarded.auroc > 0.9
    assert plain.auroc is None


def test_an_interval_covers_the_mean_and_is_no_point() -> None:
    low, high = metrics.interval(np.array([0.0, 1.0] * 20))
    assert low < 0.4 < 0.6 < high
    assert metrics.interval(np.zeros(20)) == pytest.approx((0.0, 0.168), abs=1e-3)


def test_targets_are_drawn_with_a_seed_and_know_what_the_dataset_knows(demo: datasets.Dataset) -> None:
    one = datasets.targets(demo, 5, seed=1)
    assert one == datasets.targets(demo, 5, seed=1) != datasets.targets(demo, 5, seed=2)
    assert all(target.correct and target.incorrect and target.lies and target.relevant for target in one)
    with pytest.raises(InvalidInputError, match="80 queries to attack, not 81"):
        datasets.targets(demo, 81)
    with pytest.raises(InvalidInputError, match="no query 'q-none' with judgments"):
        datasets.target(demo, "q-none")


def test_honest_sources_follow_zipf_and_those_recorded_stay() -> None:
    documents = with_sources([Document(str(i), "text") for i in range(2000)], seed=1)
    counts = Counter(document.metadata["source"] for document in documents)
    assert len(counts) == HONEST_SOURCES
    assert 0.8 < counts["honest/0"] / (2 * counts["honest/1"]) < 1.25
    assert with_sources([Document("a", "text", {"source": "mine"})])[0].metadata["source"] == "mine"


def test_bm25_finds_shared_words_and_follows_changes() -> None:
    index = BM25Index()
    assert index.retrieve("anything", 3) == []
    assert index.add([Document("a", "the red fox ran"), Document("b", "a blue whale swam"), Document("c", "red red wine")]) == 3
    assert [hit.document.id for hit in index.retrieve("red fox", 3)] == ["a", "c"]
    assert index.delete(["a", "z"]) == 1
    assert [hit.document.id for hit in index.retrieve("red fox", 3)] == ["c"]
    assert index.retrieve("giraffe", 3) == []


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
    with cached.live():
        cached.encode_document(["one"])
    assert encoder.asked == 5


def test_triggers_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    first = TextCache(tmp_path)
    first["k"] = "a trigger"
    again = TextCache(tmp_path)
    assert dict(again) == {"k": "a trigger"}
    del again["k"]
    assert "k" not in first
    assert len(again) == 0
    with pytest.raises(KeyError):
        again["k"]
