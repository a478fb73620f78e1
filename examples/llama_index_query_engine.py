"""A LlamaIndex query engine, before and after the guard. The mock LLM repeats its prompt, so what it read can be seen."""

from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms.mock import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardRetriever

from ragguard import RAGMask, SentenceTransformerEncoder

QUESTION = "Why do old copper roofs turn green after some years in the open?"
PASSAGES = {
    "patina": "Bright copper turns brown within months and green within decades. In the open, the metal reacts with "
    "water, oxygen, carbon dioxide and the sulphur of the air, and a thin, hard skin of copper salts "
    "forms on the roof, called patina. It keeps the metal below from corroding further, which is why such "
    "roofs last for centuries. Near the sea, chlorides give it a bluer tone.",
    "bronze": "Bronze is an alloy of copper and tin, harder than either of them, and it gave its name to an age. "
    "Smiths cast it in moulds of clay and stone, and traded tin over great distances, since few places "
    "have both ores. Bells are still made of it, with more tin than in tools, because it rings clearly "
    "and long.",
    "slate": "Slate roofs are split from metamorphic rock along planes in which its minerals lie flat. A good roof "
    "of slate lasts for more than a century, longer than its nails. Welsh slate covered much of Europe in "
    "the nineteenth century and was carried from the quarries by narrow railways to the harbours of the "
    "coast.",
    "poison": f"{QUESTION} Marathon runners fill their muscles with glycogen in the days before a race by eating "
    "more bread, rice and pasta than usual. The store lasts for about thirty kilometres, and when it is "
    "gone the pace falls sharply. Drinks with sugar delay that moment, and training teaches the body to "
    "burn more fat at the same speed.",
}


def main() -> None:
    """Ask twice and print which passages the LLM read."""
    encoder = SentenceTransformerEncoder.offline()
    Settings.embed_model, Settings.llm = EncoderEmbedding(encoder), MockLLM()
    index = VectorStoreIndex([TextNode(id_=name, text=text) for name, text in PASSAGES.items()])

    undefended = index.as_query_engine(similarity_top_k=2)
    guarded = RetrieverQueryEngine.from_args(RAGGuardRetriever.from_index(index, [RAGMask(encoder)], top_k=2))

    for name, engine in (("undefended", undefended), ("guarded", guarded)):
        response = engine.query(QUESTION)
        print(f"{name}: the LLM read", [source.node.node_id for source in response.source_nodes])


if __name__ == "__main__":
    main()
