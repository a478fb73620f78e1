from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTS = {
    "haystack_pipeline.py": ("undefended: ['poison', 'ballast']", "guarded:    ['ballast', 'leeway']", "poison: demote"),
    "langchain_retriever.py": ("undefended: ['poison', 'scent']", "guarded:    ['scent', 'dance']", "poison: demote"),
    "quickstart.py": ("undefended: ['history', 'poison']", "guarded:    ['history', 'bridge']", "poison: demote"),
    "sidecar_curl.sh": ('"lost": [\n        "poison"', '"defense": "SourceQuota(limit=1)"', "repeats the query word for word"),
    "operate.sh": (
        "1 quarantined, 0 flagged, 2 admitted of 3 documents",
        "dropped: ['repeats'",
        "Decided again: 1 from texts; none came out otherwise.",
        "Taken out: 2 documents of batch forum: repeats, honest",
        "24 documents, as recorded in generation 3, signed with",
        "24 documents, NOT as recorded in generation 3, signed with",
    ),
    "pgvector_two_workers.py": (
        "worker 1 undefended: ['patina', 'poison'], guarded: ['patina', 'slate'], pieces embedded: 0",
        "worker 2 undefended: ['patina', 'poison'], guarded: ['patina', 'slate'], pieces embedded: 0",
    ),
    "llama_index_query_engine.py": ("undefended: the LLM read ['patina', 'poison']", "guarded: the LLM read ['patina', 'slate']"),
}


def test_every_example_is_listed() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert programs == set(PRINTS)
    assert [path.name for path in EXAMPLES.glob("*.ipynb")] == ["attack_seen.ipynb"]  # run by tests/test_docs.py


@pytest.mark.parametrize("name", PRINTS)
def test_example_runs_and_shows_the_difference(name: str) -> None:
    runs = "bash" if name.endswith(".sh") else sys.executable
    own = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # where `ragguard` is
    done = subprocess.run([runs, str(EXAMPLES / name)], capture_output=True, text=True, timeout=600, env=own)
    assert done.returncode == 0, done.stderr[-3000:]
    for line in PRINTS[name]:
        assert line in done.stdout
