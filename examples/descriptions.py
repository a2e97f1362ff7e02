"""Sentences that say how a class sounds, in place of its name: zero-shot and with a learned context (ReCLAP).

python examples/descriptions.py
python examples/descriptions.py --data my-sounds --model laion/clap-htsat-unfused --descriptions mine.json --epochs 50
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from alm_prompt import CoOpPromptConfig, KgCoOpPromptConfig, run_benchmark
from alm_prompt.evaluation import markdown_table, open_task
from alm_prompt.prompts import read_descriptions, shipped_descriptions


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    descriptions: str | None = field(default=None, metadata={"help": "JSON of sentences per class; shipped if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "Seeds, one run each."})
    epochs: float = field(default=10.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    alm, processor, clips = open_task(args.model, args.data, args.clips_per_class)
    sentences = read_descriptions(args.descriptions) if args.descriptions else shipped_descriptions(clips.class_names)
    print(f"{clips.class_names[0]}: {' / '.join(sentences[clips.class_names[0]])}\n")
    methods = {"zero-shot": None, "CoOp": CoOpPromptConfig(), "KgCoOp": KgCoOpPromptConfig()}
    for title, descriptions in (("Classes by name", None), ("Classes by description", sentences)):
        # The adapters that are trained on these classes carry the descriptions along.
        alm.set_classes(clips.class_names, descriptions=descriptions)
        result = run_benchmark(
            alm,
            processor,
            clips,
            methods,
            seeds=args.seeds,
            shots=args.shots,
            training_args={"num_train_epochs": args.epochs},
        )
        print(f"# {title}\n\n{markdown_table(result.summaries)}\n", flush=True)


if __name__ == "__main__":
    main()
