"""The parts of provenance, one by one: the only form of a line, keys, the ledger, and what verifying tells."""

from __future__ import annotations

import hashlib
import json
import stat
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from ragguard.errors import InvalidInputError, ManifestError
from ragguard.provenance import Expected, Provenance, keys, ledger, record, verify, verifying
from ragguard.provenance.canonical import digest, dumped
from ragguard.provenance.corpus import File
from ragguard.provenance.ledger import Differing, Ledger, hash_of
from ragguard.provenance.manifest import START, Added, Entry, Head, Record, Removed, Sealed, Signature, parsed, written
from ragguard.provenance.undone import journal

ENTRY = Entry("d1", "a" * 64, "example.org", "batch", None)
HEAD = Head(
    format=1,
    generation=2,
    previous=START,
    time="2026-01-02T03:04:05+00:00",
    changes="b" * 64,
    documents=1,
    corpus="c" * 64,
    files=(File("corpus.jsonl", "d" * 64),),
    encoder=None,
    settings={"loss": 0.02, "caf\u00e9": None, "on": True},
)
RECORDS: list[Record] = [
    Removed("d0"),
    Added(ENTRY, 3),
    Sealed(HEAD, HEAD.hash, None),
    Sealed(HEAD, HEAD.hash, Signature("e" * 64, "f" * 128)),
]


def named(*names: str, batch: str = "b", content: str = "0") -> list[Entry]:
    return [Entry(name, content * 64, None, batch, None) for name in names]


def test_json_has_one_form_and_hashes_have_a_kind() -> None:
    assert dumped({"b": [1, None], "a": "\u00e9 x"}) == b'{"a":"\\u00e9 x","b":[1,null]}'
    assert digest("head", b"x") == hashlib.sha256(b"ragguard manifest 1 head\nx").hexdigest()
    assert digest("head", b"x") != digest("corpus", b"x")


def test_what_a_document_and_a_head_are_named_by_does_not_change() -> None:
    """Signatures of manifests that exist depend on it."""
    said = b'{"batch":"batch","content":"%s","id":"d1","principal":null,"source":"example.org"}' % (b"a" * 64)
    assert ENTRY.hash == hashlib.sha256(b"ragguard manifest 1 document\n" + said).hexdigest()
    said = dumped(json.loads(written(Sealed(HEAD, HEAD.hash, None)))["head"])
    assert said.startswith(b'{"changes":"bbbb')
    assert HEAD.hash == hashlib.sha256(b"ragguard manifest 1 head\n" + said).hexdigest()
    assert replace(HEAD, time="2027").hash != HEAD.hash


@pytest.mark.parametrize("one", RECORDS, ids=lambda one: type(one).__name__)
def test_a_line_is_read_as_it_was_written(one: Record) -> None:
    line = written(one)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parsed(line, "m:1") == one


@pytest.mark.parametrize(
    "line",
    [
        b'{"remove":"d0"}',  # no end
        b'{"remove": "d0"}\n',
        b'{"remove":"d0","more":1}\n',
        b'{"remove":1}\n',
        b'{"remove":"d0"}\n\n',
        b"\n",
        b"",
        b"null\n",
        b'"d0"\n',
        b"\xff\n",
        written(RECORDS[1]).replace(b'"place":3', b'"place":-1'),
        written(RECORDS[1]).replace(b'"place":3', b'"place":3.0'),
        written(RECORDS[1]).replace(b'"place":3', b'"place":"3"'),
        written(RECORDS[2]).replace(b'"format":1', b'"format":2'),
        written(RECORDS[2]).replace(b"b" * 64, b"B" * 64),
    ],
)
def test_any_other_form_of_a_line_is_refused_with_its_place(line: bytes) -> None:
    with pytest.raises(ManifestError, match=r"m\.jsonl:7 is not what a manifest has"):
        parsed(line, "m.jsonl:7")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "k"
    told = keys.generate(path, path.with_name("k.pub"))
    assert told == keys.load_public(path.with_name("k.pub")) == keys.public_key(keys.load_private(path))
    return path


