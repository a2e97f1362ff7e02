"""DePT's transfer head in predictions: one adapter, asked with the head's vote (fusion) and without it.

python examples/dept_transfer_head.py
python examples/dept_transfer_head.py --data my-sounds --model laion/clap-htsat-unfused --epochs 50
"""

from dataclasses import dataclass, field

import torch
from peft import PeftModel
from transformers import HfArgumentParser

from alm_prompt import CoOpPromptConfig, DePTPromptConfig
from alm_prompt.data import base_novel_classes
from alm_prompt.evaluation import FewShotTask, few_shot_task, open_task


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    epochs: float = field(default=20.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


@torch.no_grad()
def row(model: PeftModel, task: FewShotTask, base: int) -> str:
    """Accuracy of both halves, alone and among all classes, and the mean best logit of a clip in either half."""
    labels = torch.tensor(task.test.labels)
    trained = labels < base

    def right(logits: torch.Tensor, truth: torch.Tensor) -> str:
        return f"{(logits.argmax(dim=-1) == truth).float().mean():.3f}"

    model.set_classes(task.class_names)
    logits = model(audio_features=task.test.features).logits
    alone = right(logits[trained, :base], labels[trained]), right(logits[~trained, base:], labels[~trained] - base)
    among_all = right(logits[trained], labels[trained]), right(logits[~trained], labels[~trained])
    best = logits[:, :base].max(dim=-1).values.mean(), logits[:, base:].max(dim=-1).values.mean()
    falls_back = len(model.fallback_classes)
    return (
        f"alone: base {alone[0]}, novel {alone[1]}; among all: base {among_all[0]}, novel {among_all[1]}\n"
        f"  best logit among trained classes {best[0]:.1f}, among the others {best[1]:.1f}; "
        f"{falls_back} classes without a vote of the head"
    )


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    opened = open_task(args.model, args.data, args.clips_per_class)
    base, _ = base_novel_classes(opened[2].class_names)
    task = few_shot_task(*opened, shots=args.shots, trained_classes=base)
    for name, config in (("CoOp", CoOpPromptConfig()), ("DePT", DePTPromptConfig(prompt=CoOpPromptConfig()))):
        model = task.fit(config, num_train_epochs=args.epochs)
        if name == "CoOp":
            print(f"CoOp\n  {row(model, task, len(base))}", flush=True)
        else:
            # Fusion is a matter of predictions alone: the same trained adapter serves both.
            for fusion in (True, False):
                model.peft_config["default"].fusion = fusion
                print(f"DePT, fusion {'on' if fusion else 'off'}\n  {row(model, task, len(base))}")
        model.unload()


if __name__ == "__main__":
    main()
