"""Telemetry: observers that hand decisions on to OpenTelemetry and Prometheus, without anybody's text."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragguard.telemetry.opentelemetry import OpenTelemetry
    from ragguard.telemetry.prometheus import Prometheus

_HOME = {"OpenTelemetry": "ragguard.telemetry.opentelemetry", "Prometheus": "ragguard.telemetry.prometheus"}

__all__ = ["OpenTelemetry", "Prometheus"]


def __getattr__(name: str) -> object:  # each needs a package of its own
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