def test_the_files_of_a_pair(pair: Path) -> None:
    assert pair.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert pair.with_name("k.pub").read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    assert stat.S_IMODE(pair.with_name("k.pub").stat().st_mode) & 0o400


def test_no_key_is_written_over_and_none_is_left_alone(pair: Path, tmp_path: Path) -> None:
    before = pair.read_bytes(), pair.with_name("k.pub").read_bytes()
    with pytest.raises(InvalidInputError, match=r"/k is there already"):
        keys.generate(pair, tmp_path / "new.pub")
    with pytest.raises(InvalidInputError, match=r"k\.pub is there already"):
        keys.generate(tmp_path / "new", pair.with_name("k.pub"))
    assert not (tmp_path / "new").exists()
    assert (pair.read_bytes(), pair.with_name("k.pub").read_bytes()) == before
    with pytest.raises(InvalidInputError, match="cannot be written"):
        keys.generate(tmp_path / "missing" / "k", tmp_path / "k.pub")


def test_a_signature_holds_for_one_head_and_one_key(pair: Path, tmp_path: Path) -> None:
    key = keys.load_private(pair)
    public, head = keys.public_key(key), "0a" * 32
    signature = keys.sign(key, head)
    assert keys.is_signed(head, public, signature)
    key.public_key().verify(bytes.fromhex(signature), b"ragguard manifest 1 signature\n" + bytes.fromhex(head))
    other = keys.generate(tmp_path / "o", tmp_path / "o.pub")
    wrong = [("0b" * 32, public, signature), (head, other, signature), (head, public, "00" * 64), (head, public, "00")]
    assert not any(keys.is_signed(*one) for one in [*wrong, (head, "00", signature), (head, public, "no hexadecimal")])


