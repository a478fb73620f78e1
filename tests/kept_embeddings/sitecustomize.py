"""Python loads this at its start, in the processes that tests start."""

import kept_embeddings  # noqa: F401
