"""The demo as a user runs it, small; and what the command line says when it cannot."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ragguard import cli
from ragguard.cli import FAILED, WRONG, app
from ragguard.defenses import CalibratedGuard
from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import load_documents
from ragguard.testing import WordHashEncoder

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "ragguard" / "demo" / "data"


DOCS = ROOT / "docs"
RAGGUARD = [sys.executable, "-c", "from ragguard.cli import main; main()"]
COMMANDS = [module for modules in cli.COMMANDS.values() for module in modules]


def ragguard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAGGUARD, *arguments], capture_output=True, text=True, cwd=ROOT)


def play(line: str) -> None:
    """Run a command in this process, which has imported what is slow to import."""
    app(shlex.split(line), standalone_mode=False)


class Named(WordHashEncoder):
    """Any encoder by its name, where no vector is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_the_demo_shows_before_and_after(tmp_path: Path) -> None:
    done = ragguard("demo", "--questions", "4", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for words in ("ASR@5", "query twice", "fluent lie", "RAGMask", "POISONED", "What was not stopped"):
        assert words in done.stdout
    result = json.loads((tmp_path / "results.json").read_text())
    keys = {"attack", "family", "defense", "k", "asr", "sr", "clean_sr", "ms_per_query"}
    assert all(keys <= set(row) for row in result["rows"])
    assert result["schema"] == 2
    assert len(result["rows"]) == 12
    assert {row["family"] for row in result["rows"]} == {"A", "B"}
    undefended = {row["attack"]: row["asr"] for row in result["rows"] if row["defense"] == "none"}
    assert undefended["query twice"] >= 0.75
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_help_and_version() -> None:
    bare = ragguard()
    assert bare.returncode == 0
    assert bare.stdout == ragguard("--help").stdout
    for words in ("demo", "Exit codes: 0 done", "--install-completion"):
        assert words in bare.stdout
    assert ragguard("--version").stdout.startswith("ragguard 0.")


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_every_command_has_examples_that_can_be_read_and_json(module: Any) -> None:
    name = module.__name__.rpartition(".")[2]
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    for one in getattr(command, "commands", {"": command}).values():
        assert "--json" in {option for param in one.params for option in param.opts}
        assert all(param.help for param in one.params)
    mine = [shlex.split(line)[2:] for line in module.EXAMPLES if line.startswith(f"ragguard {name}")]
    assert mine
    for arguments in mine:
        given, parsed = command, arguments
        if hasattr(command, "commands"):
            given, parsed = command.commands[arguments[0]], arguments[1:]
        given.make_context(name, parsed)  # parses, and runs nothing
    assert f"ragguard {name}" in (DOCS / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("demo", "--questions", "0"),
            "ragguard: Invalid value for '--questions': Input should be greater than or equal to 1 (see ragguard demo --help)",
        ),
        (("dmeo",), "ragguard: No such command 'dmeo'. Did you mean 'demo'? (see ragguard --help)"),
        (("bench", "folder", "--attack", "a"), "ragguard: Missing option '--defense'. (see ragguard bench --help)"),
        (
            ("bench", "f", "--attack", "a", "--defense", "b", "--retriever", "psychic"),
            "'psychic' is not one of 'dense', 'bm25', 'static'.",
        ),
        (
            ("calibrate", "f", "--out", "o", "--max-clean-query-loss", "2"),
            "Invalid value for --max-clean-query-loss: Input should be less than 1, not 2.0.",
        ),
    ],
)
def test_a_wrong_option_ends_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = ragguard(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve", "none.json", "corpus.jsonl"), "ragguard: the guard none.json cannot be read"),
        (("calibrate", "none", "--out", "guard.json", "--json"), "ragguard: none/corpus.jsonl cannot be read"),
    ],
)
def test_what_fails_ends_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = ragguard(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(InvalidInputError, match=f"cannot listen on 127.0.0.1 port {port}: .*; name another with --port"):
            app(["serve", "none.json", "none.jsonl", "--port", port], standalone_mode=False)


def test_the_exit_codes_are_those_of_the_table() -> None:
    from ragguard.cli.ingest import REFUSED
    from ragguard.cli.options import FOUND

    table = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert (FAILED, WRONG, REFUSED, FOUND) == (1, 2, 3, 4)
    for code in (0, FAILED, WRONG, REFUSED, FOUND, 130):
        assert f"\n| {code} | " in table


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ragguard do", {"doctor"}),
        ("ragguard bench --retr", {"--retriever"}),
        ("ragguard bench --retriever b", {"bm25"}),
        ("ragguard bench --attack hot", {"hotflip"}),
        ("ragguard bench --defense ragp", {"ragpart", "ragpart-corpus"}),
    ],
)
def test_the_shell_completes(typed: str, completed: set[str]) -> None:
    words = typed.split(" ")
    asked = {"_RAGGUARD_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(RAGGUARD, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **asked})
    assert set(done.stdout.split()) == completed
    anywhere = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the test may not run below a shell
    told = subprocess.run([*RAGGUARD, "--show-completion", "bash"], capture_output=True, text=True, cwd=ROOT, env=anywhere)
    assert "complete -o default -F _ragguard_completion ragguard" in told.stdout


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six passages, and three questions about them."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "qrels").mkdir()
    for name, count in (("corpus.jsonl", 6), ("queries.jsonl", 3)):
        (folder / name).write_text("\n".join((DEMO / name).read_text().split("\n")[:count]))
    about = [json.loads(line)["_id"] for line in (folder / "queries.jsonl").read_text().split("\n")]
    first = json.loads((folder / "corpus.jsonl").read_text().split("\n")[0])["_id"]
    (folder / "qrels" / "test.tsv").write_text("query\tdocument\tgrade\n" + "".join(f"{one}\t{first}\t1\n" for one in about))
    return folder


def test_json_is_all_there_is_on_stdout(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    play(f"bench {few} --attack query-copy --defense none --queries 2 --documents 1 --top-k 2 --out {out} --cache {out} --json")
    assert json.loads(capsys.readouterr().out) == json.loads((out / "results.json").read_text())
    play(f"ingest {few}/corpus.jsonl --store {tmp_path / 'evidence.db'} --json")
    assert json.loads(capsys.readouterr().out)["documents"] == 6


def test_a_benchmark_that_cannot_run_says_why_at_once(tmp_path: Path) -> None:
    data, out = str(DEMO), str(tmp_path)
    for arguments, message in (
        ((data, "--attack", "query-cop", "--defense", "none"), "did you mean query-copy?"),
        ((data, "--attack", "query-copy", "--defense", "ragpart+ragmusk"), "unknown defense 'ragmusk'; did you mean ragmask"),
        (("no/such/folder", "--attack", "query-copy", "--defense", "none"), "no/such/folder/corpus.jsonl cannot be read"),
    ):
        done = ragguard("bench", *arguments, "--out", out)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_guard_is_calibrated_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "guard.json"
    for name, count in (("corpus.jsonl", 12), ("queries.jsonl", 24)):  # no qrels are needed
        (tmp_path / name).write_text("\n".join((DEMO / name).read_text().split("\n")[:count]))
    line = f"calibrate {tmp_path} --top-k 5 --max-clean-query-loss 0.1 --out {out} --cache {tmp_path}"
    play(line)
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "echo",
        "typical",
        "unit",
        "queries fit the scales",
        "real others set the threshold",
        "Harmed: ",
        "Stops ",
        "At most 10.00% of clean queries",
        f"ragguard serve {out} {tmp_path}/corpus.jsonl",
    ):
        assert words in told
    written = json.loads(out.read_text())
    assert written["calibration"]["k"] == 5
    assert written["settings"]["max_clean_query_loss"] == 0.1
    play(f"{line} --json")
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in ("file", "documents", "k", "derived")} == {
        "file": str(out),
        "documents": 12,
        "k": 5,
        "derived": False,
    }
    guard = CalibratedGuard.load(out, Named(found["encoder"]), load_documents(tmp_path / "corpus.jsonl"))
    assert found["threshold"] == guard.threshold


