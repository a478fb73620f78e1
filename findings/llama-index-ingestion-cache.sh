#!/usr/bin/env bash
# LlamaIndex: the ingestion pipeline's cache gives one list of nodes what it made of another, with the other's ids.
#
# Expected: two runs on different nodes (other ids, other boundaries, another document) give different nodes.
# Seen:     the cache's key is the hash of all contents joined, without ids and without boundaries. One node "red roses blue violets"
#           gets back the two nodes "red roses " and "blue violets" of an earlier run, under their ids, as parts of their document.
# Matters:  ids and sources are what a guard counts by, releases by and traces back by: after a cached run they are somebody else's.
# Versions: llama-index-core 0.14.25; seen 2026-12-01, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet llama-index-core==0.14.25
"$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode, TransformComponent


class Seen(TransformComponent):
    """Any transformation."""

    def __call__(self, nodes, **_):
        return nodes


def node(name, text, document):
    return TextNode(id_=name, text=text, relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)})


pipeline = IngestionPipeline(transformations=[Seen()], cache=IngestionCache())
pipeline.run(nodes=[node("first-1", "red roses ", "first document"), node("first-2", "blue violets", "first document")])
second = pipeline.run(nodes=[node("second-1", "red roses blue violets", "second document")])
given = [(each.node_id, each.text, each.ref_doc_id) for each in second]
print("llama-index-core", version("llama-index-core"))
print("in:  one node, second-1, of the second document")
print("out:", given)
as_described = given == [("first-1", "red roses ", "first document"), ("first-2", "blue violets", "first document")]
print("A good guess: the node that went in comes out. Described: the nodes of another document, with its ids.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
