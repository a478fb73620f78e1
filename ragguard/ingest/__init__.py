"""Evidence in bulk: documents are read from files, and what defenses need of them is put into a store ahead of queries.

What is in the store already is passed over, so that an ingestion that was killed goes on where it was. The same files are always
cut into the same blocks, on one machine or with Ray.
"""

from ragguard.ingest.job import Done, Job, Refusal
from ragguard.ingest.plans import plan
from ragguard.ingest.reading import Part, parts
from ragguard.ingest.running import ENGINES, Report, run

__all__ = ["ENGINES", "Done", "Job", "Part", "Refusal", "Report", "parts", "plan", "run"]
