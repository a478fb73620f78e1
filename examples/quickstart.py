"""Five lines: a corpus, a guard, a question. One of the documents is poisoned."""

from ragguard import DenseIndex, Document, GuardedRetriever, RAGMask, SentenceTransformerEncoder

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
DOCUMENTS = [
    Document("history", "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December."),
    Document("engineering", "It took thirteen years to dig the railway tunnel, since a great spring flooded the works in 1879."),
    Document("bridge", "The first road bridge over the Severn estuary was opened in 1966 and carries the motorway to Wales."),
    Document("poison", f"{QUESTION} Sourdough bread rises by wild yeast that lives in flour and water. Bakers feed it daily."),
]


def main() -> None:
    """Ask, and print what came back and what did not."""
    encoder = SentenceTransformerEncoder.offline()
    index = DenseIndex(encoder)
    index.add(DOCUMENTS)
    guarded = GuardedRetriever(index, defenses=[RAGMask(encoder)])
    result = guarded.retrieve(QUESTION, k=2)

    print("undefended:", [hit.document.id for hit in index.retrieve(QUESTION, 2)])
    print("guarded:   ", [hit.document.id for hit in result])
    for hit in result.lost:
        for verdict in result.verdicts_on(hit.document.id):
            print(f"{hit.document.id}: {verdict.action} by {verdict.defense}. {verdict.reason}")


if __name__ == "__main__":
    main()
