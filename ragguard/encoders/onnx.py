"""A sentence-transformers model whose transformer runs on ONNX Runtime, in fp32 or int8: faster on a CPU."""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.errors import EncoderError, InvalidInputError

try:
    import onnx
    import onnxruntime
except ImportError as error:
    raise ImportError("OnnxEncoder needs ONNX Runtime: pip install 'ragguard-defense[onnx]'") from error

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OPSET = 17
"""Of the exported graph: the first with layer normalisation as one operator."""

AGREES: dict[str, float] = {"fp32": 0.9999, "int8": 0.95}
"""Least cosine to the model's own vectors. 500 passages by all-MiniLM-L6-v2 have 1.0000 and .984 (`benchmarks.encoders`); what
has less was traced wrongly, or does not survive int8."""

PROBES = ("Water.", "How tall is the tower?", "The tower is 300 metres tall, " * 20)
"""Texts of different lengths on which that is checked."""

PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Says that the graph was simplified ahead, or the root logger advises it; that takes 2 s, and the session does it anyway."""


class OnnxEncoder(SentenceTransformerEncoder):
    """Any sentence-transformers model on a transformer, run by ONNX Runtime on the CPU; otherwise as its base class.

    The graph is made from the loaded weights, anew each time, and checked against them: none is kept on disk, where anyone could
    change it. That takes three seconds for all-MiniLM-L6-v2, seven for int8. Tokenisation, pooling, and what follows are
    the model's own modules. Each text runs by itself, since int8 scales activations by all that runs together: so a text's vector
    does not depend on its company, which an attacker may have written. `model` stays the torch model, for its gradients.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        precision: Literal["fp32", "int8"] = "int8",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> None:
        """Load a model and make its graph.

        Args:
            model: Name on the Hugging Face hub, path of a folder, or a loaded model (which is then changed: it moves to the CPU,
                in fp32, and special tokens in texts stay text from now on).
            precision: "int8" quantises the weights of matrix products by column, to seven bits, and activations as they come.
            batch_size: Texts tokenised together, after which another thread has its turn; None takes 16.
            progress: Whether work of over two seconds shows a progress bar (on stderr).

        Raises:
            InvalidInputError: If `batch_size` is below 1 or `precision` is unknown.
            EncoderError: If the model cannot be loaded or exported, or its graph gives other vectors.
        """
        if precision not in AGREES:
            raise InvalidInputError(f"precision must be 'fp32' or 'int8', not {precision!r}")
        super().__init__(model, device="cpu", batch_size=batch_size, progress=progress)
        torch_vectors = self.encode_document(PROBES)
        self._runs = _on_onnx(self._model, precision)
        self._together = None  # texts run one by one, and threads side by side
        self._name = f"{self._name.removesuffix('float32')}onnx-{precision}"
        cosine = float((torch_vectors * self.encode_document(PROBES)).sum(axis=1).min())
        if not cosine >= AGREES[precision]:
            raise EncoderError(f"{self._name}: cosine {cosine:.4f} to the model's own vectors; it needs {AGREES[precision]}")

    @classmethod
    def offline(  # type: ignore[override]
        cls, *, precision: Literal["fp32", "int8"] = "int8", batch_size: int | None = None, progress: bool = True
    ) -> OnnxEncoder:
        """Make it from all-MiniLM-L6-v2 of the extra `offline`, without network, after checking its weights' sha256.

        Raises:
            ModelIntegrityError: If the extra is not installed or its weights are not the original ones.
        """
        return cls(offline_model_path(), precision=precision, batch_size=batch_size, progress=progress)


def _on_onnx(model: SentenceTransformer, precision: str) -> SentenceTransformer:
    """A copy of a model, with a session in place of its transformer and everything around it as it was."""
    first: Any = model[0]
    hidden = {"method": "forward", "method_output_name": "last_hidden_state"}
    if getattr(first, "modality_config", {}).get("text") != hidden:
        raise EncoderError(f"OnnxEncoder runs models whose first module is a transformer that gives its last layer, not {first}")
    transformer = first.auto_model
    with tempfile.TemporaryDirectory() as folder:  # which nobody else may enter
        graph = Path(folder) / "fp32.onnx"
        _export(transformer, graph)
        if precision == "int8":
            graph = _quantised(graph)
        session = _Session(graph, transformer.config)
    return copy.deepcopy(model, {id(transformer): session})  # copies what is around the transformer, and the session in its place


class _Session(torch.nn.Module):
    """Stands in for a transformer."""

    def __init__(self, graph: Path, config: object) -> None:
        super().__init__()
        self.config = config
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> BaseModelOutput:
        """Run texts one by one, without padding, whose vectors stay zero."""
        rows = []
        for ids, mask in zip(input_ids.numpy(), attention_mask.numpy().astype(bool), strict=True):
            (hidden,) = self._session.run(None, {"input_ids": ids[None, mask]})
            row = np.zeros((len(ids), hidden.shape[-1]), dtype=np.float32)
            row[mask] = hidden[0]
            rows.append(row)
        return BaseModelOutput(last_hidden_state=torch.from_numpy(np.stack(rows)))


class _Hidden(torch.nn.Module):
    """A transformer from the ids of one text to the vectors of its last layer."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self._transformer = transformer

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._transformer(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).last_hidden_state
        return hidden


def _export(transformer: torch.nn.Module, graph: Path) -> None:
    """Write the graph of a transformer.

    By torch's older exporter: the newer takes 11 s for all-MiniLM-L6-v2 instead of 3, and one more package, for the same vectors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may depend on the traced text: the vectors of others are compared
            torch.onnx.export(
                _Hidden(transformer).eval(),
                (torch.arange(1, 9)[None],),
                graph,
                input_names=["input_ids"],
                output_names=["hidden"],
                dynamic_axes={"input_ids": {1: "tokens"}, "hidden": {1: "tokens"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise EncoderError(f"{type(transformer).__name__} cannot be exported to ONNX: {error}") from error


def _quantised(graph: Path) -> Path:
    """The same with weights of int8.

    One scale for each column of the weights: with one for all, the mean cosine falls from .993 to .952 (60 passages of nq_dev).
    They have seven bits, which costs nothing measurable: products of eight overflow the 16 bits in which processors without VNNI
    add them, so that vectors would depend on the processor. To leave the products after the activations in fp32 gives .996 for a
    quarter of the speed; no verdict of the guard changes as it is (`benchmarks.encoders`).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(graph)
    onnx.helper.set_model_props(model, PREPARED)
    quantised = graph.with_name("int8.onnx")
    quantize_dynamic(model, quantised, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    return quantised
