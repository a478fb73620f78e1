"""Encoders against the offline model in fp32 on torch: how fast they are, how far their vectors lie, and what guards make of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.compare_defenses import CACHE
from benchmarks.latency import milliseconds
from ragguard.defenses import CalibratedGuard, RAGMask
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.sources import with_sources
from ragguard.index import DenseIndex
from ragguard.onnx_encoder import OnnxEncoder
from ragguard.protocols import Defense
from ragguard.store import MemoryStore
from ragguard.types import Hit
