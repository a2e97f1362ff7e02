"""Save one small adapter per kind of method with this version, and the logits that it gives.

    python tests/regression/make.py

Run once when a version is released; `test_adapters.py` then loads them with every later version.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import get_peft_model

from alm_prompt import AlmForAudioClassification, __version__, parse_method
from alm_prompt.data.world import TINY_MODEL

HERE = Path(__file__).parent
STACKS = ("coop", "cocoop", "kgcoop+zebra", "palm", "linear_probe", "coop+dept", "coop+sept", "coop+tta")
CLASSES = ["church bell", "hand drum", "police siren"]
OPTIONS = {"coop": {"n_ctx": 2}, "cocoop": {"n_ctx": 2}, "kgcoop": {"n_ctx": 2}}


def audio_features(dim: int) -> torch.Tensor:
    """Two clips' worth of features `[2, dim]` that need no random numbers."""
    return torch.sin(torch.arange(2 * dim, dtype=torch.float32)).reshape(2, dim)


def main() -> None:
    """Write `<version>/<stack>/` with the adapter and `logits.json`."""
    for stack in STACKS:
        parts = stack.split("+")
        options = {f"{part}.{name}": value for part in parts for name, value in OPTIONS.get(part, {}).items()}
        torch.manual_seed(0)
        alm = AlmForAudioClassification.from_pretrained(TINY_MODEL, class_names=CLASSES)
        model = get_peft_model(alm, parse_method(stack, options)).eval()
        folder = HERE / __version__ / stack.replace("+", "-")
        model.save_pretrained(folder)
        with torch.no_grad():
            logits = model(audio_features=audio_features(alm.config.projection_dim)).logits
        (folder / "logits.json").write_text(json.dumps(logits.tolist()) + "\n")
        for beside in ("README.md", "results.json"):
            (folder / beside).unlink()


if __name__ == "__main__":
    main()