def test_a_corpus_and_queries_of_ones_own_are_read_as_a_folder_is(tmp_path: Path) -> None:
    from ragguard.evaluation.calibrate import read

    documents, queries = read(str(DEMO), None, None, tmp_path)
    assert queries
    (tmp_path / "queries.txt").write_text("\n".join(["", *queries, queries[0]]))
    rows = [json.loads(line) for line in (DEMO / "corpus.jsonl").read_text().splitlines()]
    texts = [{"text": f"{row.get('title', '')} {row['text']}".strip()} for row in rows] + [{"text": " "}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps(text) for text in texts))
    own, asked = read(None, tmp_path / "corpus.jsonl", tmp_path / "queries.txt", tmp_path)
    assert asked == queries
    assert [document.text for document in own] == [document.text for document in documents]
    assert own[0].id == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a folder in BEIR layout, or --corpus"),
        ((str(DEMO), "--corpus", str(DEMO / "corpus.jsonl")), "give a folder in BEIR layout, or --corpus"),
        (("no/such/folder",), "no/such/folder/corpus.jsonl cannot be read"),
        (("--corpus", "bad.jsonl", "--queries", "few.txt"), "bad.jsonl:2 needs a string under 'text'"),
        ((str(DEMO), "--queries", "few.txt"), "2 different queries are too few"),
    ],
)
def test_a_calibration_that_cannot_be_made_says_why(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.txt").write_text("why\nwhat")
    Path("bad.jsonl").write_text('{"text": "one"}\n{"words": "two"}\n')
    with pytest.raises(InvalidInputError, match=message):
        app(["calibrate", *arguments, "--out", "guard.json", "--cache", str(tmp_path)], standalone_mode=False)
    assert not Path("guard.json").exists()
