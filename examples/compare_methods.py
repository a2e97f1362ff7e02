"""Any prompt methods side by side: what each gains on trained classes, and what it costs on classes never trained.

python examples/compare_methods.py
python examples/compare_methods.py --methods coop cocoop+zebra --data my-sounds --model laion/clap-htsat-unfused
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from alm_prompt import parse_method, run_benchmark
from alm_prompt.evaluation import BenchmarkResult, markdown_table, open_task

METHODS = ["coop", "cocoop", "kgcoop", "palm", "linear_probe", "coop+zebra"]


@dataclass
class ExampleArguments:
    methods: list[str] = field(
        default_factory=lambda: METHODS, metadata={"help": "Methods; 'coop+zebra' is ZEBRA over CoOp."}
    )
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds, one run each."})
    num_train_epochs: float = field(default=50.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})
    output_dir: str = field(default="runs/compare", metadata={"help": "Rows and table; a killed run goes on there."})


def gains(result: BenchmarkResult) -> str:
    """Points of accuracy above (+) or below (-) zero-shot, the first method, in both forms of the protocol."""
    zero_shot, *trained = result.summaries
    lines = []
    forms = {"separate": ("base", "novel"), "all classes": ("base_g", "novel_g")}
    for method in trained:
        for form, names in forms.items():
            base, novel = (100 * (method.figures[name].mean - zero_shot.figures[name].mean) for name in names)
            lines.append(f"{method.method} against zero-shot, {form}: base {base:+.1f}, novel {novel:+.1f} points")
    return "\n".join(lines)


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    # Zero-shot is always measured: without it, no gain or loss can be read off.
    methods = {name: parse_method(name) for name in ["zero-shot", *args.methods]}
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
    print(gains(result))


if __name__ == "__main__":
    main()
