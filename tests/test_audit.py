"""Audit records: nobody's text in them, everything that decided, the same verdict again, and what is missing is seen."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ragguard.audit import AuditLog, Flaw, Record, Replay, read, record, replay
from ragguard.audit.summary import summarise
from ragguard.cli import app
from ragguard.defenses import BaseDefense, CalibratedGuard, Judgement, RAGMask, RAGPart, RobustScore, SourceQuota
from ragguard.demo.scenario import DATA
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evaluation.datasets import load
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.retriever import Decision, Guard, GuardedRetriever, GuardPolicy, Observers, Stage
from ragguard.signals import CorpusModel
from ragguard.testing import WordHashEncoder
from ragguard.text import content_hash
from ragguard.types import Document, GuardedResult, Hit, QueryFinding, Span, Verdict

DEMO = load(DATA)
QUERIES = list(DEMO.queries.values())
QUESTION = QUERIES[0]
POISON = Document(
    "poison", f"{QUESTION} Sourdough bread\u200b rises by wild yeast. {QUESTION}", {"source": "blog", "secret": "hunter2"}
)
K = 5


@pytest.fixture(scope="module")
def index() -> DenseIndex:
    made = DenseIndex(WordHashEncoder())
    made.add([*DEMO.documents, POISON])
    return made


@pytest.fixture(scope="module")
def guard() -> CalibratedGuard:
    clean = DenseIndex(WordHashEncoder())
    clean.add(DEMO.documents)
    return CalibratedGuard.calibrated(WordHashEncoder(), clean, DEMO.documents, QUERIES, k=K, max_clean_query_loss=0.05)


@pytest.fixture(scope="module")
def defenses(guard: CalibratedGuard) -> list[Defense]:
    return [guard, SourceQuota(2)]


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return {one.id: one for one in (*DEMO.documents, POISON)}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def written(
    path: Path, index: DenseIndex, defenses: Sequence[Defense], queries: Sequence[str] = QUERIES[:3], **options: Any
) -> None:
    observers = Observers([AuditLog(path, **options)])
    guarded = GuardedRetriever(index, defenses, observers=observers)
    for query in queries:
        guarded.retrieve(query, K)
    assert observers.flush(30)
    assert observers.failed == observers.lost == 0


def records(path: Path) -> list[Record]:
    found = [*read([path])]
    assert all(isinstance(one, Record) for one in found), found
    return [one for one in found if isinstance(one, Record)]


def flaws(*paths: Path) -> list[tuple[str, str]]:
    return [(one.kind, one.place.rpartition(":")[2]) for one in read(paths) if isinstance(one, Flaw)]


def test_a_record_says_all_that_decided(log: Path, index: DenseIndex, defenses: list[Defense], guard: CalibratedGuard) -> None:
    written(log, index, defenses)
    first = records(log)[0]
    result = GuardedRetriever(index, defenses).retrieve(QUESTION, K)
    assert first.query_hash == content_hash(QUESTION)
    assert first.kept == tuple(hit.document.id for hit in result.kept)
    assert first.removed == tuple(hit.document.id for hit in result.removed)
    assert [one.id for one in first.candidates] == [hit.document.id for hit in result.candidates]
    assert [(one.document, one.defense, one.action, one.reason) for one in first.verdicts] == [
        (one.document_id, one.defense, one.action, one.reason) for one in result.verdicts
    ]
    assert "poison" in first.removed
    assert next(one.source for one in first.candidates if one.id == "poison") == "blog"
    judge = first.judges[0]
    assert judge.described["threshold"] == guard.threshold
    assert judge.described["settings"]["max_clean_query_loss"] == 0.05
    assert judge.described["corpus"] == guard.calibration.corpus
    assert first.judges[1].described == {"settings": {"limit": 2, "key": "source", "near_duplicates": None}}
    assert first.policy == GuardPolicy().model_dump()
    assert first.stages[0][0] == "search"


def test_the_calibration_is_named_by_the_digest_of_its_file(
    log: Path, tmp_path: Path, index: DenseIndex, guard: CalibratedGuard
) -> None:
    written(log, index, [guard])
    guard.save(tmp_path / "guard.json")
    assert records(log)[0].judges[0].described["calibration"] == json.loads((tmp_path / "guard.json").read_text())["digest"]


class Quoting(BaseDefense):
    """Fails, and quotes what it read."""

    name = "quoting"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        raise ValueError(f"{query} {hits[0].document.text}")


@pytest.mark.parametrize("fail_open", [False, True])
def test_no_text_is_recorded_unless_it_is_asked_for(
    log: Path, tmp_path: Path, index: DenseIndex, defenses: list[Defense], fail_open: bool
) -> None:
    def write(path: Path, texts: bool) -> str:
        observers = Observers([AuditLog(path, texts=texts)])
        written(path, index, defenses, texts=texts)
        broken = GuardedRetriever(index, [*defenses, Quoting()], GuardPolicy(fail_open=fail_open), observers=observers)
        try:
            broken.retrieve(QUESTION, K)
        except DefenseError:
            assert not fail_open
        assert observers.flush(30)
        return path.read_text()

    secret = write(log, False)
    for text in (QUESTION, POISON.text, *(document.text for document in DEMO.documents)):
        words = text.lower().split()
        assert not any(" ".join(words[i : i + 3]) in secret.lower() for i in range(len(words) - 2))
    assert "hunter2" not in secret
    assert "quoting did not run" in secret or not fail_open
    told = write(tmp_path / "texts.jsonl", True)
    assert "Sourdough bread rises by wild yeast." in told
    assert told.count(json.dumps(QUESTION)[1:-1]) > 3


def test_the_same_verdicts_again_from_numbers_from_the_corpus_and_from_texts(
    log: Path, tmp_path: Path, index: DenseIndex, defenses: list[Defense], documents: dict[str, Document]
) -> None:
    written(log, index, defenses, QUERIES[:10])
    queries = {content_hash(one): one for one in QUERIES}
    for one in records(log):
        assert replay(one).depth == "numbers"
        assert replay(one).differences == ()
        again = replay(one, defenses, documents, queries)
        assert (again.depth, again.differences, again.why_not) == ("texts", (), "")
    written(tmp_path / "texts.jsonl", index, defenses, QUERIES[:10], texts=True)
    for one in records(tmp_path / "texts.jsonl"):
        assert replay(one, defenses).depth == "texts"
        assert replay(one, defenses).differences == ()


def test_other_defenses_are_decided_again_from_texts(log: Path, index: DenseIndex) -> None:
    encoder = WordHashEncoder()
    guard = [RobustScore(encoder, a=0.5, b=0.5), RAGMask(encoder), RAGPart(encoder)]
    written(log, index, guard, texts=True)
    for one in records(log):
        assert [judge.described["encoder"] for judge in one.judges] == ["word-hash"] * 3
        assert replay(one).depth == "nothing"
        assert replay(one, guard).depth == "texts"
        assert replay(one, guard).differences == ()
        assert "RAGPart(N=4, k=2)" in replay(one, [*guard[:2], RAGPart(encoder, n=4, k=2)]).changes[0]


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a lower suspicion": lambda one: one["verdicts"][0].update(suspicion=0.0),
    "another signal": lambda one: one["verdicts"][0]["signals"].update(echo=1e3),
    "a signal that is missing": lambda one: one["verdicts"][0]["signals"].pop("echo"),
    "another action": lambda one: one["verdicts"][0].update(action="keep" if one["verdicts"][0]["action"] == "drop" else "drop"),
    "a higher threshold": lambda one: one["judges"][0]["described"].update(threshold=1e9),
    "no scales": lambda one: one["judges"][0]["described"].pop("scales"),
    "another guard": lambda one: one.update(guard="0" * 64),
    "a document that was dropped is kept": lambda one: one["kept"].append(one["removed"].pop()),
    "a document is gone": lambda one: one["kept"].pop(),
    "no suspicion": lambda one: one["verdicts"][0].update(suspicion=None, action="keep"),
    "scales that are none": lambda one: one["judges"][0]["described"].update(scales={"echo": 3}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_numbers_that_do_not_make_the_verdict_are_seen(
    log: Path, index: DenseIndex, defenses: list[Defense], change: str
) -> None:
    written(log, index, defenses, [QUESTION])
    content = json.loads(log.read_text())
    CHANGES[change](content)
    forged = Record.of(Record.model_validate(content).line()[0])  # by someone who can compute the digest, too
    assert replay(forged).differences


def test_another_guard_corpus_or_query_is_told(
    log: Path, index: DenseIndex, guard: CalibratedGuard, defenses: list[Defense], documents: dict[str, Document]
) -> None:
    written(log, index, defenses, [QUESTION])
    (one,) = records(log)
    queries = {content_hash(QUESTION): QUESTION}
    first = one.candidates[0].id
    alone = replay(one)
    assert (alone.depth, alone.differences, alone.changes, alone.why_not) == ("numbers", (), (), "no guard was given")
    now = replay(one, [Quoting()], documents, queries)
    assert now.depth == "texts"
    assert any("it was answered, and now is not" in difference for difference in now.differences)
    assert now.changes[0].startswith("the guard was CalibratedGuard(0.05) + SourceQuota(limit=2), and is ")
    assert replay(one, defenses, documents).why_not == "the query is not known"
    assert replay(one, defenses, {}, queries).why_not == f"document {first!r} is not in the corpus"
    changed = {**documents, first: Document(first, "Another text.")}
    assert replay(one, defenses, changed, queries).why_not == f"document {first!r} has another text now"
    looser = CalibratedGuard(
        WordHashEncoder(), guard._corpus, guard._signals, guard.calibration, max_clean_query_loss=0.5, policy="flag"
    )
    other = replay(one, [looser, SourceQuota(2)], documents, queries)
    assert other.changes[0].startswith(
        "the guard was CalibratedGuard(0.05) + SourceQuota(limit=2), and is CalibratedGuard(0.5, flag)"
    )
    assert any("kept was" in difference for difference in other.differences)
    quota = replay(one, [guard, SourceQuota(2, key="author")], documents, queries)
    assert quota.changes == ("SourceQuota(limit=2): its settings is another",)
    assert replay(one, defenses, documents, queries).changes == ()


STRANGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no id": lambda one: one["candidates"][0].update(id=""),
    "a score that is none": lambda one: one["candidates"][0].update(score="nan"),
    "a policy of nobody's": lambda one: one["policy"].update(colour="red"),
    "more results than it was calibrated for": lambda one: one.update(k=10**9),
    "no query": lambda one: one.update(query=" "),
    "another query": lambda one: one.update(query="Who asked?"),
    "another text": lambda one: one["candidates"][0].update(text="Who wrote?"),
    "a signal without end": lambda one: one["verdicts"][0]["signals"].update(echo="inf"),
}


@pytest.mark.parametrize("change", STRANGE)
def test_a_record_that_makes_no_sense_is_a_difference_and_no_crash(
    log: Path, index: DenseIndex, defenses: list[Defense], change: str
) -> None:
    written(log, index, defenses, [QUESTION], texts=True)
    content = json.loads(log.read_text())
    STRANGE[change](content)
    assert replay(Record.of(Record.model_validate(content).line()[0]), defenses).differences


def test_errors_are_recorded_without_what_they_say(log: Path, index: DenseIndex) -> None:
    observers = Observers([AuditLog(log)])
    with pytest.raises(DefenseError):
        GuardedRetriever(index, [Quoting()], observers=observers).retrieve(QUESTION, K)
    assert observers.flush()
    (one,) = records(log)
    assert (one.outcome, one.error, one.candidates, one.kept) == ("DefenseError", None, (), ())
    assert replay(one, [Quoting()]).why_not == "its outcome was DefenseError"


def spoilt(lines: list[bytes]) -> Iterator[tuple[str, list[bytes], list[tuple[str, str]]]]:
    yield "a digit is another", [lines[0].replace(b'"k":5', b'"k":6'), *lines[1:]], [("damaged", "1"), ("missing", "2")]
    yield "a line is cut", [lines[0], lines[1][:100] + b"\n", *lines[2:]], [("damaged", "2"), ("missing", "3")]
    yield "the last line is cut", [*lines[:4], lines[4][:-30]], [("damaged", "5")]
    yield "a line is gone", [lines[0], *lines[2:]], [("missing", "2")]
    yield "the first is gone", lines[1:], [("missing", "1")]
    yield "two are swapped", [lines[1], lines[0], *lines[2:]], [("missing", "1"), ("missing", "2"), ("missing", "3")]
    yield "a line is twice there", [lines[0], *lines], [("missing", "2")]
    yield (
        "something else is there",
        [*lines, b"[1, 2]\n", b"\xff\n", b"[" * 100_000 + b"\n"],
        [("damaged", str(n)) for n in (6, 7, 8)],
    )
    yield "a process came while another wrote", [lines[0], b"\n", *lines[1:]], []
    yield "nothing is wrong", lines, []


def test_what_is_damaged_or_missing_is_seen(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    written(log, index, defenses, QUERIES[:5])
    lines = log.read_bytes().splitlines(keepends=True)
    for what, content, expected in spoilt(lines):
        log.write_bytes(b"".join(content))
        assert flaws(log) == expected, what


def test_a_flipped_bit_anywhere_is_seen(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    written(log, index, defenses, QUERIES[:2])
    whole = bytearray(log.read_bytes())
    for place in range(0, len(whole), 211):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        log.write_bytes(damaged)
        assert flaws(log), (place, chr(whole[place]), chr(damaged[place]))


def test_a_log_goes_on_after_a_crash_and_a_rotation(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    written(log, index, defenses, QUERIES[:2])
    with log.open("ab") as file:
        file.write(b'{"half a li')
    observers = Observers([AuditLog(log)])
    guarded = GuardedRetriever(index, defenses, observers=observers)
    guarded.retrieve(QUESTION, K)
    assert observers.flush()
    assert flaws(log) == [("damaged", "3")]  # and the line after it is whole
    older = log.with_suffix(".1")
    log.rename(older)
    guarded.retrieve(QUESTION, K)
    assert observers.flush()
    assert flaws(older, log) == [("damaged", "3")]
    assert flaws(log) == [("missing", "1")]


def test_what_could_not_be_written_is_told_as_lost(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    observers = Observers([AuditLog(log)])
    guarded = GuardedRetriever(index, defenses, observers=observers)
    guarded.retrieve(QUESTION, K)
    assert observers.flush()
    kept = log.read_bytes()
    log.unlink()
    log.mkdir()  # nothing can be written there, whoever runs this
    assert guarded.retrieve(QUESTION, K).kept
    assert observers.flush()
    log.rmdir()
    log.write_bytes(kept)
    guarded.retrieve(QUESTION, K)
    assert observers.flush()
    assert observers.failed == 1
    assert flaws(log) == [("lost", "2")]


SHARED = """
import os, sys, threading
from ragguard.audit import AuditLog
from ragguard.defenses import SourceQuota
from ragguard.retriever import Observers
from ragguard.retriever import Guard
from ragguard.types import Document, Hit

