"""Where documents are from, recorded at ingestion in a manifest that tells every change; what results rest on; and the way back.

Nothing here is read from a text: who writes a document has no say in where it is from.
"""

from ragguard.provenance.history import Expected
from ragguard.provenance.recording import Provenance, Recorded, record
from ragguard.provenance.rolling_back import RolledBack, rollback
from ragguard.provenance.tracing import Influence, Trace, Tracer, recorded
from ragguard.provenance.verifying import Finding, Verification, verify

__all__ = [
    "Expected",
    "Finding",
    "Influence",
    "Provenance",
    "Recorded",
    "RolledBack",
    "Trace",
    "Tracer",
    "Verification",
    "record",
    "recorded",
    "rollback",
    "verify",
]
