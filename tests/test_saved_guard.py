"""A calibrated guard as a file: written, read, and refused where it does not belong."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ragguard.defenses import CalibratedGuard, CalibratedGuardSettings
from ragguard.defenses.saved import digest
from ragguard.demo.scenario import DATA
from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import load
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.signals import Echo, Outlier, Signal, Spike
from ragguard.testing import WordHashEncoder
from ragguard.types import Document

DEMO = load(DATA)
QUERIES = list(DEMO.queries.values())
WINDOWS = MemoryStore()
DAMAGE: list[tuple[str, Any, str]] = [
    ("", None, "is no saved guard"),
    ("format", 99, "calibrate again"),
    ("calibration.version", 99, "calibrate again"),
    ("calibration.encoder", "another", "'another', not 'word-hash'; calibrate again"),
    ("calibration.scales.echo.unit", -1.0, "damaged; calibrate again"),
    ("calibration.scales.echo.typical", float("nan"), "damaged; calibrate again"),
    ("calibration.maxima", [], "damaged; calibrate again"),
    ("calibration.maxima", [2.0, 1.0], "ascend"),
    ("calibration.maxima", [0.0, float("inf")], "finite"),
    ("calibration.maxima", [0.0, 1.0], "cannot support a loss"),
    ("settings.max_clean_query_loss", 2, "damaged; calibrate again"),
    ("settings.colour", "red", "damaged; calibrate again"),
]


def corpus() -> DenseIndex:
    index = DenseIndex(WordHashEncoder())
    index.add(DEMO.documents)
    return index


def calibrated(signals: list[type[Signal]] | None = None, **options: Any) -> CalibratedGuard:
    known = {"k": 5, "max_clean_query_loss": 0.05, "store": WINDOWS, "signals": signals, **options}
    return CalibratedGuard.calibrated(WordHashEncoder(), corpus(), DEMO.documents, QUERIES, **known)


@cache
def guard() -> CalibratedGuard:
    return calibrated(policy="demote")


def loaded(path: Path, **options: Any) -> CalibratedGuard:
    known = {"documents": DEMO.documents, "store": WINDOWS, **options}
    return CalibratedGuard.load(path, WordHashEncoder(), **known)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "very" / "deep" / "guard.json"
    guard().save(found)
    return found


def test_a_loaded_guard_judges_as_the_one_that_was_saved(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = loaded(path)
    assert (again.name, again.settings, again.threshold, again.calibration) == (
        guard().name,
        guard().settings,
        guard().threshold,
        guard().calibration,
    )
    hits = [*corpus().retrieve(QUERIES[0], 10)]
    assert again(QUERIES[0], hits, 5) == guard()(QUERIES[0], hits, 5)
    assert not caplog.records
    assert list(path.parent.iterdir()) == [path], "nothing is left beside the file"


def test_settings_may_be_others_than_those_saved(path: Path) -> None:
    again = loaded(path, settings=CalibratedGuardSettings(max_clean_query_loss=0.1, policy="flag"))
    assert again.settings.policy == "flag"
    assert again.threshold <= guard().threshold
    with pytest.raises(InvalidInputError, match="cannot support"):
        loaded(path, settings=CalibratedGuardSettings(max_clean_query_loss=0.001))


def test_another_corpus_is_told_and_used(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ragguard"):
        loaded(path, documents=list(reversed(DEMO.documents)))
    assert not caplog.records, "the order of documents is nothing to warn of"
    more = [*DEMO.documents, Document("new", "A document that was not there.")]
    with caplog.at_level(logging.WARNING, "ragguard"):
        loaded(path, documents=more)
    (record,) = caplog.records
    assert f"of {len(DEMO.documents)} texts; this one has {len(more)}" in record.message


@pytest.mark.parametrize(("where", "value", "message"), DAMAGE)
def test_what_does_not_belong_is_refused(path: Path, where: str, value: object, message: str) -> None:
    content: Any = json.loads(path.read_text())
    if where:
        *parents, last = where.split(".")
        inner = content
        for name in parents:
            inner = inner[name]
        inner[last] = value
        del content["digest"]
        content["digest"] = digest(content)
    else:
        content = value
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match=message):
        loaded(path)


def test_a_number_that_changed_is_refused(path: Path) -> None:
    content = path.read_text()
    number = str(json.loads(content)["calibration"]["maxima"][-1])
    path.write_text(content.replace(number, number[:-1] + ("1" if number[-1] != "1" else "2")))
    with pytest.raises(InvalidInputError, match="damaged; calibrate again: its digest"):
        loaded(path)


def test_the_order_of_keys_is_nothing_and_a_missing_digest_is_damage(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert loaded(path).calibration == guard().calibration
    del content["digest"]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="damaged; calibrate again: its digest"):
        loaded(path)


def test_missing_and_torn_files_say_what_to_do(path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.json cannot be read.*ragguard calibrate"):
        loaded(path.with_name("nowhere.json"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InvalidInputError, match=r"guard\.json is damaged; calibrate again"):
        loaded(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="is damaged"):
        loaded(path)
    path.write_text(guard().calibration.model_dump_json())
    with pytest.raises(InvalidInputError, match="is no saved guard"):
        loaded(path)


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        guard().save(tmp_path / "file" / "guard.json")


class Own(Echo):
    """A user's own signal."""

    name = "own"


def test_signals_are_those_of_the_file_or_given(path: Path) -> None:
    calibrated([Spike, Own]).save(path)
    with pytest.raises(InvalidInputError, match=r"\['own'\].*pass signals, or calibrate again"):
        loaded(path)
    assert loaded(path, signals=[Spike, Own]).calibration.scales.keys() == {"spike", "own"}
    with pytest.raises(InvalidInputError, match=r"for the signals \['own', 'spike'\], not \['spike'\]; calibrate again"):
        loaded(path, signals=[Spike])
    with pytest.raises(InvalidInputError, match="outlier compares with queries"):
        calibrated([Spike, Outlier]).save(path)


def test_a_corpus_without_words_is_refused(path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at least one text"):
        loaded(path, documents=[])
