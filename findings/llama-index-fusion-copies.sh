#!/usr/bin/env bash
# LlamaIndex: reciprocal rank fusion counts copies within one list, so that a text three times in one list beats the first of both.
#
# Expected: rank fusion adds, for each list, 1 / (60 + rank) of a document once; what both lists rank first wins.
# Seen:     nodes are added up by the hash of their text, also within a list. Three nodes of one text at ranks 2 to 4 of one list score
#           .0484, the node that both lists rank first .0333. The three come out as one node, the last of them: whoever looks at the
#           result cannot see that there were copies.
# Matters:  a guard behind fusion sees neither the copies nor their number. Put it in front, on each list, or take copies out first.
# Versions: llama-index-core 0.14.25; seen 2026-12-01, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet llama-index-core==0.14.25
"$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, TextNode


class Listed(BaseRetriever):
    """A retriever that returns a list, best first."""

    def __init__(self, nodes):
        self._nodes = nodes
        super().__init__()

    def _retrieve(self, query_bundle):
        return [NodeWithScore(node=node, score=1 - place / 100) for place, node in enumerate(self._nodes)]


answer = TextNode(id_="answer", text="The bridge opened in 1932.")
copies = [TextNode(id_=f"copy-{number}", text="Bridges are painted every ten years.") for number in (1, 2, 3)]
fusion = QueryFusionRetriever(
    [Listed([answer, *copies]), Listed([answer])],
    llm=MockLLM(),
    num_queries=1,  # the query as it is
    mode="reciprocal_rerank",
    similarity_top_k=4,
    use_async=False,
)
fused = [(hit.node.node_id, round(hit.score, 4)) for hit in fusion.retrieve("When did the bridge open?")]
print("llama-index-core", version("llama-index-core"))
print("lists: [answer, copy-1, copy-2, copy-3] and [answer]")
print("fused:", fused)
as_described = fused == [("copy-3", 0.0484), ("answer", 0.0333)]
print("A good guess: what both lists rank first wins. Described: a text that is three times in one list wins, and comes out once.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
