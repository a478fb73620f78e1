"""Datasets, metrics and the experiment that compares systems under attack."""
