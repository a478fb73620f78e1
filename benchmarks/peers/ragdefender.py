"""RAGDefender (Kim, Lee & Koo, ACSAC 2025, doi 10.1109/ACSAC67867.2025.00093): the authors' package, with our encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from benchmarks.peers.base import VectorPeer, beyond
from ragguard.defenses.base import Judgement
from ragguard.protocols import Encoder
from ragguard.types import Hit, Vectors

if TYPE_CHECKING:
    from torch import Tensor


class RAGDefender(VectorPeer):
    """Estimates how many of the top k are adversarial, then drops that many of those most similar to others.

    Needs `pip install ragdefender`; written for 0.2.0, with its defaults (p=2, m=5). It judges the passages that a model would
    read, the top k, and does not replace what it drops. Its estimate for single hops is never below one: a cluster of two.
    """

    def __init__(self, encoder: Encoder, *, task_type: Literal["single_hop", "multi_hop"] = "single_hop") -> None:
        """Configure.

        Args:
            encoder: Embeds the candidates, in place of the package's own all-MiniLM-L6-v2.
            task_type: How their number is estimated: by clusters and TF-IDF ("single_hop", for NQ and MS MARCO) or by
                concentration ("multi_hop", for HotpotQA). The package has no default.
        """
        from ragdefender import RAGDefender as Package

        super().__init__(encoder)
        self.name = f"RAGDefender ({task_type})"
        self._package = Package(embedder=_Embedder(self.vectors), task_type=task_type, device="cpu")

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """Ask the package about the top k; a single candidate has nothing to be clustered with and is kept."""
        texts = [hit.document.text for hit in hits[:k]]
        removed = set(self._package.defend(query, texts, return_indices=True)[1]) if len(texts) > 1 else set()
        verdict = f"{len(removed)} of {len(texts)} are taken for adversarial, and this one is {{}}among the most similar."
        return [
            *(
                Judgement(
                    i, hit.score, verdict.format("" if i in removed else "not "), i in removed, suspicion=float(i in removed)
                )
                for i, hit in enumerate(hits[:k])
            ),
            *beyond(hits, k),
        ]


class _Embedder:
    """What the package asks of a SentenceTransformer."""

    def __init__(self, vectors: Callable[[Sequence[str]], Vectors]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str], convert_to_tensor: bool = True) -> Tensor:  # noqa: ARG002
        import torch

        return torch.from_numpy(self._vectors(texts))