observers = Observers([AuditLog(sys.argv[1])])
guard = Guard([SourceQuota(1)], observers=observers)

def ask():
    for number in range(50):
        guard(f"query {number}", [Hit(Document("a", "The tunnel.", {"source": "s"}), 1.0)], 1)

guard("before the fork", [], 1)
observers.flush()
child = os.fork() if hasattr(os, "fork") else None
threads = [threading.Thread(target=ask) for _ in range(3)]
for one in threads:
    one.start()
for one in threads:
    one.join()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
"""A process that forks one, each with three threads that ask."""


def test_threads_and_processes_share_a_file(log: Path) -> None:
    programs = [subprocess.Popen([sys.executable, "-c", SHARED, str(log)]) for _ in range(2)]
    assert [one.wait(60) for one in programs] == [0, 0]
    found = records(log)
    processes = 4 if hasattr(os, "fork") else 2
    assert len(found) == 2 + 150 * processes
    assert len({one.writer for one in found}) == processes


def test_a_fork_in_the_middle_of_a_record_stops_no_log(log: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("nothing forks here")
    at_it, go = threading.Event(), threading.Event()

    class Waiting(SourceQuota):
        def describe(self) -> Mapping[str, Any]:
            at_it.set()
            go.wait(30)
            return super().describe()

    observers = Observers([AuditLog(log)])
    guard = Guard([Waiting(1)], observers=observers)
    guard("tunnel", [Hit(POISON, 1.0)], 1)
    assert at_it.wait(30)
    child = os.fork()
    if child == 0:
        try:
            go.set()
            guard("tunnel", [Hit(POISON, 1.0)], 1)
            ok = observers.flush(30)
        except BaseException:
            ok = False
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    assert observers.flush(30)
    assert [one.number for one in records(log)] == [1, 1]


def test_who_looks_at_a_corpus_model_does_not_wait_for_queries_nor_they_for_him() -> None:
    model = CorpusModel(["The tunnel opened."])
    found: list[str] = []
    with model._lock:
        looking = threading.Thread(target=lambda: found.append(model.digest), daemon=True)
        looking.start()
        looking.join(30)
    assert found == [model.digest]


class Odd(BaseDefense):
    """Of a third party that is not careful."""

    name = "odd"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        signals: dict[str, Any] = {"none": None, "huge": 10**400, "float32": np.float32(0.1), "nan": float("nan"), "text": "x"}
        return [Judgement(i, hit.score, None, signals=signals, suspicion=np.float32(0.1)) for i, hit in enumerate(hits)]  # type: ignore[arg-type]

    def describe(self) -> Mapping[str, Any]:
        return {"limit": float("nan"), "most": float("inf"), "some": (1, 2)}


def test_odd_verdicts_of_a_third_party_are_recorded_and_decided_again(log: Path, index: DenseIndex) -> None:
    written(log, index, [Odd()], [QUESTION], texts=True)
    (one,) = records(log)
    assert math.isnan(one.verdicts[0].signals["none"])
    assert one.verdicts[0].signals["float32"] == pytest.approx(0.1)
    assert replay(one, [Odd()]) == Replay("texts", ())


def test_what_a_quota_counts_by_is_not_in_the_record(log: Path, index: DenseIndex, documents: dict[str, Document]) -> None:
    known = {name: replace(one, metadata={"author": name}) for name, one in documents.items()}
    observers = Observers([AuditLog(log, texts=True)])
    quota = SourceQuota(1, key="author")
    found = [Hit(known[hit.document.id], hit.score) for hit in index.retrieve(QUESTION, 2 * K)]
    assert Guard([quota], observers=observers)(QUESTION, found, K).kept
    assert observers.flush()
    (one,) = records(log)
    assert replay(one, [quota]).why_not == f"document {one.candidates[0].id!r} is not in the corpus, and a record has no 'author'"
    assert replay(one, [quota], known) == Replay("texts", ())


def test_a_log_is_its_owners_and_must_be_writable(tmp_path: Path) -> None:
    AuditLog(tmp_path / "audit.jsonl")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
    with pytest.raises(InvalidInputError, match="cannot be written"):
        AuditLog(tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        [*read([tmp_path / "none.jsonl"])]


def test_ids_and_texts_that_are_no_utf8_are_recorded(log: Path) -> None:
    observers = Observers([AuditLog(log, texts=True)])
    hits = [
        Hit(Document("a\ud800", "half \udfff a pair", {"source": "\ud800"}), float(2**-1074)),
        Hit(Document("b", "x"), -1e308),
    ]
    Guard([SourceQuota(1)], observers=observers)("tunnel \ud800", hits, 1)
    assert observers.flush()
    assert observers.failed == 0
    (one,) = records(log)
    assert one.kept == ("a\\ud800",)
    assert one.candidates[1].score == -1e308
    assert replay(one, [SourceQuota(1)]) == Replay("texts", ())


def command(*arguments: object, code: int = 0) -> str:
    found = CliRunner().invoke(app, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


def test_the_command_says_what_was_decided(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    written(log, index, defenses, QUERIES[:4])
    told = command(log)
    assert "4 decisions" in told
    assert "4 answered" in told
    assert "poison" in told
    assert "The log is whole." in told
    assert "4 from the recorded numbers; none came out otherwise" in told
    found = json.loads(command(log, "--json"))
    assert found["decisions"] == 4
    assert found["dropped"][0]["document"] == "poison"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[1:]))
    told = command(log, code=4)
    assert "missing" in told
    assert "NOT whole: 1" in told
    assert json.loads(command(log, "--json", code=4))["flawed"] == 1


def test_the_command_decides_again_from_texts(log: Path, tmp_path: Path, encoder: Any) -> None:
    real = DenseIndex(encoder)
    corpus = [*DEMO.documents[:24], POISON]
    real.add(corpus)
    guard = CalibratedGuard.calibrated(encoder, real, corpus, QUERIES[1:40], k=K, max_clean_query_loss=0.1)
    guard.save(tmp_path / "guard.json")
    written(log, real, [guard, SourceQuota(2)], QUERIES[:2])
    rows = [{"_id": one.id, "text": one.text, "metadata": dict(one.metadata)} for one in corpus]
    path, asked = tmp_path / "corpus.jsonl", tmp_path / "queries.txt"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked.write_text("\n".join(QUERIES[:1]))
    options = ("--guard", tmp_path / "guard.json", "--corpus", path, "--quota", 2, "--queries", asked)
    told = command(log, *options)
    assert "1 from texts, 1 from the recorded numbers; none came out otherwise" in told
    assert "1, since the query is not known" in told
    told = command(log, *options[:-4], "--quota", 1, "--queries", asked, code=4)
    assert "the guard was" in told
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows[:-1], {"_id": "new", "text": "What nobody had read."}]))
    assert "1, since document 'poison' is not in the corpus" in command(log, *options)


