"""`ragguard doctor`: what is well is said to be, each problem is found, and told with what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ragguard import doctor
from ragguard.defenses import CalibratedGuard
from ragguard.defenses.saved import digest
from ragguard.demo.scenario import DATA
from ragguard.doctor import Finding, examine
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.evaluation import models
from ragguard.evaluation.datasets import load
from ragguard.evidence import EvidenceBuilder, SQLStore
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder
from ragguard.signals import Profiles
from ragguard.testing import WordHashEncoder

DEMO = load(DATA)


@pytest.fixture(autouse=True)
def _loaded_once(encoder: SentenceTransformerEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real model, as it was loaded for other tests."""
    loads: Callable[[str | None], Encoder] = models.load
    monkeypatch.setattr(models, "load", lambda name: loads(name) if name else encoder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated over the demo corpus, with an encoder that nobody else has."""
    index = DenseIndex(WordHashEncoder())
    index.add(DEMO.documents)
    queries = list(DEMO.queries.values())
    guard = CalibratedGuard.calibrated(WordHashEncoder(), index, DEMO.documents, queries, k=5, max_clean_query_loss=0.05)
    path = tmp_path_factory.mktemp("guard") / "guard.json"
    guard.save(path)
    return path


@pytest.fixture
def guard(saved: Path, encoder: SentenceTransformerEncoder, tmp_path: Path) -> Path:
    """The same, as if calibrated with the real model."""
    return changed(saved, tmp_path, ("calibration", "encoder", encoder.name))


def changed(path: Path, folder: Path, *changes: tuple[str, str, Any]) -> Path:
    content = json.loads(path.read_text())
    del content["digest"]
    for part, key, value in changes:
        content[part][key] = value
    content["digest"] = digest(content)
    made = folder / f"{'-'.join(key for _, key, _ in changes)}.json"
    made.write_text(json.dumps(content))
    return made


def found(about: str, **given: Any) -> Finding:
    (one,) = [one for one in examine(**given) if one.about == about]
    return one


def test_the_command_tells_people_and_machines(guard: Path) -> None:
    run = [sys.executable, "-c", "from ragguard.cli import main; main()", "doctor", "--json"]
    done = subprocess.run([*run, "--guard", str(guard), "--store", "none.db"], capture_output=True, text=True)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert {one["about"]: one["state"] for one in told["findings"]} == {
        "Python": "ok",
        "packages": "ok",
        "model": "ok",
        "device": "ok",
        "calibration": "ok",
        "store": "problem",
    }
    assert "weights verified" in next(one["what"] for one in told["findings"] if one["about"] == "model")


def test_what_is_well_is_said_in_plain_words(guard: Path, tmp_path: Path, encoder: SentenceTransformerEncoder) -> None:
    with SQLStore(tmp_path / "evidence.db") as store:
        EvidenceBuilder(encoder, Profiles.plan, store).get([DEMO.documents[0].text])
    corpus = DATA / "corpus.jsonl"
    every = {one.about: one for one in examine(None, guard, corpus, str(tmp_path / "evidence.db"))}
    assert {one.state for one in every.values()} <= {"ok", "note"}
    for about, words in (
        ("Python", "on "),
        ("packages", "sentence-transformers"),
        ("model", "unit vectors of 384 numbers"),
        ("device", "the model runs on"),
        ("calibration", "80 clean queries over 180 texts, for up to 5 results. At most 5.00% of clean queries"),
        ("corpus", "180 documents, 180 of them with a source"),
        ("store", "opens, can be written to, and holds"),
    ):
        assert words in every[about].what
        assert every[about].state == "ok"


def test_a_calibration_that_does_not_fit(saved: Path, guard: Path, tmp_path: Path) -> None:
    other = found("calibration", guard=saved)
    assert other.state == "problem"
    assert "calibrated with another model: fingerprint word-hash, this one has" in other.what
    assert "run ragguard calibrate" in other.todo
    missing = found("calibration", guard=tmp_path / "none.json")
    assert (missing.state, "make one: ragguard calibrate" in missing.what) == ("problem", True)
    few = found("calibration", guard=changed(guard, tmp_path, ("settings", "max_clean_query_loss", 0.001)))
    assert (few.state, "cannot support a loss of 0.10%" in few.what) == ("problem", True)
    derived = found("calibration", guard=changed(guard, tmp_path, ("calibration", "derived", True)))
    assert (derived.state, "80 derived queries" in derived.what, "not guaranteed" in derived.what) == ("note", True, True)
    flags = found("calibration", guard=changed(guard, tmp_path, ("settings", "policy", "flag")))
    assert (flags.state, "returned all the same" in flags.todo) == ("note", True)


def test_a_corpus_that_does_not_fit(guard: Path, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "some words", "metadata": {"source": "a"}}\n')
    other = found("corpus", guard=guard, corpus=path)
    assert (other.state, "1 documents, 1 of them with a source; not the corpus" in other.what) == ("note", True)
    path.write_text(json.dumps({"text": "word " * 5000}))
    assert found("corpus", corpus=path).state == "problem"
    path.write_text("{")
    assert "corpus.jsonl:1 is not JSON" in found("corpus", corpus=path).what


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for name in ("none.db", f"sqlite:///{tmp_path / 'none.db'}"):
        one = found("store", store=str(tmp_path / name) if "://" not in name else name)
        assert (one.state, "there is no file" in one.what, "ragguard ingest" in one.todo) == ("problem", True, True)
    assert not list(tmp_path.iterdir())


def test_a_store_of_another_model_or_none(tmp_path: Path) -> None:
    with SQLStore(tmp_path / "evidence.db") as store:
        EvidenceBuilder(WordHashEncoder(), Profiles.plan, store).get([DEMO.documents[0].text])
    one = found("store", store=str(tmp_path / "evidence.db"))
    assert (one.state, "word-hash" in one.what, "ragguard ingest" in one.todo) == ("note", True, True)
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    damaged = found("store", store=str(tmp_path / "damaged.db"))
    assert (damaged.state, "cannot open" in damaged.what) == ("problem", True)
    assert found("store", store="mysql://host/name").state == "problem"


def test_a_store_that_cannot_be_written_to(postgresql: str) -> None:
    SQLStore(postgresql).close()
    engine = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = sa.make_url(postgresql).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine.dispose()
    one = found("store", store=postgresql)
    assert (one.state, "cannot write" in one.what, "read-only" in one.what) == ("problem", True, True)


def test_a_model_that_is_not_there_or_means_nothing(monkeypatch: pytest.MonkeyPatch, guard: Path) -> None:
    every = {one.about: one for one in examine("no/such/model", guard)}
    assert (every["model"].state, "--model" in every["model"].todo) == ("problem", True)
    assert "device" not in every
    assert every["calibration"].state == "ok"  # as far as can be told without a model

    class Untrained(WordHashEncoder):
        def encode_document(self, texts: Any) -> Any:
            return np.tile(np.eye(1, 128, dtype=np.float32), (len(texts), 1))

    monkeypatch.setattr(models, "load", lambda _: Untrained())
    monkeypatch.setattr(doctor, "_device", lambda _: iter(()))
    one = found("model")
    assert (one.state, "install it again" in one.todo) == ("problem", True)


def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version
    monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name == "numpy" else known(name))
    one = found("packages")
    assert (one.state, one.what) == ("problem", "numpy 1.0, needs >=1.26")
