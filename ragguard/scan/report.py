"""What a scan looks like to people: one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from ragguard.evaluation.files import write_whole
from ragguard.scan.running import Scan
from ragguard.text.shown import cut, visible


def write_html(path: Path, scan: Scan) -> None:
    """Write a page with what was found, and where in each text. It runs no script, and shows hostile texts as text.

    Args:
        path: Of the page.
        scan: What was found.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("ragguard.scan", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("report.html").render(scan=scan, visible=visible, cut=cut)
    write_whole(path, page.encode("utf-8", "replace").decode())  # hostile texts may hold what no file can
