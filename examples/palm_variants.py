"""PALM and the variants of its paper's ablation side by side, and how much text each class still listens to.

python examples/palm_variants.py
python examples/palm_variants.py --data my-sounds --model laion/clap-htsat-unfused --epochs 50
"""

from dataclasses import dataclass, field

from peft import PeftModel
from transformers import HfArgumentParser

from alm_prompt import CoCoOpPromptConfig, CoOpPromptConfig, LinearProbeConfig, PalmPromptConfig
from alm_prompt.evaluation import few_shot_task, open_task


@dataclass
class ExampleArguments:
    data: str | None = field(default=None, metadata={"help": "Folder per class, or CSV; the sound world if unset."})
    model: str | None = field(default=None, metadata={"help": "Folder or Hub id; the bundled tiny model if unset."})
    shots: int = field(default=16, metadata={"help": "Training clips per class."})
    epochs: float = field(default=10.0, metadata={"help": "Passes over the training clips; 50 in the paper."})
    clips_per_class: int = field(default=40, metadata={"help": "Sound world: recordings of each class."})


# Table 4 of arXiv 2409.19806. The dagger: feedback of the audio to the text features instead of the context.
VARIANTS = {
    "PALM": PalmPromptConfig(),
    "PALM + CoOp": PalmPromptConfig(prompt=CoOpPromptConfig()),
    "PALM + CoCoOp": PalmPromptConfig(prompt=CoCoOpPromptConfig()),
    "PALM + CoCoOp†": PalmPromptConfig(prompt=CoCoOpPromptConfig(feedback="text_features")),
    "linear probe": LinearProbeConfig(),
    "PALM without text": PalmPromptConfig(text_features=False),
}


def text_shares(model: PeftModel) -> str:
    """Share of the text embedding in every class, `1 - sigma(lambda)`, the most independent class first."""
    learned = model.get_base_model().class_head.tensors("default")["mixing"].sigmoid()
    shares = sorted(zip((1 - learned).tolist(), model.class_names, strict=True))
    return "\n".join(f"  {name:20} {share:.2f}" for share, name in shares)


def main() -> None:
    [args] = HfArgumentParser(ExampleArguments).parse_args_into_dataclasses()
    task = few_shot_task(*open_task(args.model, args.data, args.clips_per_class), shots=args.shots)
    print(f"{'':20} learned  accuracy of {len(task.test)} clips")
    print(f"{'zero-shot':20} {0:7,}  {task.accuracy(task.model):.3f}")
    shares = ""
    for name, config in VARIANTS.items():
        model = task.fit(config, num_train_epochs=args.epochs)
        print(f"{name:20} {model.get_nb_trainable_parameters()[0]:7,}  {task.accuracy(model):.3f}", flush=True)
        if name == "PALM":
            shares = text_shares(model)
        model.unload()
    print(f"\nPALM, share of text against the learned vector (at the start between 0.27 and 0.50):\n{shares}")


if __name__ == "__main__":
    main()
