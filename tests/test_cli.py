"""The demo as a user runs it, small; and what the command line says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ragguard.errors import InvalidInputError

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "ragguard" / "demo" / "data"


def ragguard(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ragguard.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


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


def test_help_version_and_wrong_options() -> None:
    assert "demo" in ragguard("--help").stdout
    assert ragguard("--version").stdout.startswith("ragguard 0.")
    wrong = ragguard("demo", "--questions", "0")
    assert wrong.returncode == 2
    assert "--questions" in wrong.stderr


def test_a_benchmark_that_cannot_run_says_why_at_once(tmp_path: Path) -> None:
    data, out = str(DEMO), str(tmp_path)
    for arguments, message in (
        ((data, "--attack", "query-cop", "--defense", "none"), "did you mean query-copy?"),
        ((data, "--attack", "query-copy", "--defense", "ragpart+ragmusk"), "unknown defense 'ragmusk'; did you mean ragmask"),
        ((data, "--attack", "query-copy", "--defense", "none", "--retriever", "psychic"), "retriever"),
        (("no/such/folder", "--attack", "query-copy", "--defense", "none"), "no/such/folder/corpus.jsonl cannot be read"),
    ):
        done = ragguard("bench", *arguments, "--out", out)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_guard_is_calibrated_and_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "guard.json"
    for name in ("corpus.jsonl", "queries.jsonl"):  # no qrels are needed
        (tmp_path / name).write_text("\n".join((DEMO / name).read_text().split("\n")[:40]))
    options = ("--top-k", "5", "--max-clean-query-loss", "0.1", "--out", str(out), "--cache", str(tmp_path))
    done = ragguard("calibrate", str(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    for words in (
        "echo",
        "typical",
        "unit",
        "real queries fit the scales",
        "set the threshold",
        "At most 10.00% of clean queries",
    ):
        assert words in done.stdout
    written = json.loads(out.read_text())
    assert written["calibration"]["k"] == 5
    assert written["settings"]["max_clean_query_loss"] == 0.1


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
        ((str(DEMO), "--max-clean-query-loss", "2"), "max_clean_query_loss"),
    ],
)
def test_a_calibration_that_cannot_be_made_says_why(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragguard.cli import app

    monkeypatch.chdir(tmp_path)
    Path("few.txt").write_text("why\nwhat")
    Path("bad.jsonl").write_text('{"text": "one"}\n{"words": "two"}\n')
    with pytest.raises(InvalidInputError, match=message):
        app(["calibrate", *arguments, "--out", "guard.json", "--cache", str(tmp_path)], standalone_mode=False)
    assert not Path("guard.json").exists()