def test_other_keys_are_refused_by_what_they_are(pair: Path, tmp_path: Path) -> None:
    key, form = keys.load_private(pair), (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (tmp_path / "locked").write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(InvalidInputError, match="is encrypted"):
        keys.load_private(tmp_path / "locked")
    curve = generate_private_key(SECP256R1())
    (tmp_path / "ec").write_bytes(curve.private_bytes(*form, serialization.NoEncryption()))
    (tmp_path / "ec.pub").write_bytes(curve.public_key().public_bytes(form[0], serialization.PublicFormat.SubjectPublicKeyInfo))
    for read, name in ((keys.load_private, "ec"), (keys.load_public, "ec.pub")):
        with pytest.raises(InvalidInputError, match=f"{name} is no Ed25519 key"):
            read(tmp_path / name)
        with pytest.raises(InvalidInputError, match="nothing cannot be read: No such file"):
            read(tmp_path / "nothing")


def settled(*steps: Sequence[tuple[Entry, int]]) -> Ledger:
    made = Ledger()
    for step in steps:
        for entry, place in step:
            made.add(entry, place)
        made.settle()
    return made


def ids(made: Ledger) -> list[str]:
    return [one.id for one in made.entries()]


def test_added_documents_take_their_places_and_the_others_keep_their_order() -> None:
    a, b, c, d, e = named("a", "b", "c", "d", "e")
    with settled([(a, 0), (b, 1)], [(c, 0), (d, 2)]) as made:
        assert (ids(made), made.count) == (["c", "a", "d", "b"], 4)
        made.add(e, 4)
        made.settle()
        assert (ids(made), made.count) == (["c", "a", "d", "b", "e"], 5)
        made.settle()  # nothing to do
        assert made.count == 5
    with settled([(a, 0), (b, 1)], [(c, 1)]) as made:
        assert ids(made) == ["a", "c", "b"]


def test_a_removed_document_leaves_a_gap_that_the_next_do_not_fall_into() -> None:
    a, b, c, d, e = named("a", "b", "c", "d", "e")
    with settled([(a, 0), (b, 1), (c, 2)]) as made:
        made.remove("b")
        assert (ids(made), made.count) == (["a", "c"], 2)
        made.add(d, 2)
        made.settle()
        assert ids(made) == ["a", "c", "d"]
        made.remove("a")
        made.remove("c")
        made.remove("d")
        made.add(e, 0)
        made.settle()
        assert (ids(made), made.count) == (["e"], 1)
        with pytest.raises(ManifestError, match="removes the document 'b', which is not there"):
            made.remove("b")
        assert made.count == 1


@pytest.mark.parametrize(
    ("places", "wrong"),
    [
        ((0, 0), "adds two documents at place 0"),
        ((1, 4), "place 4 of 4"),
        ((0, 9), "place 9 of 4"),
    ],
)
def test_places_that_there_cannot_be_are_refused(places: Sequence[int], wrong: str) -> None:
    a, b, c, d = named("a", "b", "c", "d")
    with pytest.raises(ManifestError, match=wrong):
        settled([(a, 0), (b, 1)], [*zip((c, d), places, strict=True)])


def test_an_id_that_is_taken_is_refused() -> None:
    a, b = named("a", "b")
    for place in (0, 2):
        with pytest.raises(ManifestError, match="whose id is taken"):
            settled([(a, 0), (b, 1)], [(a, place)])


def test_entries_can_be_asked_for_by_id_and_batch() -> None:
    first = [Entry("a", "1" * 64, "s", "x", "ada"), Entry("b", "2" * 64, None, "w", None), Entry("c", "3" * 64, None, "x", None)]
    with settled([(one, place) for place, one in enumerate(first)]) as made:
        assert made.entry("a") == first[0]
        assert made.entry("z") is None
        assert list(made.entries()) == first
        assert list(made.entries("x")) == [first[0], first[2]]
        assert list(made.batches()) == ["w", "x"]


def compared(recorded: str, found: str, changed: str = "") -> tuple[Ledger, list[Differing]]:
    """A letter a document; those in `changed` have another content in the files."""
    made = settled([(one, place) for place, one in enumerate(named(*recorded))])
    for place, name in enumerate(found):
        (entry,) = named(name, batch="new", content="1" if name in changed else "0")
        assert made.find(entry, f"f:{place}")
    return made, list(made.differences())


@pytest.mark.parametrize(
    ("recorded", "found", "changed", "expected"),
    [
        ("abcd", "abcd", "", ""),
        ("abcd", "abcd", "c", "changed c f:2"),
        ("abcd", "abd", "", "missing c "),
        ("abcd", "xabcd", "", "added x f:0"),
        ("abcd", "bcda", "", "moved a f:3"),
        ("abcd", "dabc", "", "moved d f:0"),
        ("abcdef", "acbdfe", "", "moved c f:1, moved f f:4"),
        ("abcde", "edcba", "", "moved e f:0, moved d f:1, moved c f:2, moved b f:3"),
        ("abcdefgh", "aefgbcdh", "", "moved e f:1, moved f f:2, moved g f:3"),
        ("abc", "cx", "c", "changed c f:0, added x f:1, missing a , missing b "),
        ("", "a", "", "added a f:0"),
        ("ab", "", "", "missing a , missing b "),
    ],
)
def test_the_least_that_differs_is_told(recorded: str, found: str, changed: str, expected: str) -> None:
    made, told = compared(recorded, found, changed)
    assert ", ".join(f"{one.kind} {one.id} {one.place}" for one in told) == expected
    assert made.found == len(found)
    assert [one.id for one in made.found_entries()] == list(found)
    made.__exit__(None, None, None)
    with pytest.raises(Exception, match="closed"):
        made.entry("a")


@pytest.mark.parametrize(("recorded", "found", "changed"), [("abcdef", "fxacbe", "a"), ("abc", "abc", ""), ("ab", "", "")])
def test_removals_and_additions_make_the_next_generation(recorded: str, found: str, changed: str) -> None:
    made, _ = compared(recorded, found, changed)
    expected, removals, additions = list(made.found_entries()), list(made.removals()), list(made.additions())
    with settled([(one, place) for place, one in enumerate(named(*recorded))]) as after:
        for name in removals:
            after.remove(name)
        for entry, place in additions:
            after.add(entry, place)
        after.settle()
        assert list(after.entries()) == expected
    assert {one.id for one in expected if one.batch == "b"} == set(recorded) & set(found) - set(changed)
    made.__exit__(None, None, None)


def test_a_second_document_of_an_id_is_not_found() -> None:
    with settled([(named("a")[0], 0)]) as made:
        assert [made.find(one, "f") for one in named("a", "a", "b")] == [True, False, True]
        assert made.found == 2


def test_the_hash_of_a_corpus_depends_on_entries_and_order() -> None:
    a, b = named("a", "b")
    expected = hashlib.sha256(b"ragguard manifest 1 corpus\n" + bytes.fromhex(a.hash) + bytes.fromhex(b.hash)).hexdigest()
    assert hash_of([a, b]) == expected
    assert len({hash_of(one) for one in ([a, b], [b, a], [a], [])}) == 4


@pytest.mark.parametrize("values", [[], [5], [1, 2, 3], [3, 2, 1], [2, 0, 1, 4, 3], [3, 1, 4, 0, 5, 9, 2, 6]])
def test_a_longest_rise(values: list[int]) -> None:
    chosen = ledger._longest_rise(array("q", values))
    rise = [value for value, one in zip(values, chosen, strict=True) if one]
    longest = [1] * len(values)
    for i in range(len(values)):
        longest[i] = max((longest[j] + 1 for j in range(i) if values[j] < values[i]), default=1)
    assert rise == sorted(rise)
    assert len(rise) == max(longest, default=0)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"_id": f"d{i}", "text": f"text {i}"} for i in range(count)]


