"""What results rest on is told, what comes in without it is what comes in without it, and a batch can be taken out."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ragguard import DenseIndex, Document, GuardedRetriever, SourceQuota
from ragguard.cli import app
from ragguard.cli.trace import _show
from ragguard.errors import InvalidInputError, ManifestError
from ragguard.provenance import Expected, Provenance, Tracer, keys, record, recorded, rollback, verify
from ragguard.provenance.tracing import Result, Trace, Without
from ragguard.provenance.undone import journal
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder

DEMO = Path(__file__).parents[1] / "ragguard" / "demo" / "data"
CORPUS = [Document(one.id, one.text, {**one.metadata, "batch": f"b{i % 2}"}) for i, one in enumerate(DOCUMENTS)]


def index(documents: Sequence[Document]) -> DenseIndex:
    made = DenseIndex(WordHashEncoder())
    made.add(documents)
    return made


def ids(hits: Any) -> list[str]:
    return [hit.document.id for hit in hits]


@pytest.mark.parametrize("defenses", [(), (SourceQuota(2),)], ids=["undefended", "quota"])
def test_without_an_origin_is_what_a_corpus_without_it_gives(defenses: tuple[SourceQuota, ...]) -> None:
    traced = Tracer(index(CORPUS), defenses).trace(QUERY, 3)
    whole = index(CORPUS)
    before = ids(GuardedRetriever(whole, defenses).retrieve(QUERY, 3) if defenses else whole.retrieve(QUERY, 3))
    assert [one.document for one in traced.results] == before
    for case in traced.without:
        left = [one for one in CORPUS if (one.id if case.kind == "document" else one.metadata[case.kind]) != case.name]
        fresh = index(left)
        after = ids(GuardedRetriever(fresh, defenses).retrieve(QUERY, 3) if defenses else fresh.retrieve(QUERY, 3))
        assert [one.document for one in case.entering] == [one for one in after if one not in before]
        assert set(case.documents) | set(case.leaving) == set(before) - set(after)
        assert set(case.documents) == set(before) - {one.id for one in left}
    assert {case.kind for case in traced.without} == {"document", "batch", "source"}
    assert len([case for case in traced.without if case.kind == "document"]) == 3


def test_the_influence_of_a_batch_is_counted() -> None:
    queries = [QUERY, "trains to the coast on Sundays", "bees and the sun"]
    tracer, k = Tracer(index(CORPUS)), 2
    found = {one.name: one for one in tracer.influence(queries, k)}
    batches = {one.id: one.metadata["batch"] for one in CORPUS}
    tops = [[batches[name] for name in ids(index(CORPUS).retrieve(query, k))] for query in queries]
    for name, one in found.items():
        assert one.slots == sum(top.count(name) for top in tops)
        assert one.queries == sum(name in top for top in tops)
        assert (one.query_share, one.slot_share) == (one.queries / 3, one.slots / 6)
    assert sum(one.slot_share for one in found.values()) == pytest.approx(1)
    with pytest.raises(InvalidInputError, match="at least one"):
        tracer.influence([])


def row(name: str, text: str, **metadata: str) -> dict[str, Any]:
    return {"_id": name, "text": text, "metadata": metadata}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, and a manifest of two batches; the second is in both files."""
    first = [row(f"a{i}", f"text {i}", source="honest") for i in range(4)], [row("b0", "text")]
    for name, rows in zip(("one.jsonl", "two.jsonl"), first, strict=True):
        (tmp_path / name).write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    record(tmp_path / "manifest.jsonl", files(tmp_path), Provenance(batch="first"))
    planted = row("x0", "lie", source="honest", batch="first", principal="ada"), row("x1", "lie", source="honest")
    lines = (tmp_path / "one.jsonl").read_text().splitlines()
    (tmp_path / "one.jsonl").write_text("\n".join([lines[0], json.dumps(planted[0]), *lines[1:], ""]))
    with (tmp_path / "two.jsonl").open("a") as file:
        file.write(json.dumps(planted[1]))
    record(tmp_path / "manifest.jsonl", files(tmp_path), Provenance("mallory", "second", "eve"))
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [folder / "one.jsonl", folder / "two.jsonl"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_provenance_is_what_was_recorded_and_not_what_a_row_says(folder: Path) -> None:
    two = folder / "two.jsonl"
    two.write_text(
        two.read_text().replace('"b0", "text": "text"', '"b0", "text": "other"') + "\n" + json.dumps(row("new", "t", batch="b"))
    )
    found = {one.id: one.metadata for one in recorded(folder / "manifest.jsonl", files(folder))}
    assert {name: found["x0"][name] for name in ("source", "batch", "principal")} == {
        "source": "mallory",
        "batch": "second",
        "principal": "eve",
    }
    assert (found["a0"]["source"], found["a0"]["batch"]) == ("honest", "first")
    for name in ("b0", "new"):  # changed, and never recorded
        assert not {"source", "batch", "principal"} & found[name].keys()
    with pytest.raises(ManifestError, match="is not signed"):
        recorded(folder / "manifest.jsonl", files(folder), Expected(["0" * 64]))


def test_a_batch_is_taken_out_and_kept(folder: Path) -> None:
    before = contents(folder)
    planned = rollback(folder / "manifest.jsonl", files(folder), "second", dry_run=True)
    assert contents(folder) == before
    assert (planned.documents, planned.left, planned.done, planned.generation) == (("x0", "x1"), 5, False, 2)
    done = rollback(folder / "manifest.jsonl", files(folder), "second")
    assert (done.documents, done.left, done.done, done.generation) == (("x0", "x1"), 5, True, 3)
    found = verify(folder / "manifest.jsonl", files(folder), Expected(generation=3, head=done.head))
    assert (found.ok, found.documents) == (True, 5)
    kept = [json.loads(line) for line in Path(done.removed).read_text().splitlines()]
    assert [one["_id"] for one in kept] == ["x0", "x1"]
    assert kept[0]["text"] == "lie"
    assert sorted(contents(folder)) == ["manifest.jsonl", "manifest.removed-3.jsonl", "one.jsonl", "two.jsonl"]
    with pytest.raises(InvalidInputError, match="there is no batch 'second'; among those that are: 'first'"):
        rollback(folder / "manifest.jsonl", files(folder), "second")
    with (folder / "two.jsonl").open("ab") as file:  # and the way back
        file.write(Path(done.removed).read_bytes())
    assert record(folder / "manifest.jsonl", files(folder)).generation == 4


def test_what_is_not_as_recorded_is_not_rolled_back(folder: Path) -> None:
    given = folder / "manifest.jsonl", files(folder), "second"
    original = (folder / "one.jsonl").read_bytes()
    for changed in (
        original.replace(b"text 2", b"text 9"),
        original.replace(b'"lie"', b'"truth"'),
        original + json.dumps(row("new", "t")).encode(),
        b"".join(original.splitlines(keepends=True)[:-1]),
        b"".join(original.splitlines(keepends=True)[::-1]),
        original.replace(b": ", b":  ", 1),
    ):
        (folder / "one.jsonl").write_bytes(changed)
        before = contents(folder)
        with pytest.raises(ManifestError, match="the corpus is not as recorded"):
            rollback(*given)
        assert contents(folder) == before
    (folder / "one.jsonl").write_bytes(original)
    (folder / "aside").write_text("mine")
    with pytest.raises(InvalidInputError, match="aside is there already"):
        rollback(*given, removed=folder / "aside")


def test_a_signed_manifest_needs_its_key(tmp_path: Path) -> None:
    corpus, manifest = tmp_path / "corpus.jsonl", tmp_path / "manifest.jsonl"
    corpus.write_text(json.dumps(row("x", "lie")))
    keys.generate(tmp_path / "k", tmp_path / "k.pub")
    key = keys.load_private(tmp_path / "k")
    record(manifest, [corpus], Provenance(batch="b"), key=key)
    with pytest.raises(ManifestError, match="is signed; give the key"):
        rollback(manifest, [corpus], "b")
    assert rollback(manifest, [corpus], "b", dry_run=True).documents == ("x",)
    rollback(manifest, [corpus], "b", key=key)
    assert verify(manifest, [corpus], Expected([keys.public_key(key)], generation=2)).ok


def dying(after: int) -> Callable[..., None]:
    """Renames so often, and then ends the process."""
    replace, left = os.replace, iter(range(after))
    return lambda *given: replace(*given) if next(left, None) is not None else os._exit(9)


def test_a_kill_at_any_rename_leaves_all_or_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are nine: four files are written whole, then the journal, then each takes its place."""
    saved, states = contents(folder), list[object]()
    for killed_at in range(10):
        for path in folder.iterdir():
            path.unlink()
        for name, data in saved.items():
            (folder / name).write_bytes(data)
        child = os.fork()
        if not child:
            monkeypatch.setattr(os, "replace", dying(killed_at))
            rollback(folder / "manifest.jsonl", files(folder), "second")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (9 if killed_at < 9 else 0)
        found = verify(folder / "manifest.jsonl", files(folder))
        state: object = "unfinished" if journal(folder / "manifest.jsonl").exists() else found.generation
        states.append(state)
        assert found.ok == (state != "unfinished")
        assert state != "unfinished" or found.findings[0].kind == "unfinished"
        if state != 3:
            if state == "unfinished":
                with pytest.raises(InvalidInputError, match="interrupted"):
                    rollback(folder / "manifest.jsonl", files(folder), "second", dry_run=True)
            assert rollback(folder / "manifest.jsonl", files(folder), "second").finished == (state == "unfinished")
        assert verify(folder / "manifest.jsonl", files(folder), Expected(generation=3)).ok
    assert states == [2] * 5 + ["unfinished"] * 4 + [3]


def test_a_journal_that_somebody_planted_moves_nothing_to_where_he_cannot_write(folder: Path, tmp_path: Path) -> None:
    """He can write beside the manifest, and whoever rolls back can write everywhere."""
    (tmp_path / "home").mkdir()
    mine, his = tmp_path / "home" / "authorized_keys", folder / "his"
    mine.write_text("mine")
    his.write_text("his")
    for planted in ([[str(his), str(mine)]], [str(mine)], [str(folder / ".." / "home" / "authorized_keys")]):
        journal(folder / "manifest.jsonl").write_text(json.dumps(planted))
        try:
            rollback(folder / "manifest.jsonl", files(folder), "second")
        except InvalidInputError:
            journal(folder / "manifest.jsonl").unlink(missing_ok=True)
        assert (mine.read_text(), his.read_text()) == ("mine", "his")


def test_a_link_beside_a_file_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (folder / "manifest.jsonl.next.part").symlink_to(tmp_path / "mine")
    rollback(folder / "manifest.jsonl", files(folder), "second")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_corpus_behind_a_link_is_rolled_back_where_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for path in files(folder):
        path.replace(tmp_path / "data" / f"of-{path.name}")
        path.symlink_to(tmp_path / "data" / f"of-{path.name}")
    rollback(folder / "manifest.jsonl", files(folder), "second")
    assert all(path.is_symlink() for path in files(folder))
    assert not [*folder.glob("*.next"), *(tmp_path / "data").glob("*.next")]
    assert verify(folder / "manifest.jsonl", files(folder), Expected(generation=3)).ok


def test_a_title_moves_nothing_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    entering = (Result("b", 0.5, None, None, None),)
    found = Trace("why\x1b[2J?", 1, (Result("a", 1.0, None, None, None),), (Without("document", "a", ("a",), entering, ()),))
    _show(found, {"b": "\x1b]0;title\x07\n\u202eb"})
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "⟨U+001B⟩]0;title⟨U+0007⟩⟨U+000A⟩" in shown.replace(" ", "").replace("│", "").replace("\n", "")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages of the demo with a poisoned one that came later; recorded."""
    folder = tmp_path_factory.mktemp("planted")
    rows = (DEMO / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    query = json.loads((DEMO / "queries.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    corpus, manifest = folder / "corpus.jsonl", folder / "manifest.jsonl"
    corpus.write_text("\n".join(rows) + "\n")
    record(manifest, [corpus], Provenance("encyclopedia", "dump", "ada"))
    poison = json.dumps({"_id": "poison", "text": f"{query} {query} Bananas."})
    corpus.write_text("\n".join([*rows, poison]) + "\n")
    record(manifest, [corpus], Provenance("mallory", "upload-7", "eve"))
    (folder / "query.txt").write_text(f"{query}\nHow are bridges built?\n")
    return folder


def test_a_poisoned_answer_is_traced_and_its_batch_taken_out(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = (planted / "query.txt").read_text().splitlines()[0]
    given = (
        f"trace {planted} --manifest {planted}/manifest.jsonl --top-k 3 --quota 3 --cache {planted} --query {shlex.quote(query)}"
    )
    app(shlex.split(f"{given} --queries {planted}/query.txt --json"), standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    first = told["trace"]["results"][0]
    assert {name: first[name] for name in ("document", "source", "batch", "principal")} == {
        "document": "poison",
        "source": "mallory",
        "batch": "upload-7",
        "principal": "eve",
    }
    [case] = [one for one in told["trace"]["without"] if (one["kind"], one["name"]) == ("batch", "upload-7")]
    assert (case["documents"], len(case["entering"])) == (["poison"], 1)
    assert {one["name"]: one["slots"] for one in told["influence"]}["dump"] in (4, 5)
    line = f"rollback {planted} --manifest {planted}/manifest.jsonl --batch upload-7"
    app(shlex.split(f"{line} --dry-run"), standalone_mode=False)
    assert "Would be taken out: 1 documents of batch upload-7: poison" in capsys.readouterr().out
    app(shlex.split(line), standalone_mode=False)
    assert "Generation 3" in capsys.readouterr().out
    app(shlex.split(f"{given} --queries {planted}/query.txt"), standalone_mode=False)
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("brought in by", "would be there without", "Influence of each batch", "100.0%"))
    assert all(one["document"] in shown for one in [*told["trace"]["results"][1:], *case["entering"]])
    assert not any(words in shown for words in ("poison", "upload-7"))
