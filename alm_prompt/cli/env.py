"""`alm-prompt env`: the versions and settings that a bug report needs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from .. import __version__
from ..errors import AlmPromptError, first_line
from ..versions import installed_version, installed_versions
from .environment import check_torchaudio

# What changes how things are computed or fetched. No tokens.
VARIABLES = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "WORLD_SIZE")

HELP = """usage: alm-prompt env [--explain ...]

Print the versions and settings that a bug report needs; with --explain, how the text towers compute prompts.
alm-prompt env --explain --help lists the flags of --explain."""


def run(argv: list[str]) -> None:
    """Print one `name: value` line per fact, and the way out where torchaudio cannot be imported.

    With `--explain`, how prompts are computed in its place.
    """
    if "--explain" in argv:
        from .explain import explain

        explain(argv)
        return
    if argv:
        if argv[0] in ("-h", "--help"):
            print(HELP)
            return
        raise AlmPromptError(f"alm-prompt env takes no arguments but those of --explain, got {' '.join(argv)}")
    # A checkout that is run without being installed has a version all the same.
    facts = {"platform": platform.platform(), **installed_versions(), "alm-prompt": __version__}
    facts |= {"huggingface-hub": installed_version("huggingface-hub") or "not installed", "libsndfile": _libsndfile()}
    facts |= {"device": _device(), "cpu threads": str(os.cpu_count()), "cache folder": str(_cache_folder())}
    facts |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    check_torchaudio()


def _device() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported ({first_line(error)})"
    if not torch.cuda.is_available():
        return "cpu"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{', '.join(names)} (CUDA {torch.version.cuda})"


def _libsndfile() -> str:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        return f"cannot be loaded ({first_line(error)})"
    return soundfile.__libsndfile_version__


def _cache_folder() -> Path:
    return Path(os.environ.get("ALM_PROMPT_CACHE") or Path.home() / ".cache" / "alm_prompt")
