"""A scan from files to its report: what `ragguard scan` runs."""

from ragguard.scan.running import Found, Scan, Setting, run
from ragguard.scan.sources import Sources

__all__ = ["Found", "Scan", "Setting", "Sources", "run"]
