"""A calibrated guard as a file: settings and calibration, so that a service starts without calibrating again."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragguard import calibration as calibrations
from ragguard.calibration import Calibration
from ragguard.errors import InvalidInputError

FORMAT = 2
"""Of the file; the calibration in it has a version of its own."""

Policy: TypeAlias = Literal["drop", "sanitise", "demote", "flag", "raise"]
"""What is done with a suspicious document. `drop`: never return it. `sanitise`: take out what is suspicious and rank by what is
left. `demote`: rank it behind all others. `flag`: only say so. `raise`: refuse the query."""


class CalibratedGuardSettings(BaseModel):
    """Settings of the calibrated guard.

    Attributes:
        max_clean_query_loss: Share of clean queries that may lose a document. 2 %: the least that 49 queries can calibrate.
        policy: What is done with a suspicious document.
        confident: Hold the share with 95 % confidence instead of on average; needs 149 calibration queries at 2 %.
        poisoned: Share of the calibration queries that may themselves have met poison.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_clean_query_loss: float = Field(default=0.02, gt=0, lt=1)
    policy: Policy = "drop"
    confident: bool = False
    poisoned: float = Field(default=0.0, ge=0, lt=1)


class SavedGuard(BaseModel):
    """What is written.

    Attributes:
        format: Of the file.
        settings: Of the guard.
        calibration: Its scales and threshold, and what they are bound to: encoder, signals, k and corpus.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    settings: CalibratedGuardSettings
    calibration: Calibration

    @model_validator(mode="after")
    def _in_order(self) -> SavedGuard:
        for name, numbers in (
            ("the calibration", self.calibration.maxima),
            *((n, s.maxima) for n, s in self.calibration.scales.items()),
        ):
            if not np.isfinite(numbers).all() or any(a > b for a, b in pairwise(numbers)):
                raise ValueError(f"the maxima of {name} must be finite and ascend")
        if not all(np.isfinite([scale.typical, scale.unit]).all() for scale in self.calibration.scales.values()):
            raise ValueError("scales must be finite")
        return self

    def write(self, path: Path) -> None:
        """Write as JSON, with a digest; the file appears whole or not at all.

        Raises:
            InvalidInputError: If it cannot be written.
        """
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = json.loads(self.model_dump_json())
            part.write_text(json.dumps({**content, "digest": digest(content)}, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise InvalidInputError(f"the guard {path} cannot be written: {error}") from error

    @classmethod
    def read(cls, path: Path) -> SavedGuard:
        """Read what `write` wrote.

        Raises:
            InvalidInputError: If the file is missing, damaged, or of another version.
        """
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise InvalidInputError(f"the guard {path} cannot be read: {error}; make one: ragguard calibrate") from error
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{path} is damaged; calibrate again: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("calibration"), dict):
            raise InvalidInputError(f"{path} is no saved guard; make one: ragguard calibrate")
        versions = content.get("format"), content["calibration"].get("version")
        if versions != (FORMAT, calibrations.VERSION):
            raise InvalidInputError(
                f"{path} has format and version {versions}, this is {(FORMAT, calibrations.VERSION)}; calibrate again"
            )
        if content.pop("digest", None) != digest(content):
            raise InvalidInputError(f"{path} is damaged; calibrate again: its digest is not that of what it says")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InvalidInputError(f"{path} is damaged; calibrate again: {error}") from error


def digest(content: dict[str, Any]) -> str:
    """Of what a file says without its digest: a flipped bit in a number would be another threshold. No signature."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
