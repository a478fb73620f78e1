"""Benchmarks: each module measures one claim and returns what `benchmarks.run` writes to `benchmarks/results`."""
