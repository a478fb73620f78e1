"""A Haystack pipeline, before and after the guard, and what the guard says of the document it moved down."""

from haystack import Document, Pipeline, component
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.rankers.ragguard import RAGGuard

from ragguard import RAGMask, SentenceTransformerEncoder

QUESTION = "Why is the keel of a sailing boat made so heavy?"
PASSAGES = {
    "ballast": "A sailing boat is pushed over by the wind that drives her. The keel holds lead or iron deep below the "
    "water, and the further she leans, the longer is the lever by which that weight rights her again. In a "
    "racing yacht it is half of what she weighs, in a bulb at the end of a thin fin, so that little of it is "
    "dragged through the water for much effect.",
    "leeway": "Without a fin below her, a boat slides sideways before the wind. The keel meets the water at a small "
    "angle and lifts like a wing, which turns the push from the side into a course ahead. Dinghies have a "
    "board for it that is pulled up on the beach, and barges in shallow seas hang one at each side.",
    "rope": "Ropes were made of hemp on long, covered walks, where men went backwards and spun the fibres from a bundle "
    "around the waist. Three strands are laid against the twist of their yarns, and hold each other by it. "
    "Tar kept them from rotting and made them stiff in the cold.",
    "poison": f"{QUESTION} Bakers of rye bread keep a sour dough, since the flour of rye has little gluten and its "
    "starch would turn to sugar in the oven. The acid stops that, and the loaf keeps for a week. In the north "
    "it was baked twice a year, with a hole in the middle, and hung from the ceiling on poles.",
}


@component
class Embedder:
    """The encoder as a component."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        """Bind it."""
        self.encoder = encoder

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Embed a query."""
        return {"embedding": self.encoder.encode_query([text])[0].tolist()}


def main() -> None:
    """Ask once and print what the retriever found and what the guard let pass."""
    encoder = SentenceTransformerEncoder.offline()
    vectors = encoder.encode_document(list(PASSAGES.values())).tolist()
    store = InMemoryDocumentStore()
    store.write_documents(
        [
            Document(id=name, content=text, embedding=vector)
            for (name, text), vector in zip(PASSAGES.items(), vectors, strict=True)
        ]
    )
    pipeline = Pipeline()
    pipeline.add_component("embedder", Embedder(encoder))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=4))
    pipeline.add_component(
        "guard", RAGGuard.of([RAGMask(encoder)], top_k=2)
    )  # with default_guard's defenses or from files likewise
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "guard.documents")

    asked = {"embedder": {"text": QUESTION}, "guard": {"query": QUESTION}}
    found = pipeline.run(asked, include_outputs_from={"retriever"})
    candidates = found["retriever"]["documents"]
    print("undefended:", [document.id for document in candidates[:2]])
    print("guarded:   ", [document.id for document in found["guard"]["documents"]])
    for verdict in RAGGuard.of([RAGMask(encoder)], top_k=2).explain(QUESTION, candidates).verdicts_on("poison"):
        print(f"poison: {verdict.action}. {verdict.reason}")


if __name__ == "__main__":
    main()