def recorded(folder: Path, count: int = 6, **options: Any) -> tuple[Path, Path]:
    corpus, manifest = folder / "corpus.jsonl", folder / "manifest.jsonl"
    corpus.write_text("".join(f"{json.dumps(row)}\n" for row in rows(count)))
    record(manifest, [corpus], Provenance(batch="b"), **options)
    return manifest, corpus


def test_what_verifying_says_of_a_corpus_as_recorded(pair: Path, tmp_path: Path) -> None:
    key = keys.load_private(pair)
    manifest, corpus = recorded(tmp_path, key=key)
    found = verify(manifest, [corpus])
    head = json.loads(manifest.read_bytes().splitlines()[-1])["hash"]
    assert found == verifying.Verification(True, (), 0, 6, 1, head, keys.public_key(key))
    manifest.write_bytes(b"")
    lost = verify(manifest, [corpus])
    assert (lost.ok, lost.found, lost.documents, lost.generation, lost.head, lost.key) == (False, 1, 0, 0, "", None)
    assert [(one.kind, one.document, one.place) for one in lost.findings] == [("manifest", "", "")]
    assert str(manifest) in lost.findings[0].what


def test_what_is_expected_of_a_manifest_is_asked_of_it(pair: Path, tmp_path: Path) -> None:
    manifest, corpus = recorded(tmp_path)
    public = keys.load_public(pair.with_name("k.pub"))
    for expected, said in ((Expected([public]), "a signature is required"), (Expected(generation=2), "rolled back")):
        (found,) = verify(manifest, [corpus], expected).findings
        assert said in found.what
    assert verify(manifest, [corpus], Expected(generation=1)).ok


