"""Packaging of alm-prompt. Tool settings live in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Return `__version__` from the source text: importing the package would need its dependencies."""
    source = (ROOT / "alm_prompt" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('alm_prompt/__init__.py: no line of the form __version__ = "..."')
    return match.group(1)


INSTALL_REQUIRES = [
    # torchaudio 2.11 is the last release of torchaudio and must match torch; a torchaudio that cannot be imported
    # also breaks `import transformers`, so both are held to the range in which the pair is known to work.
    "torch>=2.10,<2.12",
    "torchaudio>=2.10,<2.12",
    "transformers>=5.17",
    # Earlier ones save, with an adapter, the tensors of every other one whose name begins with its name.
    "peft>=0.20",
    "accelerate>=1.10",
    "datasets>=4.0",
    "evaluate>=0.4.5",
    "safetensors>=0.8",
    "soundfile>=0.13",
    "scikit-learn>=1.5",
    "numpy>=2.0",
    "pyyaml>=6.0.1",
    "tqdm>=4.66.3",
    "jinja2>=3.1",
    "huggingface-hub>=1.5",
]

EXTRAS_REQUIRE = {
    # Formatting rules move between ruff's minor releases; an open range would fail the check on unchanged code.
    "test": ["pytest>=8.3", "ruff>=0.17,<0.18", "matplotlib>=3.9"],
    "plots": ["matplotlib>=3.9"],
    "docs": ["mkdocs>=1.6,<2"],
    "onnx": ["onnx>=1.20", "onnxscript>=0.7", "onnxruntime>=1.24"],
    "demo": ["gradio>=6.0"],
}

PACKAGE_DATA = [
    "py.typed",
    "assets/**/*",
    "prompts/data/**/*",
    "evaluation/*/*.yaml",
    "hub/*.md",
    "methods/*/*.bib",
]

setup(
    name="alm-prompt",
    version=read_version(),
    description="Prompt learning for audio-language models, as an extension of transformers and peft",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["alm_prompt", "alm_prompt.*"]),
    package_data={"alm_prompt": PACKAGE_DATA},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["alm-prompt = alm_prompt.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
