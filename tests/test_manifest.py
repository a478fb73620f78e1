"""A manifest tells every change of a corpus and of itself, and which document."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragguard.cli import app
from ragguard.errors import InvalidInputError, ManifestError
from ragguard.provenance import Expected, Provenance, Recorded, Verification, keys, record, verify
from ragguard.provenance.history import replay
from ragguard.provenance.ledger import Ledger

ROWS: list[dict[str, Any]] = [
    {"_id": f"d{i}", "title": "Title", "text": f"text {i} caf\u00e9", "metadata": {"source": f"s{i % 2}", "n": 1.5}}
    for i in range(6)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def kinds(found: Verification) -> list[tuple[str, str]]:
    return [(one.kind, one.document) for one in found.findings]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", ROWS)


@pytest.fixture
def manifest(tmp_path: Path, corpus: Path) -> Path:
    path = tmp_path / "manifest.jsonl"
    record(path, [corpus], Provenance(batch="first", principal="ada"))
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "k"
    keys.generate(path, path.with_name("k.pub"))
    return path


def of(path: Path) -> Recorded:
    """Record the corpus in the manifest beside it."""
    return record(path.parent / "manifest.jsonl", [path.parent / "corpus.jsonl"])


def test_what_was_recorded_verifies(manifest: Path, corpus: Path) -> None:
    found = verify(manifest, [corpus])
    assert (found.ok, found.documents, found.generation, found.key) == (True, 6, 1, None)
    assert verify(manifest, [corpus.parent]).ok  # the folder of corpus.jsonl
    with Ledger() as ledger:
        replay(manifest, ledger)
        entries = list(ledger.entries())
    assert [entry.id for entry in entries] == [row["_id"] for row in ROWS]
    assert {(entry.source, entry.batch, entry.principal) for entry in entries} == {("s0", "first", "ada"), ("s1", "first", "ada")}


def edited(change: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
    rows = json.loads(json.dumps(ROWS))
    change(rows)
    return list(rows)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[2].update(text="lie"), [("changed", "d2")]),
        (lambda rows: rows[2].update(title="lie"), [("changed", "d2")]),
        (lambda rows: rows[2]["metadata"].update(source="s0 "), [("changed", "d2")]),
        (lambda rows: rows.pop(3), [("missing", "d3")]),
        (lambda rows: rows.insert(1, {"_id": "new", "text": "lie"}), [("added", "new")]),
        (lambda rows: rows.append(rows.pop(0)), [("moved", "d0")]),
        (lambda rows: rows.insert(0, rows.pop()), [("moved", "d5")]),
        (lambda rows: rows.append(rows[1]), [("twice", "d1")]),
        (lambda rows: rows[4].update(_id="d9"), [("added", "d9"), ("missing", "d4")]),
    ],
)
def test_every_tampering_with_the_corpus_is_told_with_the_document(
    change: Callable[[list[dict[str, Any]]], object], expected: list[tuple[str, str]], manifest: Path, corpus: Path
) -> None:
    write(corpus, edited(change))
    found = verify(manifest, [corpus])
    assert not found.ok
    assert kinds(found) == expected
    assert all(one.place.startswith(f"{corpus}:") for one in found.findings if one.kind != "missing")


def test_a_line_that_cannot_be_read_does_not_hide_what_follows(manifest: Path, corpus: Path) -> None:
    lines = corpus.read_text().split("\n")
    corpus.write_text("\n".join([lines[0], "{", *lines[2:5], lines[5].replace("text 5", "text 6"), ""]))
    assert kinds(verify(manifest, [corpus])) == [("unreadable", ""), ("changed", "d5"), ("missing", "d1")]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, pair: Path) -> Path:
    """A folder with a signed manifest of three generations."""
    folder = tmp_path_factory.mktemp("signed")
    corpus, key = folder / "corpus.jsonl", keys.load_private(pair)
    for rows in (ROWS[:2], [ROWS[4], *ROWS[:3]], ROWS):
        record(folder / "manifest.jsonl", [write(corpus, rows)], key=key, encoder="e", settings={"loss": 0.02})
    assert verify(folder / "manifest.jsonl", [corpus], Expected([keys.public_key(key)], generation=3)).ok
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["corpus.jsonl", "manifest.jsonl"]),
    where=st.floats(0, 1, exclude_max=True),
    bits=st.one_of(st.sampled_from([1 << n for n in range(8)]), st.integers(1, 255)),
)
def test_any_flipped_bit_is_found(name: str, where: float, bits: int, signed: Path, tmp_path: Path) -> None:
    copies = {one: (signed / one).read_bytes() for one in ("corpus.jsonl", "manifest.jsonl")}
    data = bytearray(copies[name])
    data[int(where * len(data))] ^= bits
    for one, content in {**copies, name: bytes(data)}.items():
        (tmp_path / one).write_bytes(content)
    found = verify(tmp_path / "manifest.jsonl", [tmp_path / "corpus.jsonl"])
    assert not found.ok
    assert str(tmp_path / name) in f"{found.findings[0].place}{found.findings[0].what}" or found.findings[0].kind == "missing"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.lists(st.lists(st.sampled_from(range(6)), unique=True), min_size=1, max_size=5), wrong=st.permutations(range(6)))
def test_any_history_is_replayed(orders: list[list[int]], wrong: list[int], tmp_path: Path) -> None:
    manifest, corpus = tmp_path / "manifest.jsonl", tmp_path / "corpus.jsonl"
    manifest.unlink(missing_ok=True)
    for order in orders:
        record(manifest, [write(corpus, [ROWS[i] for i in order])])
        assert verify(manifest, [corpus]).ok
    write(corpus, [ROWS[i] for i in wrong])
    assert verify(manifest, [corpus]).ok == (wrong == orders[-1])


def test_other_bytes_of_the_same_json_are_told(manifest: Path, corpus: Path) -> None:
    corpus.write_text(corpus.read_text().replace("\\u00e9", "\\u00E9"))
    assert kinds(verify(manifest, [corpus])) == [("bytes", "")]


def test_who_forges_without_the_key_is_found(signed: Path, pair: Path, tmp_path: Path) -> None:
    ours, public = signed / "manifest.jsonl", [keys.load_public(pair.with_name("k.pub"))]
    corpus, forged = write(tmp_path / "corpus.jsonl", [{"_id": "lie", "text": "lie"}]), tmp_path / "manifest.jsonl"
    record(forged, [corpus])
    assert verify(forged, [corpus]).ok
    assert "a signature is required" in verify(forged, [corpus], Expected(public)).findings[0].what
    forged.unlink()
    keys.generate(tmp_path / "his", tmp_path / "his.pub")
    record(forged, [corpus], key=keys.load_private(tmp_path / "his"))
    assert "signed with another key" in verify(forged, [corpus], Expected(public)).findings[0].what
    # his own generation on top of ours, and our signature under his head
    forged.write_bytes(ours.read_bytes())
    his = keys.load_private(tmp_path / "his")
    with pytest.raises(ManifestError, match="signed with another key"):
        record(forged, [corpus], key=his)
    record(forged, [corpus], key=his, trusted=public)
    assert "generation 4 is signed with another key" in verify(forged, [corpus], Expected(public)).findings[0].what
    lines = forged.read_bytes().splitlines(keepends=True)
    last, good = json.loads(lines[-1]), json.loads(ours.read_bytes().splitlines()[-1])
    last["signature"] = good["signature"]
    forged.write_bytes(b"".join(lines[:-1]) + json.dumps(last, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    assert "wrong signature" in verify(forged, [corpus], Expected(public)).findings[0].what


def test_nobody_signs_for_a_manifest_that_another_made(manifest: Path, corpus: Path, signed: Path, pair: Path) -> None:
    with pytest.raises(ManifestError, match="is not signed, and a signature is required"):
        record(manifest, [corpus], key=keys.load_private(pair))
    before = (signed / "manifest.jsonl").read_bytes()
    with pytest.raises(ManifestError, match="is signed; give the key"):
        record(signed / "manifest.jsonl", [corpus])
    assert (signed / "manifest.jsonl").read_bytes() == before


def test_an_older_manifest_is_told_by_its_generation_or_a_remembered_head(manifest: Path, corpus: Path) -> None:
    old, first = (manifest.read_bytes(), corpus.read_bytes()), of(corpus)
    write(corpus, [*ROWS, {"_id": "d6", "text": "more"}])
    second = of(corpus)
    assert (first.generation, first.new, second.generation, second.added, second.removed) == (1, False, 2, 1, 0)
    for head in (first.head, second.head):
        assert verify(manifest, [corpus], Expected(generation=2, head=head)).ok
    manifest.write_bytes(old[0])
    corpus.write_bytes(old[1])
    assert verify(manifest, [corpus]).ok
    for expected in (Expected(generation=2), Expected(head=second.head)):
        assert "rolled back" in verify(manifest, [corpus], expected).findings[0].what


@pytest.mark.parametrize("cut", ["lines", "bytes", "all"])
def test_a_manifest_that_was_cut_is_told(cut: str, manifest: Path, corpus: Path) -> None:
    data = manifest.read_bytes()
    manifest.write_bytes({"lines": b"".join(data.splitlines(keepends=True)[:-1]), "bytes": data[:-7], "all": b""}[cut])
    assert kinds(verify(manifest, [corpus])) == [("manifest", "")]
    with pytest.raises(ManifestError):
        of(corpus)


def test_what_stays_keeps_its_provenance(manifest: Path, corpus: Path) -> None:
    rows = edited(lambda rows: rows[1].update(text="changed"))
    write(corpus, [rows[-1], *rows[:-1], {"_id": "new", "text": "text", "metadata": {"source": "mallory", "batch": "first"}}])
    record(manifest, [corpus], Provenance(source="example.org", batch="second"))
    with Ledger() as ledger:
        replay(manifest, ledger)
        found = {entry.id: (entry.source, entry.batch, entry.principal) for entry in ledger.entries()}
    assert found["d5"] == ("s1", "first", "ada")  # moved
    assert found["d1"] == found["new"] == ("example.org", "second", None)  # the option wins over what a row claims


def test_encoder_and_settings_are_bound(signed: Path) -> None:
    given = signed / "manifest.jsonl", [signed / "corpus.jsonl"]
    assert verify(*given, encoder="e", settings={"loss": 0.02}).ok
    assert [one.what for one in verify(*given, encoder="f", settings={"loss": 0.5}).findings] == [
        "the encoder is f, recorded is e",
        "loss is 0.5, recorded is 0.02",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "no id"}, "needs a string under '_id'"),
        ({"_id": "d0", "text": "again"}, "which an earlier line has"),
        ({"_id": "x", "text": "t", "metadata": {"source": "a\nb"}}, "document 'x': provenance must be printable"),
        ("{" * 3, "is not JSON"),
        ('{"_id": "x", "text": "honest", "text": "lie"}', "a name is there twice"),
    ],
)
def test_what_cannot_be_recorded_leaves_the_manifest_as_it_was(row: Any, message: str, manifest: Path, corpus: Path) -> None:
    before = manifest.read_bytes()
    corpus.write_text(corpus.read_text() + (row if isinstance(row, str) else json.dumps(row)) + "\n")
    with pytest.raises(InvalidInputError, match=message):
        of(corpus)
    assert manifest.read_bytes() == before
    assert not list(manifest.parent.glob("*.part"))


def test_a_kill_while_writing_leaves_the_old_manifest(manifest: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = manifest.read_bytes()
    write(corpus, ROWS[:3])
    child = os.fork()
    if not child:  # dies when all is written and nothing is in place yet
        monkeypatch.setattr(os, "fsync", lambda _: os._exit(9))
        of(corpus)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert manifest.read_bytes() == before
    assert of(corpus).generation == 2
    assert verify(manifest, [corpus]).ok


def test_a_private_key_is_for_its_owner_and_never_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = os.umask(0)
    try:
        app(["keygen", str(tmp_path / "k"), "--json"], standalone_mode=False)
    finally:
        os.umask(before)
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    secret = keys.load_private(tmp_path / "k").private_bytes_raw().hex()
    assert told["key"] == keys.load_public(tmp_path / "k.pub")
    assert secret not in json.dumps(told)
    with pytest.raises(InvalidInputError, match="is there already"):
        keys.generate(tmp_path / "k", tmp_path / "other.pub")
    (tmp_path / "bad").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InvalidInputError, match="is no private key in PEM") as error:
        keys.load_private(tmp_path / "bad")
    assert "secret" not in str(error.value)
    with pytest.raises(InvalidInputError, match="is no public key in PEM"):
        keys.load_public(tmp_path / "k")


def test_without_cryptography_only_signatures_are_missing(
    signed: Path, manifest: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    assert verify(manifest, [corpus]).ok
    with pytest.raises(InvalidInputError, match=r"pip install 'ragguard-defense\[provenance\]'"):
        keys.generate(tmp_path / "k", tmp_path / "k.pub")
    with pytest.raises(InvalidInputError, match=r"pip install 'ragguard-defense\[provenance\]'"):
        verify(signed / "manifest.jsonl", [signed / "corpus.jsonl"])


def test_the_commands_as_a_user_runs_them(corpus: Path, pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = corpus.with_name("manifest.jsonl")
    line = f"verify {corpus} --manifest {manifest} --key {pair}.pub"
    app(shlex.split(f"manifest {corpus} --out {manifest} --batch b --key {pair} --json"), standalone_mode=False)
    made = json.loads(capsys.readouterr().out)
    assert app(shlex.split(f"{line} --head {made['head']}"), standalone_mode=False) == 0
    assert "6 documents, as recorded in generation 1, signed with" in capsys.readouterr().out
    write(corpus, edited(lambda rows: rows[2].update(text="lie")))
    assert app(shlex.split(f"{line} --json"), standalone_mode=False) == 4
    assert json.loads(capsys.readouterr().out)["findings"][0]["document"] == "d2"
    assert app(shlex.split(line), standalone_mode=False) == 4
    assert "NOT as recorded" in capsys.readouterr().out
