"""What few clips give without any text: a linear probe against PALM, by clips per class, and what it cannot do.

python examples/linear_probe.py
python examples/linear_probe.py --data my-sounds --model laion/clap-htsat-unfused --shots 1 4 16
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from alm_prompt import LinearProbeConfig, PalmPromptConfig
from alm_prompt.data import base_novel_classes
from alm_prompt.evaluation import FewShotTask, few_shot_task, open_task, predict_features


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: list[int] = field(
        default_factory=lambda: [1, 2, 4, 8, 16], metadata={"help": "Training clips per class, one run each."}
    )
    epochs: float = field(default=20.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


def lost_to_trained(task: FewShotTask, epochs: float) -> str:
    """Train half of the classes, then ask for all: how many clips of the others are given to a trained class."""
    lines = []
    for name, config in (("linear probe", LinearProbeConfig()), ("PALM", PalmPromptConfig())):
        model = task.fit(config, num_train_epochs=epochs)
        model.set_classes(task.class_names)
        # Classes without learned numbers: zero-shot logits beside the learned ones of the others.
        untrained = {task.class_names.index(class_name) for class_name in model.fallback_classes}
        predicted = zip(predict_features(model, task.test.features), task.test.labels, strict=True)
        lost = [guess not in untrained for guess, label in predicted if label in untrained]
        lines.append(f"  {name}: {sum(lost)} of {len(lost)} clips of untrained classes")
        model.unload()
    return "\n".join(lines)


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    opened = open_task(args.model, args.data, args.clips_per_class)
    print("clips per class  zero-shot  linear probe   PALM")
    for shots in args.shots:
        task = few_shot_task(*opened, shots=shots)
        row = [task.accuracy(task.model)]
        for config in (LinearProbeConfig(), PalmPromptConfig()):
            model = task.fit(config, num_train_epochs=args.epochs)
            row.append(task.accuracy(model))
            model.unload()
        print(f"{shots:15}  {row[0]:9.3f}  {row[1]:12.3f}  {row[2]:5.3f}", flush=True)
    base, novel = base_novel_classes(opened[2].class_names)
    print(f"\nTrained on {len(base)} classes, asked for {len(base) + len(novel)}; given to a trained class:")
    print(lost_to_trained(few_shot_task(*opened, shots=max(args.shots), trained_classes=base), args.epochs))


if __name__ == "__main__":
    main()
