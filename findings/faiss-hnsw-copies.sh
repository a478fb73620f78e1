#!/usr/bin/env bash
# FAISS, HNSW: copies that are added in a row cost queries about something else their best hit, however wide the search is.
#
# Expected: 1,000 copies of one vector, appended to 5,000 others, change nothing for queries whose best hit is elsewhere; and a
#           search that may visit as many candidates as there are vectors (efSearch above their number) is exact.
# Seen:     with exact copies at the end, 7 (M=16) and 19 (M=32) of 100 such queries miss their best hit, at efSearch 64, 1,024 and
#           6,000 alike. Without the copies none does.
# Matters:  whoever can add many copies of one text takes honest documents out of an index that nobody looks at, unseen by any guard
#           that judges what was retrieved. Count copies before they are added; compare with an exact search now and then.
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

WIDTHS = (64, 1024, 6000)
generator = np.random.default_rng(0)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


documents = unit(generator.normal(size=(5000, 64)))
queries = unit(documents[generator.choice(5000, 100, replace=False)] + 0.5 * unit(generator.normal(size=(100, 64))))
copies = np.repeat(unit(generator.normal(size=(1, 64))), 1000, axis=0)
every = np.concatenate([documents, copies])
exact = faiss.IndexFlatIP(64)
exact.add(every)
best = exact.search(queries, 1)[0][:, 0]  # none of them is a copy's
print(f"faiss-cpu {version('faiss-cpu')}, numpy {version('numpy')}; queries nearest to a copy: {(exact.search(queries, 1)[1] >= 5000).sum()}")

missed = {}
for links in (16, 32):
    for added in ("without copies", "with copies"):
        index = faiss.IndexHNSWFlat(64, links, faiss.METRIC_INNER_PRODUCT)
        index.add(documents)
        if added == "with copies":
            index.add(copies)
        for width in WIDTHS:
            index.hnsw.efSearch = width
            nearest = index.search(queries, 1)[0][:, 0]
            missed[links, added, width] = int((nearest < best - 1e-5).sum())
        print(f"M={links}, {added}: of 100 queries miss their best hit at efSearch {WIDTHS}:", [missed[links, added, width] for width in WIDTHS])

as_described = all(
    missed[links, "with copies", width] >= 3 and missed[links, "without copies", 1024] == 0 for links in (16, 32) for width in WIDTHS
)
print("A good guess: a wider search finds what a narrow one misses. Described: not what links to copies have displaced.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
