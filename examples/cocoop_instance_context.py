"""CoCoOp's context moves with the clip: how far, for which sounds, and what each way of moving it costs.

python examples/cocoop_instance_context.py
python examples/cocoop_instance_context.py --data my-sounds --model laion/clap-htsat-unfused --epochs 50
"""

from dataclasses import dataclass, field

import torch
from peft import PeftModel
from transformers import HfArgumentParser

from alm_prompt import CoCoOpPromptConfig
from alm_prompt.evaluation import FewShotTask, few_shot_task, open_task


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=8, metadata={"help": "Training clips per class."})
    epochs: float = field(default=10.0, metadata={"help": "Passes over the training clips."})
    clips_per_class: int = field(default=16, metadata={"help": "Sound world: recordings of each class."})


@torch.no_grad()
def text_per_clip(model: PeftModel, features: torch.Tensor) -> torch.Tensor:
    """Class texts as every clip reads them: `[B, C, d]` unit vectors."""
    return torch.cat([model(audio_features=clip[None]).text_embeds for clip in features])


def prompts_per_clip(model: PeftModel, clip: torch.Tensor) -> int:
    """Prompts that the text tower reads to classify two clips instead of one."""
    read = []
    hook = model.get_base_model().alm.text_tower.register_forward_hook(
        lambda *call: read[-1].append(call[2][..., 0].numel())
    )
    with torch.no_grad():
        for clips in (1, 1, 2):  # what is read once for all clips is read by the first call
            read.append([])
            model(audio_features=clip.expand(clips, -1))
    hook.remove()
    return sum(read[2]) - sum(read[1])


def movement(texts: torch.Tensor, task: FewShotTask) -> str:
    """How alike the texts are for two clips of one class and of two classes, and which class moves them most."""
    labels = torch.tensor(task.test.labels)
    alike = torch.einsum("acd,bcd->ab", texts, texts) / texts.shape[1]
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    other = labels[:, None] != labels
    centre = torch.nn.functional.normalize(texts.mean(dim=0), dim=-1)
    moved = 1 - (texts * centre).sum(dim=-1).mean(dim=-1)
    by_class = {name: moved[labels == index].mean().item() for index, name in enumerate(task.class_names)}
    most, least = max(by_class, key=by_class.get), min(by_class, key=by_class.get)
    return (
        f"  cosine of a class's text as read by two clips of one class: {alike[same].mean():.4f}, "
        f"of two classes: {alike[other].mean():.4f}\n"
        f"  moved most by clips of {most!r} ({by_class[most]:.4f} from the mean text), "
        f"least by {least!r} ({by_class[least]:.4f})"
    )


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    task = few_shot_task(*open_task(args.model, args.data, args.clips_per_class), shots=args.shots)
    print(f"zero-shot: {task.accuracy(task.model):.3f} of {len(task.test)} clips; one text per class, for every clip")
    for feedback in ("context", "text_features"):
        model = task.fit(CoCoOpPromptConfig(feedback=feedback), num_train_epochs=args.epochs)
        prompts = prompts_per_clip(model, task.test.features[0])
        print(f"\nCoCoOp, feedback to the {feedback}: {task.accuracy(model):.3f}, {prompts} prompts more per clip")
        print(movement(text_per_clip(model, task.test.features), task), flush=True)
        model.unload()


if __name__ == "__main__":
    main()
