"""Time of the text tower, forward and backward: packed prompts against the plain path, on the CPU.

    OMP_NUM_THREADS=2 python benchmarks/text_packing.py --output benchmarks/results/text_packing.json

The weights are random and frozen, so only cost is measured. "padded" are prompts of 77 tokens, as tokenizers pad them,
"plain" are prompts padded to the longest of them, both through the forward of transformers; "packed" is the fast path.
The three are timed in turns, and the ratios come from the medians of one run. With `--clips 16` every clip has prompts
of its own, as in CoCoOp.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import torch
from measuring import machine, seconds_in_turns
from transformers import BertConfig, CLIPTextConfig, PreTrainedConfig, RobertaConfig

from alm_prompt.models.prompt_layout import layout_prompts
from alm_prompt.models.text_tower import TextTower
from alm_prompt.versions import installed_versions

# Tokens of the class names, over and over: most sounds have names of one or two words.
NAME_TOKENS = (1, 1, 2, 2, 3)
N_CONTEXT = 16
PADDED_LENGTH = 77
TOWERS: dict[str, tuple[PreTrainedConfig, str]] = {
    "CLIP text": (CLIPTextConfig(), "eos"),
    "MiniLM": (
        BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
        "mean",
    ),
    "RoBERTa-base": (
        RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
        "pooler",
    ),
}
PRECISIONS = {"float32": nullcontext, "bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16)}


def variants(tower: TextTower, classes: int, clips: int) -> dict[str, Callable[[], torch.Tensor]]:
    """For each way to encode the prompts, a function that does so and passes gradients to the context."""
    names = [[1000] * NAME_TOKENS[index % len(NAME_TOKENS)] for index in range(classes)]
    layout = layout_prompts([0], names, [[4]] * classes, [2], N_CONTEXT, "end", torch.device("cpu"))
    shape = (N_CONTEXT, tower.hidden_size) if clips == 1 else (clips, 1, N_CONTEXT, tower.hidden_size)
    context = (0.02 * torch.randn(shape)).requires_grad_()
    missing = PADDED_LENGTH - layout.ids.shape[1]

    def run(fast: str, padding: int = 0) -> torch.Tensor:
        tower.fast = fast
        prompts = torch.nn.functional.pad(layout.splice(context, tower.token_embedding), (0, 0, 0, padding))
        mask = torch.nn.functional.pad(layout.mask, (0, padding))
        features = tower(prompts, tower.plan(prompts, mask, layout.shared(context)))
        features.float().square().sum().backward()
        return features.detach()

    ways = {"plain": lambda: run("off"), "packed": lambda: run("auto")}
    # Padded prompts of every clip would take minutes per step and say nothing new.
    return {"padded": lambda: run("off", missing), **ways} if clips == 1 else ways


def measure(tower: TextTower, classes: int, clips: int, precision: str, repeats: int) -> dict[str, float]:
    """Median seconds of every variant, their ratios to the packed one, and how far its features are off."""
    ways = variants(tower, classes, clips)
    with PRECISIONS[precision]():
        features = {name: way() for name, way in ways.items()}
        times = seconds_in_turns(ways, dict.fromkeys(ways, repeats))
    seconds = {name: statistics.median(found) for name, found in times.items()}
    error = (features["packed"] - features["plain"]).abs().max() / features["plain"].abs().max()
    return {
        **{f"{name}_seconds": round(found, 4) for name, found in seconds.items()},
        **{
            f"{name}/packed": round(found / seconds["packed"], 2)
            for name, found in seconds.items()
            if name != "packed"
        },
        "largest_relative_error": float(f"{error:.1e}"),
    }


def main() -> None:
    """Measure what is not in the file yet, and write it there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=list(TOWERS))
    parser.add_argument("--clips", nargs="+", type=int, default=[1])
    parser.add_argument("--classes", nargs="+", type=int, default=[25])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    figures = {"versions": installed_versions(), "machine": machine(), "rows": []}
    if args.output.exists():
        figures["rows"] = json.loads(args.output.read_text())["rows"]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for name, clips, classes, precision in product(args.towers, args.clips, args.classes, args.precisions):
        sizes = {"clips": clips, "classes": classes, "threads": torch.get_num_threads()}
        case = {"tower": name, **sizes, "precision": precision}
        if any(case.items() <= row.items() for row in figures["rows"]):
            continue
        torch.manual_seed(0)
        tower = TextTower(*TOWERS[name]).eval().requires_grad_(False)
        found = measure(tower, classes, clips, precision, args.repeats)
        row = {**case, **found, "repeats": args.repeats, "load": round(os.getloadavg()[0], 1)}
        print(json.dumps(row), flush=True)
        figures["rows"].append(row)
        args.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
