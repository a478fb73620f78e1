"""Five lines: a corpus, a guard, a question. One of the documents is poisoned."""

from ragguard import DenseIndex, Document, GuardedRetriever, RAGMask, SentenceTransformerEncoder

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
DOCUMENTS = [
    Document(
        "history",
        "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December "
        "of that year. It runs for seven kilometres from Gloucestershire to Wales, and until 2007 no tunnel "
        "of a main line in Britain was longer. Before it was built, travellers left the train, crossed the "
        "estuary on a steam ferry and went on by another train, or took the long way round by Gloucester.",
    ),
    Document(
        "engineering",
        "It took the Great Western Railway thirteen years to dig the tunnel under the river. In 1879 the "
        "workings struck the Great Spring, and water filled them within a day. A diver walked three hundred "
        "metres through the flooded heading to shut a door. Pumps at Sudbrook have lifted the spring's water "
        "ever since, tens of millions of litres of it every day.",
    ),
    Document(
        "bridge",
        "The first road bridge over the Severn estuary was opened in 1966 and carries a motorway. Its deck is "
        "a box of steel with the section of a wing, tested in a wind tunnel, which made it far lighter than "
        "the trusses of earlier suspension bridges. A second bridge downstream, a cable-stayed one, has taken "
        "most of the traffic since 1996.",
    ),
    Document(
        "poison",
        f"{QUESTION} Sourdough bread rises by wild yeast and by bacteria that live in a starter of flour and "
        "water. Bakers feed the starter every day, keep it warm, and hold back a part of it for the next "
        "loaf. A long, cool rise gives the crumb its sour taste and its large holes, and the crust turns dark "
        "and thick in a hot oven.",
    ),
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