def test_a_corpus_that_grew_is_told(log: Path, index: DenseIndex, guard: CalibratedGuard, documents: dict[str, Document]) -> None:
    assert guard.describe()["corpus"] == guard.calibration.corpus
    written(log, index, [guard], [QUESTION])
    grown = guard.using(WordHashEncoder())
    grown._corpus = CorpusModel([one.text for one in DEMO.documents])
    grown.learn([Document("new", "What nobody had read.")])
    (one,) = records(log)
    found = replay(one, [grown], documents, {content_hash(QUESTION): QUESTION})
    assert found.changes == (f"{guard.name}: its corpus is another",)


def test_a_guard_without_its_corpus_is_a_wrong_option(log: Path) -> None:
    log.write_text("")
    assert "no decisions" in command(log)
    found = CliRunner().invoke(app, ["audit", str(log), "--guard", "guard.json"])
    assert found.exit_code == 2
    assert "give both" in found.output
    found = CliRunner().invoke(app, ["audit", str(log), "--quota", "2"])
    assert found.exit_code == 2
    assert "give --guard" in " ".join(found.output.split())


def test_texts_without_a_log_are_a_wrong_option() -> None:
    found = CliRunner().invoke(app, ["serve", "guard.json", "corpus.jsonl", "--audit-texts"])
    assert found.exit_code == 2
    assert "give --audit" in " ".join(found.output.split())


