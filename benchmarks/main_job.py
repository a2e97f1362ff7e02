"""The main job on real audio: base-to-novel accuracy of zero-shot, CoOp and CoOp+ZEBRA with yamnet-minilm.

    python benchmarks/main_job.py --backbone ../shared/backbones/yamnet-minilm \
        --data ../shared/data/esc10 --output benchmarks/results/main_job/esc10
    python benchmarks/main_job.py --backbone ../shared/backbones/yamnet-minilm \
        --data ../shared/data/drums --output benchmarks/results/main_job/drums

`--methods` takes any stacks instead, such as `coop+sept+zebra`.

16 shots per base class (all clips of a class that has fewer in the training folds), 3 seeds, every fold held out in
turn, the published recipe (SGD 0.05, momentum 0.9, 50 epochs, batch 16). Nothing is tuned. A killed run goes on where
it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from yamnet_minilm import open_yamnet_minilm

from alm_prompt import CoOpPromptConfig, ZebraPromptConfig, parse_method, run_benchmark
from alm_prompt.cli.loading import method_settings
from alm_prompt.data import load_clips
from alm_prompt.prompts import shipped_descriptions

WORDS = "This is a sound of"
METHODS = {
    "zero-shot": None,
    "CoOp": CoOpPromptConfig(n_ctx=16),
    "CoOp, words": CoOpPromptConfig(ctx_init=WORDS),
    "CoOp+ZEBRA": ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=16)),
    "CoOp, words+ZEBRA": ZebraPromptConfig(prompt=CoOpPromptConfig(ctx_init=WORDS)),
}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", type=Path, required=True, help="folder of yamnet-minilm")
    parser.add_argument("--data", type=Path, required=True, help="folder with metadata.csv and audio/")
    parser.add_argument("--output", type=Path, required=True, help="folder for rows, summary and table")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), help="those of the main job, or any stack such as coop+sept"
    )
    parser.add_argument("--options", nargs="+", default=[], help="options of methods in stacks: coop.n_ctx=4")
    parser.add_argument("--descriptions", action="store_true", help="read the shipped descriptions, not the names")
    parser.add_argument("--label", help="name of the one method in the table, where options tell it from others")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--bf16", action="store_true", help="train in mixed precision, in a third of the time")
    args = parser.parse_args()
    if args.label and len(args.methods) > 1:
        parser.error(f"--label names one method, and --methods has {len(args.methods)}; run them one by one")
    # One thread: sums then do not depend on the number of cores, and a rerun gives the same rows.
    torch.set_num_threads(1)
    model, processor = open_yamnet_minilm(args.backbone)
    clips = load_clips(args.data)
    if args.descriptions:
        model.set_classes(clips.class_names, descriptions=shipped_descriptions(clips.class_names))
    options = method_settings(args.options)
    precision = {"bf16": True, "use_cpu": True} if args.bf16 else {}
    result = run_benchmark(
        model,
        processor,
        clips,
        {
            args.label or ", ".join([name, *args.options]): METHODS[name]
            if name in METHODS
            else parse_method(name, options)
            for name in args.methods
        },
        seeds=args.seeds,
        allow_fewer=True,
        training_args={"num_train_epochs": args.epochs, "learning_rate": args.learning_rate, **precision},
        output_dir=args.output,
    )
    print(result.markdown(f"Base to novel: {args.data.name}, yamnet-minilm"))


if __name__ == "__main__":
    main()
