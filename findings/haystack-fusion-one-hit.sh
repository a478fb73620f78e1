#!/usr/bin/env bash
# Haystack: distribution-based fusion leaves a list whose scores are all equal as it is, so that one BM25 hit beats every other document.
#
# Expected: distribution-based fusion brings the scores of all lists to one scale, so that raw BM25 scores do not decide.
# Seen:     a list with one hit, or with equal scores only, keeps its raw scores. A keyword search with one hit (BM25, 2.02) then beats
#           the best hit of the embeddings (rescaled to 0.70), and so do two copies (1.48). Once the keyword search has a second, worse
#           hit, the same document has 0.67 and is behind.
# Matters:  what is unique in its words, or is copied word for word, is put first by fusion. A guard behind fusion cannot read scores as
#           one scale: use ranks, or judge each list. Upstream: deepset-ai/haystack issue 12507 (before it, such lists got 0).
# Versions: haystack-ai 3.4.1; seen 2026-12-01, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet haystack-ai==3.4.1
HAYSTACK_TELEMETRY_ENABLED=False "$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

from haystack import Document
from haystack.components.joiners import DocumentJoiner
from haystack.document_stores.in_memory import InMemoryDocumentStore

texts = {
    "treatment": ("How drinking water is treated, step by step.", [0.95, 0.31]),
    "filters": ("Sand filters hold back what makes water cloudy.", [0.85, 0.53]),
    "rivers": ("Rivers carry mud after rain.", [0.60, 0.80]),
    "glossary": ("Turbidity: see cloudiness.", [0.45, 0.89]),
    "pipes": ("Old pipes are replaced each summer.", [0.10, 0.99]),
}
copy = Document(id="copy", content=texts["glossary"][0], embedding=[0.04, 1.0])
second = Document(id="minutes", content="The minutes of the meeting in March name turbidity once, among much else.", embedding=[0.05, 1.0])
print("haystack-ai", version("haystack-ai"))
firsts = []
for more in ([], [copy], [second]):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents([Document(id=name, content=text, embedding=vector) for name, (text, vector) in texts.items()] + more)
    dense = store.embedding_retrieval([1.0, 0.0], top_k=4)
    words = store.bm25_retrieval("turbidity", top_k=4)
    fused = DocumentJoiner(join_mode="distribution_based_rank_fusion").run(documents=[dense, words])["documents"]
    for what, hits in (("embeddings", dense), ("words", words), ("fused", fused)):
        print(f"{what}:", [(hit.id, round(float(hit.score), 2)) for hit in hits])
    firsts.append((len(words), fused[0].id, float(fused[0].score) > 1))
as_described = firsts == [(1, "glossary", True), (2, "glossary", True), (2, "treatment", False)]
print("A good guess: fusion brings all lists to one scale. Described: not a list of one hit or of equal scores, which then leads.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
