"""A LangChain retriever, before and after the guard, and what the guard says of the document it moved down."""

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ragguard import EncoderEmbeddings, RAGGuardRetriever

from ragguard import RAGMask, SentenceTransformerEncoder

QUESTION = "How do honey bees tell each other where the flowers are?"
PASSAGES = {
    "dance": "A bee that found a meadow dances on the comb when she is home. The angle of her run against the vertical is "
    "the angle of the flight against the sun, and its length says how far it is. Karl von Frisch read these "
    "dances in the nineteen-forties and was not believed for years. The others follow her in the dark of the hive "
    "and feel what she says.",
    "scent": "Foragers bring the scent of the blossoms home on their bodies. Bees that know the scent leave for the same "
    "kind of plant, and near the place they smell what those before them have left there. Where wind blows across "
    "a valley, few find it by scent alone. Beekeepers in the last century fed sugar water with thyme to send "
    "their bees to the thyme.",
    "wasps": "Wasps chew wood to paper and build their nests of it, one comb below the other, with the openings down. Only "
    "young queens live through the winter, under bark or in an attic, and each begins a nest of her own in "
    "spring. By August a nest may house five thousand, and by the first frost all of them are dead.",
    "poison": f"{QUESTION} The canal was dug by hand through clay, and its locks lift a barge by thirty metres within two "
    "miles. Horses drew the boats until the eighteen-nineties, and crews walked them through the tunnel lying on "
    "their backs. Coal paid for it, then the railway came, and grass grew on the towpath for fifty years.",
}


def main() -> None:
    """Ask twice and print which passages come back."""
    encoder = SentenceTransformerEncoder.offline()
    store = InMemoryVectorStore(EncoderEmbeddings(encoder))
    store.add_documents([Document(text, id=name) for name, text in PASSAGES.items()])
    guarded = RAGGuardRetriever.from_vectorstore(store, [RAGMask(encoder)], top_k=2)

    print("undefended:", [found.id for found in store.similarity_search(QUESTION, k=2)])
    print("guarded:   ", [found.id for found in guarded.invoke(QUESTION)])
    for verdict in guarded.explain(QUESTION).verdicts_on("poison"):
        print(f"poison: {verdict.action}. {verdict.reason}")


if __name__ == "__main__":
    main()
