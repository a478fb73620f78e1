"""The review page of a quarantine, and how hostile text is shown to people."""
