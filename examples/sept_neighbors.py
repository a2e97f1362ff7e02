"""Your own neighbours for SEPT: what is dropped, how close they are for the text tower, and what they change.

python examples/sept_neighbors.py
python examples/sept_neighbors.py --neighbors mine.json --data my-sounds --model laion/clap-htsat-unfused
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from alm_prompt import AlmForAudioClassification, CoOpPromptConfig, SeptPromptConfig, run_benchmark
from alm_prompt.data import base_novel_classes
from alm_prompt.evaluation import markdown_table, open_task
from alm_prompt.prompts import checked_neighbors, drop_overlaps, neighbor_quality, neighbors, read_neighbors


@dataclass
class ExampleArguments:
    neighbors: str | None = field(
        default=None, metadata={"help": 'JSON file {"class": ["term", ...]}; those shipped for the world if unset.'}
    )
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    terms: int = field(default=10, metadata={"help": "Neighbours per class that are used."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "Seeds, one run each."})
    epochs: float = field(default=10.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


def quality(alm: AlmForAudioClassification, terms: dict[str, list[str]]) -> str:
    """Mean cosine to the own class and to the others, and diversity: a good neighbour is near, and not a synonym."""
    alm.set_classes(list(terms))
    bank = alm.class_bank
    listed = bank.with_names([term for of_class in terms.values() for term in of_class])
    term_embeds = listed.zero_shot_embeds(alm.alm).unflatten(0, (len(terms), -1))
    found = neighbor_quality(bank.zero_shot_embeds(alm.alm), term_embeds)
    lines = [f"{'class':20} own   others  diversity"]
    for row, name in enumerate(terms):
        lines.append(f"{name:20} {found.own[row]:.2f}  {found.others[row]:6.2f}  {found.diversity[row]:9.2f}")
    return "\n".join(lines)


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    alm, processor, clips = open_task(args.model, args.data, args.clips_per_class)
    base, novel = base_novel_classes(clips.class_names)

    # Training must not know the held-out classes: terms that name one go, terms for one are left out.
    given = read_neighbors(args.neighbors) if args.neighbors else neighbors("world")
    kept, dropped = drop_overlaps(given, novel)
    print(f"dropped because they name a held-out class: {dropped or 'none'}")
    kept = {name: terms[: args.terms] for name, terms in kept.items()}
    terms = checked_neighbors(kept, base, held_out=novel)
    print(quality(alm, terms))

    coop = CoOpPromptConfig(n_ctx=16)
    methods = {"zero-shot": None, "CoOp": coop, "CoOp+SEPT": SeptPromptConfig(prompt=coop, neighbors=terms)}
    settings = {"seeds": args.seeds, "shots": args.shots, "training_args": {"num_train_epochs": args.epochs}}
    result = run_benchmark(alm, processor, clips, methods, **settings)
    print(markdown_table(result.summaries))


if __name__ == "__main__":
    main()
