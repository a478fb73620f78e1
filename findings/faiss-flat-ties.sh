#!/usr/bin/env bash
# FAISS, flat index: which of several equal vectors comes first depends on k, and on the metric.
#
# Expected: an exact search is a sorted list: the first of k=5 is the hit of k=1, and equal vectors come in one order for every metric.
# Seen:     by inner product, three equal vectors at places 10, 40 and 70 come back as 70, 40, 10, but k=1 gives 10 and k=2 gives 40, 10:
#           the oldest are kept, the newest of those kept is first. By L2, on the same unit vectors, they come as 10, 40, 70.
# Matters:  whoever asks for more than k, judges, and cuts to k gets another first document than whoever asks for k. Break ties
#           yourself (by id, say), and do not take the first of a list for the oldest.
# Versions: faiss-cpu 1.15.1, numpy 2.4.6; seen 2026-12-01 on x86-64, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import faiss
import numpy as np

generator = np.random.default_rng(0)
vectors = generator.normal(size=(100, 64))
vectors[[40, 70]] = vectors[10]
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
print(f"faiss-cpu {version('faiss-cpu')}, numpy {version('numpy')}; vectors 10, 40 and 70 are equal, and are the query")
found = {}
for name, kind in (("inner product", faiss.IndexFlatIP), ("L2", faiss.IndexFlatL2)):
    index = kind(64)
    index.add(vectors)
    for k in (1, 2, 3, 5):
        scores, places = index.search(vectors[10:11], k)
        found[name, k] = places[0, :3].tolist()
        print(f"{name}, k={k}: {found[name, k]}, {len(set(scores[0, :3].tolist()))} different score(s) among them")
as_described = found == {
    ("inner product", 1): [10],
    ("inner product", 2): [40, 10],
    ("inner product", 3): [70, 40, 10],
    ("inner product", 5): [70, 40, 10],
    ("L2", 1): [10],
    ("L2", 2): [10, 40],
    ("L2", 3): [10, 40, 70],
    ("L2", 5): [10, 40, 70],
}
print("A good guess: the first of k=5 is the hit of k=1. Described: among equal vectors it is another, by inner product.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
