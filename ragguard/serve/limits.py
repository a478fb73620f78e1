"""How much a sidecar takes on, where it is not told otherwise. What a request may hold is in `ragguard.serve.schema`."""

RATE = 100
"""Requests a second from one address. Two cores that were busy otherwise, too, judged 54 of 20 hits with their evidence ready."""

AT_ONCE = 32
"""Requests judged at once: each has a thread, and those that wait for a core only make each other late."""

DEADLINE_S = 30.0
"""Seconds a query may take. On the same cores 20 passages of 110 words whose evidence was not ready took 14."""
