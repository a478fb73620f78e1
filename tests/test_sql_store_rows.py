"""Evidence in a database, row by row: what stands there, what is read of it, and what goes."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ragguard.errors import InvalidInputError, StoreError
from ragguard.evidence.sql_store import AT_ONCE, CACHED, Kept, SQLStore
from ragguard.text import content_hash
from ragguard.types import Evidence, Span

TWO = Evidence(((Span(0, 3),), (Span(4, 6), Span(7, 300))), np.array([[0.6, -0.8], [0.0, 1.0]], dtype=np.float32))


def stored(path: Path) -> list[Any]:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        asked = "SELECT name, content, form, count, spans, vectors, digest FROM ragguard_evidence JOIN ragguard_kind ON id = kind"
        found = [tuple(row) for row in connection.execute(sa.text(f"{asked} ORDER BY name, content"))]
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("precision", "vectors"),
    [
        ("int8", np.array([95, -127, 0, 127], dtype="i1")),  # the largest of each vector becomes 127
        ("fp16", TWO.vectors.astype("<f2")),
        ("fp32", TWO.vectors.astype("<f4")),
    ],
)
def test_what_is_on_disk_does_not_change(tmp_path: Path, precision: Any, vectors: Any) -> None:
    """Else every evidence that exists would be computed again."""
    with SQLStore(tmp_path / "e.db", precision=precision) as store:
        store.put({"m|p:1|c": TWO})
    spans = np.array([1, 2, 0, 3, 4, 6, 7, 300], dtype="<i4").tobytes()
    said = f"7:m|p:1|c:{precision}:2:{len(spans)}:".encode() + spans + vectors.tobytes()
    digest = hashlib.blake2b(said, digest_size=16).digest()
    assert stored(tmp_path / "e.db") == [("m|p:1", "c", precision, 2, spans, vectors.tobytes(), digest)]
    with SQLStore(tmp_path / "e.db") as store:
        (found,) = store.get(["m|p:1|c"])
    assert found is not None
    assert found.spans == TWO.spans
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, TWO.vectors, atol=0.005)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_vectors_of_nothing_stay_nothing(tmp_path: Path) -> None:
    zero = Evidence(((Span(0, 1),),), np.zeros((1, 4), dtype=np.float32))
    for precision in ("int8", "fp16"):
        with SQLStore(tmp_path / precision, precision=precision) as store:
            store.put({"m|p|c": zero})
            (found,) = store.get(["m|p|c"])
            assert found is not None
            assert found.vectors.tolist() == [[0, 0, 0, 0]]


def test_what_was_stored_under_a_key_is_replaced(tmp_path: Path) -> None:
    other = Evidence(((Span(1, 2),),), np.array([[1.0, 0.0]], dtype=np.float32))
    with SQLStore(tmp_path / "e.db") as store:
        store.put({"m|p|c": TWO, "m|q|c": TWO})
        store.put({"m|p|c": other})
    with SQLStore(tmp_path / "e.db") as store:
        first, second, third = store.get(["m|q|c", "m|p|c", "m|p|c"])
        assert first is not None
        assert second is not None
        assert first.spans == TWO.spans
        assert (second.spans, second.vectors.tolist()) == (other.spans, other.vectors.tolist())
        assert second is third


def test_what_is_read_is_kept_in_memory_and_what_is_vacuumed_is_forgotten_there_too(tmp_path: Path) -> None:
    keys = [f"m|{plan}|{content_hash(text)}" for plan in ("p", "q") for text in ("one", "two")]
    with SQLStore(tmp_path / "e.db") as store:
        store.put(dict.fromkeys(keys, TWO))
    with SQLStore(tmp_path / "e.db") as store:
        first = store.get(keys)
        assert all(one is other for one, other in zip(first, store.get(keys), strict=True))
        assert store.vacuum(["one", "three"]) == 2
        assert [one is not None for one in store.get(keys)] == [True, False, True, False]
        assert [(one.kind, one.texts) for one in store.kept()] == [("m|p", 1), ("m|q", 1)]
        assert store.vacuum(["one"]) == 0


def test_more_than_one_statement_asks_for(tmp_path: Path) -> None:
    keys = [f"m|p|{content_hash(str(i))}" for i in range(2 * AT_ONCE + 1)]
    with SQLStore(tmp_path / "e.db") as store:
        store.put(dict.fromkeys(keys, TWO))
    with SQLStore(tmp_path / "e.db") as store:
        assert all(one is not None and one.spans == TWO.spans for one in store.get(keys))
        room = (8 * 4 + 4 * 2) * len(keys)
        assert store.kept() == [Kept("m|p", len(keys), round(room / 1e6, 3))]
        assert store.vacuum([]) == len(keys)
        assert store.kept() == []


def test_vacuum_gives_the_room_back(tmp_path: Path) -> None:
    large = Evidence(((Span(0, 1),),), np.ones((1, 100_000), dtype=np.float32))
    with SQLStore(tmp_path / "e.db") as store:
        store.put({f"m|p|{content_hash(str(i))}": large for i in range(10)})
        store.vacuum(["0"])
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 500_000


def test_asking_whether_it_can_be_written_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with SQLStore(path) as store:
        store.put({"m|p|c": TWO})
        store.check_writable()
    before = stored(path)
    assert len(before) == 1
    with SQLStore(f"sqlite:///file:{path}?mode=ro&uri=true") as store, pytest.raises(StoreError, match="cannot write"):
        store.check_writable()
    assert stored(path) == before


def test_damage_is_logged_with_the_store_and_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "e.db"
    with SQLStore(path) as store:
        store.put({"m|p|c": TWO, "m|p|d": TWO})
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ragguard_evidence SET count = 1 WHERE content = 'c'"))
    engine.dispose()
    with SQLStore(path) as store, caplog.at_level(logging.WARNING, "ragguard"):
        damaged, whole = store.get(["m|p|c", "m|p|d"])
    assert (damaged, whole is not None) == (None, True)
    (told,) = caplog.records
    assert "e.db: evidence under 'm|p|c' is damaged" in told.message


def test_a_store_that_was_closed_opens_again_and_one_of_defaults_is_of_fp16(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "e.db") as store:
        store.put({"m|p|c": TWO})
    store.put({"m|p|d": TWO})
    store.close()
    assert [(row[1], row[2]) for row in stored(tmp_path / "e.db")] == [("c", "fp16"), ("d", "fp16")]
    assert store._recent._capacity == CACHED
    with pytest.raises(InvalidInputError, match="precision"):
        SQLStore(tmp_path / "e.db", precision=None)  # type: ignore[arg-type]


def test_an_error_says_what_could_not_be_done(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    with SQLStore(path) as store:
        store.put({f"m|p|{content_hash('one')}": TWO})
    with SQLStore(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        for texts, what in (([], "cannot write"), (["one"], "cannot vacuum")):
            with pytest.raises(StoreError, match=f"^{what} "):
                store.vacuum(texts)
    with SQLStore(path) as store:
        path.unlink()
        path.mkdir()
        asked = [(store.kept, "read"), (lambda: store.get(["m|p|c"]), "read"), (lambda: store.vacuum([]), "read")]
        for ask, what in (*asked, (lambda: store.put({"m|p|c": TWO}), "write"), (store.check_writable, "write")):
            store.close()
            with pytest.raises(StoreError, match=f"^cannot {what} .*may be deleted when no store has it open"):
                ask()


def test_kinds_are_told_in_order_of_their_names(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "e.db") as store:
        for kind in ("z|p", "a|p", "m|p"):
            store.put({f"{kind}|c": TWO})
        assert [one.kind for one in store.kept()] == ["a|p", "m|p", "z|p"]
