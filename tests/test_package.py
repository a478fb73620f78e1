from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ragguard

ROOT = Path(__file__).parents[1]


def test_import_is_fast_and_loads_no_model_library() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import ragguard; took = time.perf_counter() - start;"
        "print(took, [m for m in ('torch', 'faiss', 'sentence_transformers', 'numpy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    took, loaded = output.split(" ", 1)
    assert loaded.strip() == "[]"
    assert float(took) < 0.3


def test_every_public_name_is_there() -> None:
    for name in ragguard.__all__:
        assert getattr(ragguard, name).__name__ == name
    assert sorted(ragguard._HOME) == sorted(ragguard.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ragguard.Nothing


def test_bad_input_is_refused_without_assertions_too() -> None:
    command = [sys.executable, "-O", "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "tests" / "test_bad_input.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
