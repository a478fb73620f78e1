"""The demo as a user runs it, small; and what the command line says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
    data, out = str(ROOT / "ragguard" / "demo" / "data"), str(tmp_path)
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
