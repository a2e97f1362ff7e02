"""KgCoOp is held to its anchor: one template or 100, how good either is, and where it leaves the learned classes.

python examples/kgcoop_anchor.py
python examples/kgcoop_anchor.py --data my-sounds --model laion/clap-htsat-unfused --epochs 50
"""

from dataclasses import dataclass, field

import torch
from transformers import HfArgumentParser

from alm_prompt import CoOpPromptConfig, KgCoOpPromptConfig
from alm_prompt.data import base_novel_classes
from alm_prompt.evaluation import FewShotTask, few_shot_task, open_task
from alm_prompt.prompts import templates


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per base class."})
    epochs: float = field(default=20.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


def halves(text_embeds: torch.Tensor, task: FewShotTask, base: int) -> str:
    """Accuracy of trained and untrained classes among all of them, by the class embeddings alone."""
    audio = torch.nn.functional.normalize(task.test.features, dim=-1)
    labels = torch.tensor(task.test.labels)
    right = (audio @ text_embeds.T).argmax(dim=-1) == labels
    return f"base {right[labels < base].float().mean():.3f}, novel {right[labels >= base].float().mean():.3f}"


@torch.no_grad()
def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    opened = open_task(args.model, args.data, args.clips_per_class)
    base, _ = base_novel_classes(opened[2].class_names)
    task = few_shot_task(*opened, shots=args.shots, trained_classes=base)

    # The anchors are zero-shot embeddings: the method cannot be held to more than they know.
    task.model.set_classes(task.class_names)
    bank = task.model.class_bank
    anchors = {
        "one template": bank.zero_shot_embeds(task.model.alm),
        "100 templates": bank.with_templates(templates()).zero_shot_embeds(task.model.alm),
    }
    for name, anchor in anchors.items():
        spread = (anchor @ anchor.T).fill_diagonal_(0).sum() / (len(anchor) * (len(anchor) - 1))
        print(f"{name} as zero-shot: {halves(anchor, task, len(base))}; mean cosine of two classes {spread:.3f}")

    methods = {
        "CoOp": CoOpPromptConfig(),
        "KgCoOp, one template": KgCoOpPromptConfig(anchor="template"),
        "KgCoOp, 100 templates": KgCoOpPromptConfig(anchor="ensemble"),
    }
    for name, config in methods.items():
        with torch.enable_grad():
            model = task.fit(config, num_train_epochs=args.epochs)
        model.set_classes(task.class_names)
        learned = model(audio_features=task.test.features[:1]).text_embeds
        cosines = [f"{(learned * anchor).sum(dim=-1).mean():.3f} to {to}" for to, anchor in anchors.items()]
        print(f"{name}: {halves(learned, task, len(base))}; cosine {', '.join(cosines)}", flush=True)
        model.unload()


if __name__ == "__main__":
    main()
