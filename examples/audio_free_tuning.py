"""Prompts learned from sentences alone, beside zero-shot and prompts learned from audio; all are tested on audio.

python examples/audio_free_tuning.py
python examples/audio_free_tuning.py --noise_std 0.1
python examples/audio_free_tuning.py --data my-sounds --model laion/clap-htsat-unfused --sentences my-sentences.json
"""

from dataclasses import dataclass, field, replace

import numpy as np
from transformers import HfArgumentParser

from alm_prompt import CoOpPromptConfig, audio_free_dataset
from alm_prompt.data.world.grammar import caption
from alm_prompt.data.world.task import class_sounds
from alm_prompt.evaluation import few_shot_task, open_task
from alm_prompt.prompts import class_sentences, read_descriptions, sample_sentences


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    sentences: str | None = field(default=None, metadata={"help": "JSON file of sentences per class."})
    noise_std: float = field(default=0.0, metadata={"help": "Noise on the unit vectors of the sentences."})
    shots: int = field(default=16, metadata={"help": "Training clips, and sentences, per class."})
    epochs: float = field(default=50.0, metadata={"help": "Passes over the training clips or sentences."})
    seed: int = field(default=0, metadata={"help": "Seed of draws, noise and learning."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


def world_captions(name: str, count: int, seed: int) -> list[str]:
    """What people write under recordings of a class of the sound world."""
    generator = np.random.default_rng([seed, *name.encode()])
    sounds = class_sounds(name)
    return [caption(sounds[generator.integers(len(sounds))], generator) for _ in range(count)]


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    opened = open_task(args.model, args.data, args.clips_per_class)
    task = few_shot_task(*opened, shots=args.shots, seed=args.seed)
    names = task.class_names

    # 1. Sentences about the classes: no audio is needed for them. Shipped ones mention names and neighbours.
    sources = {"shipped sentences": class_sentences(names)}
    if args.sentences is not None:
        sources[args.sentences] = read_descriptions(args.sentences)
    elif args.data is None:
        sources["captions"] = {name: world_captions(name, args.shots, args.seed) for name in names}

    # 2. Without learning: the classes by their names, or by the mean over all of their sentences.
    print(f"zero-shot, names: {task.accuracy(task.model):.3f}", flush=True)
    drawn = {source: sample_sentences(texts, args.shots, args.seed) for source, texts in sources.items()}
    for source, texts in drawn.items():
        task.model.set_classes(names, descriptions=texts)
        print(f"zero-shot, {source} as descriptions: {task.accuracy(task.model):.3f}", flush=True)
    task.model.set_classes(names)

    # 3. Learn a context from the sentences, then one from as many clips.
    datasets = {
        source: audio_free_dataset(task.model, texts, args.noise_std, args.seed) for source, texts in drawn.items()
    }
    for source, dataset in [*datasets.items(), ("audio", task.train)]:
        settings = {"num_train_epochs": args.epochs, "seed": args.seed}
        model = replace(task, train=dataset).fit(CoOpPromptConfig(n_ctx=16), **settings)
        print(f"CoOp, learned from {source}: {task.accuracy(model):.3f}", flush=True)
        model.unload()


if __name__ == "__main__":
    main()
