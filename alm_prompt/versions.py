"""Versions of the packages that a result depends on, read without importing them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

TORCH_PAIR = 'pip install "torch>=2.10,<2.12" "torchaudio>=2.10,<2.12"'
PACKAGES = (
    "alm-prompt",
    "torch",
    "torchaudio",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "evaluate",
    "safetensors",
    "soundfile",
    "scikit-learn",
    "numpy",
)


def installed_version(package: str) -> str | None:
    """Version of an installed package, or `None`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_versions() -> dict[str, str]:
    """Versions of Python and of every package that a result depends on."""
    versions = {name: installed_version(name) or "not installed" for name in PACKAGES}
    return {"python": platform.python_version(), **versions}
