"""Every error that RAGGuard raises on purpose. Each also is the built-in error a caller would expect."""


class RAGGuardError(Exception):
    """Base of all RAGGuard errors."""


class InvalidInputError(RAGGuardError, ValueError):
    """A value the caller passed is unusable; the message names it and says what to do."""


class DuplicateDocumentError(InvalidInputError):
    """A document id is already taken by a document with another text."""


class EncoderError(RAGGuardError, RuntimeError):
    """An encoder raised, or returned vectors of the wrong number, shape, norm, or with values that are not finite."""


class ModelIntegrityError(RAGGuardError, RuntimeError):
    """Model weights are missing or do not have the checksum they must have."""


class ManifestError(RAGGuardError, ValueError):
    """A manifest is damaged or forged, or not the one that was asked for: too old, unsigned, or signed by somebody else."""


class RetrieverError(RAGGuardError, RuntimeError):
    """The wrapped retriever raised, or returned what cannot be judged: no hits, ambiguous ids, nodes without end."""


class DefenseError(RAGGuardError, RuntimeError):
    """A defense raised, or did not account for every candidate. The guard fails closed: nothing unguarded is returned."""


class StoreError(RAGGuardError, OSError):
    """A store of evidence, or a quarantine, cannot be opened, read or written. The guard fails closed."""


class DeadlineExceededError(RAGGuardError, TimeoutError):
    """The query was not answered within the policy's deadline."""