def test_every_kind_of_finding_by_its_words(tmp_path: Path) -> None:
    manifest, corpus = recorded(tmp_path)
    made = rows(6)
    made[1]["text"] = "lie"
    lines = [json.dumps(row) for row in (made[0], made[1], made[3], made[3], made[5], made[4], {"_id": "x", "text": "x"})]
    corpus.write_text("\n".join([*lines[:4], "{", *lines[4:], ""]))
    told = [
        (one.kind, one.document, one.place.removeprefix(str(corpus)), one.what) for one in verify(manifest, [corpus]).findings
    ]
    assert told[1][:3] == ("unreadable", "", ":5")
    assert told[1][3].startswith("is not JSON")
    assert [told[0], *told[2:]] == [
        ("twice", "d3", ":4", "its id is that of an earlier document"),
        ("changed", "d1", ":2", "its text, title or metadata is not what was recorded"),
        ("moved", "d5", ":6", "stands at another place than recorded"),
        ("added", "x", ":8", "is in no generation"),
        ("missing", "d2", "", "was recorded, and is in no file"),
    ]


def test_a_report_has_a_thousand_findings_and_the_number_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, corpus = recorded(tmp_path)
    corpus.write_text("")
    monkeypatch.setattr(verifying, "TOLD", 4)
    heard: list[verifying.Finding] = []
    found = verify(manifest, [corpus], told=heard.append)
    assert (found.ok, len(found.findings), found.found, len(heard)) == (False, 4, 6, 6)
    assert tuple(heard[:4]) == found.findings


def test_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, corpus = recorded(tmp_path)
    monkeypatch.setattr(verifying, "EVERY", 2)
    steps: list[int] = []
    verify(manifest, [corpus], step=steps.append)
    assert steps == [2, 4, 6]


def test_an_interrupted_rollback_is_told(tmp_path: Path) -> None:
    manifest, corpus = recorded(tmp_path)
    journal(manifest).write_text("{}")
    (found,) = verify(manifest, [corpus]).findings
    assert (found.kind, found.document, found.place) == ("unfinished", "", str(journal(manifest)))
    assert found.what == "a rollback was interrupted: run ragguard rollback again, which ends it"


def test_settings_are_compared_where_they_are_given(tmp_path: Path) -> None:
    given = recorded(tmp_path, encoder="e", settings={"a": 1, "b": "x"})
    ask = (given[0], [given[1]])
    assert verify(*ask).ok
    assert verify(*ask, encoder="e").ok
    assert verify(*ask, settings={"b": "x", "a": 1}).ok
    assert verify(*ask, encoder="f", settings={"a": 2, "c": None}).findings == (
        verifying.Finding("settings", "", "", "the encoder is f, recorded is e"),
        verifying.Finding("settings", "", "", "a is 2, recorded is 1"),
        verifying.Finding("settings", "", "", "b is None, recorded is 'x'"),
    )
    (tmp_path / "none").mkdir()
    manifest, corpus = recorded(tmp_path / "none")
    (found,) = verify(manifest, [corpus], encoder="e").findings
    assert found.what == "the encoder is e, recorded is none"


def test_files_that_were_renamed_split_or_rewritten_are_told_by_name(tmp_path: Path) -> None:
    manifest, corpus = recorded(tmp_path)
    text = corpus.read_text()
    corpus.write_text(text.replace('", "', '",  "'))
    (found,) = verify(manifest, [corpus]).findings
    assert (found.kind, found.document, found.place) == ("bytes", "", str(corpus))
    assert found.what.startswith("every document reads as recorded, but the bytes, names or number of the files are not")
    lines = text.splitlines(keepends=True)
    corpus.write_text("".join(lines[:3]))
    (tmp_path / "rest.jsonl").write_text("".join(lines[3:]))
    (found,) = verify(manifest, [corpus, tmp_path / "rest.jsonl"]).findings
    assert (found.kind, found.place) == ("bytes", str(corpus))
    corpus.write_text(text)
    (tmp_path / "rest.jsonl").write_text("")
    (found,) = verify(manifest, [corpus, tmp_path / "rest.jsonl"]).findings
    assert (found.kind, found.place) == ("bytes", f"{corpus}, {tmp_path / 'rest.jsonl'}")
