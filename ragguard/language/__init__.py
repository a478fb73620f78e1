"""The language of a corpus: a bigram model of it, and what it says of each text."""

from ragguard.language.corpus import CorpusModel
from ragguard.language.reading import Reading

__all__ = ["CorpusModel", "Reading"]
