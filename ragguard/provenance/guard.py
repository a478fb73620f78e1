"""What a manifest records of the guard that a corpus is used with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ragguard.defenses.saved import SavedGuard
from ragguard.provenance.manifest import Setting


def used(guard: Path) -> tuple[str, dict[str, Setting]]:
    """The encoder's fingerprint, the guard's settings, and the hash of its file under `guard`.

    Args:
        guard: What `ragguard calibrate` wrote.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    saved = SavedGuard.read(guard)
    sha256 = hashlib.sha256(guard.read_bytes()).hexdigest()
    return saved.calibration.encoder, {**saved.settings.model_dump(mode="json"), "guard": sha256}
