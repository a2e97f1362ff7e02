"""What CoOp gains on trained classes and costs on others, and what ZEBRA gives back: the base-to-novel protocol.

python examples/zebra_base_to_novel.py
python examples/zebra_base_to_novel.py --data my-sounds --model laion/clap-htsat-unfused --output_dir runs/zebra
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from alm_prompt import CoOpPromptConfig, ZebraPromptConfig, run_benchmark
from alm_prompt.evaluation import markdown_table, open_task


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds, one run each."})
    num_train_epochs: float = field(default=50.0, metadata={"help": "Passes over the training clips."})
    words: str = field(default="this is a sound of", metadata={"help": "Words that one of the contexts starts from."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})
    output_dir: str = field(default="runs/zebra", metadata={"help": "Rows and table; a killed run goes on from them."})


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    methods = {
        "zero-shot": None,
        "CoOp": CoOpPromptConfig(n_ctx=16),
        "CoOp, from words": CoOpPromptConfig(ctx_init=args.words),
        "CoOp+ZEBRA": ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=16)),
    }
    # Base classes are the first half of the alphabet; the others are never trained on. Nothing is tuned on test clips.
    result = run_benchmark(
        *open_task(args.model, args.data, args.clips_per_class),
        methods,
        seeds=args.seeds,
        shots=args.shots,
        training_args={"num_train_epochs": args.num_train_epochs},
        output_dir=args.output_dir,
    )
    print(f"{markdown_table(result.summaries)}\n\nall tables, and what columns mean: {args.output_dir}/table.md\n")
    zero_shot, coop, _, zebra = result.summaries
    for name, summary in (("CoOp", coop), ("CoOp+ZEBRA", zebra)):
        gains = [summary.figures[name].mean - zero_shot.figures[name].mean for name in ("base_g", "novel_g")]
        base, novel = (100 * gain for gain in gains)
        print(f"{name} against zero-shot, among all classes: base {base:+.1f}, novel {novel:+.1f} points")


if __name__ == "__main__":
    main()
