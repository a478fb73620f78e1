"""What RAGGuard installs: its packages with their versions and licences, and whether one has a known vulnerability."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any

DISTRIBUTION = "ragguard-defense"
_NAME = re.compile(r"^[A-Za-z0-9._-]+")
COPYLEFT = re.compile(r"\b(?:AGPL|GPL)", re.IGNORECASE)
"""Licences that reach beyond the package itself; the LGPL does not, where it is imported."""


def licences() -> dict[str, dict[str, str]]:
    """Version and licence of every package that a plain install brings in, without extras."""
    found: dict[str, dict[str, str]] = {}
    waiting = [DISTRIBUTION]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        found[name] = {"version": package.version, "licence": _licence(package.metadata)}
        for requirement in package.requires or ():
            if "extra ==" not in requirement and (match := _NAME.match(requirement)):
                waiting.append(match.group())
    return dict(sorted(found.items()))


def _licence(about: Any) -> str:
    classifiers = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier", ()) if one.startswith("License ::")]
    told = about.get("License-Expression") or "; ".join(classifiers) or about.get("License") or "unknown"
    return str(told).split("\n")[0][:100]


def audit(packages: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Ask pip-audit, which asks PyPI's advisory service; says why where it cannot."""
    if find_spec("pip_audit") is None:
        return {"audited": 0, "why_not": "pip-audit is not installed"}
    wanted = "\n".join(f"{name}=={one['version'].partition('+')[0]}" for name, one in packages.items() if name != DISTRIBUTION)
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json", "-r", "/dev/stdin"]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return {"audited": 0, "why_not": f"pip-audit failed: {last[:200]}"}
    asked = [one for one in found if "skip_reason" not in one]
    skipped = [one["skip_reason"] for one in found if "skip_reason" in one]
    known = {one["name"]: [each["id"] for each in one["vulns"]] for one in asked if one["vulns"]}
    return {"audited": len(asked), "not_audited": len(skipped), "why_not": "; ".join(skipped[:1]), "vulnerable": known}


def supply() -> dict[str, Any]:
    """Both."""
    packages = licences()
    copyleft = [name for name, one in packages.items() if COPYLEFT.search(one["licence"]) and "LGPL" not in one["licence"]]
    return {"licences": packages, "copyleft": copyleft, "audit": audit(packages)}
