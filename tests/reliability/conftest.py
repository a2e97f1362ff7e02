"""The attacks of `benchmarks/reliability.py` in small; the full counts are measured there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def faults() -> Iterator[Callable[[str], ModuleType]]:
    """A module of `benchmarks/faults`, by name."""
    sys.path.insert(0, str(BENCHMARKS))
    yield lambda name: import_module(f"faults.{name}")
    sys.path.remove(str(BENCHMARKS))