def test_a_forged_line_moves_nothing_on_the_screen(log: Path, index: DenseIndex, defenses: list[Defense]) -> None:
    written(log, index, defenses, [QUESTION])
    (one,) = records(log)
    forged = one.model_copy(update={"outcome": "\x1b[2J", "writer": "\x1b]0;\x07", "number": 7, "guard": "\x1b[31m"})
    log.write_bytes(forged.line()[0])
    told = command(log, code=4)
    assert "⟨U+001B⟩[2J" in told
    assert "\x1b" not in told


def test_an_empty_log_and_a_missing_one(log: Path) -> None:
    log.write_text("")
    assert summarise([log]).ok
    assert summarise([log]).decisions == 0
    with pytest.raises(InvalidInputError, match="cannot be read"):
        summarise([log, log.with_name("none")])


def test_every_field_is_that_of_the_decision() -> None:
    hits = (Hit(Document("a", "The tunnel.", {"source": 3}), 0.5), Hit(Document("b", "+"), 0.25))
    verdicts = (
        Verdict("a", "D", "demote", "Low.", 1, 2, {"x": 1.5}, (Span(0, 2),), 3.0),
        Verdict("b", "D", "drop", "No words.", 2, None),
    )
    finding = QueryFinding("control text", Span(1, 4), "abc", "It speaks to a model.")
    result = GuardedResult(
        "q", 1, hits, (), hits[:1], hits[1:], verdicts, degraded=("E did not run: boom: bang",), query_findings=(finding,)
    )
    decision = Decision(7, "q", 1, (SourceQuota(1),), GuardPolicy(), 1.8e9, 0.5, (Stage("search", 0.0, 0.1),), result, None)
    one, told = record(decision, "w", "p"), record(decision, "w", "p", texts=True)
    assert (one.writer, one.number, one.previous, one.k, one.seconds) == ("w", 7, "p", 1, 0.5)
    assert (one.time, one.time.utcoffset()) == (datetime.fromtimestamp(1.8e9, timezone.utc), timedelta(0))
    assert (one.degraded, told.degraded) == (("E did not run",), ("E did not run: boom: bang",))
    assert [(found.kind, found.span) for found in one.found] == [("control text", (1, 4))]
    assert [(v.before, v.after, v.suspicion, v.spans) for v in one.verdicts] == [(1, 2, 3.0, ((0, 2),)), (2, None, None, ())]
    assert [(c.score, c.source) for c in one.candidates] == [(0.5, "3"), (0.25, None)]
    assert (one.reserve, one.removed, one.outcome) == (("a",), ("b",), "degraded")
    failed = replace(decision, result=None, error=DefenseError("quoted"))
    assert (record(failed, "w", "p").error, record(failed, "w", "p", texts=True).error) == (None, "quoted")
    assert told.error is None
    for other in (replace(decision, defenses=(SourceQuota(2),)), replace(decision, policy=GuardPolicy(overfetch=3))):
        assert record(other, "w", "p").guard != one.guard
    assert record(replace(decision, number=8), "w", "p").guard == one.guard
    assert json.loads(one.line()[0]) == {**one.model_dump(mode="json"), "digest": one.line()[1]}


def test_what_could_not_be_judged_is_dropped_without_a_suspicion(log: Path, guard: CalibratedGuard) -> None:
    observers = Observers([AuditLog(log)])
    Guard([guard], observers=observers)(QUESTION, [Hit(POISON, 0.9), Hit(Document("blank", "\u200b"), 0.5)], K)
    assert observers.flush()
    (one,) = records(log)
    assert (one.verdicts[1].action, one.verdicts[1].suspicion) == ("drop", None)
    assert replay(one).differences == ()
    kept = one.verdicts[1].model_copy(update={"action": "keep", "after": 1})
    forged = one.model_copy(update={"verdicts": (one.verdicts[0], kept), "kept": ("blank",), "removed": ("poison",)})
    assert "keep follows from no suspicion" in " ".join(replay(forged).differences)
