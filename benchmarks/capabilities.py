"""What every method can do and what it costs, found out by trying it on the bundled tiny model.

    python benchmarks/capabilities.py --output docs/methods/capabilities.md

Nothing in the table is written by hand. Costs are counted in prompts that the text tower reads, which do not depend on
the machine.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmForAudioClassification, AlmPromptError, parse_method
from alm_prompt.data import base_novel_classes
from alm_prompt.data.world import WORLD_CLASSES

STACKS = (
    "coop",
    "cocoop",
    "kgcoop",
    "palm",
    "linear_probe",
    "coop+dept",
    "coop+sept",
    "coop+zebra",
    "cocoop+zebra",
    "coop+sept+zebra",
)
CLIPS = 16
HEADER = """# Capabilities

Made by a probe, not by hand:

```bash
python benchmarks/capabilities.py --output docs/methods/capabilities.md
```

The bundled tiny model, {base} training classes, a batch of {clips} clips. "Prompts" are texts that the text tower
reads, once everything that does not depend on learned numbers has been computed. "Other classes" are {novel} classes
that nobody trained on: whether the method's logits for them move with what it learned, or are those of zero-shot.

| method | learned numbers | prompts per training step | prompts per prediction | other classes |
|---|---:|---:|---:|---|
"""


class PromptCount:
    """Counts the prompts that a text tower reads."""

    def __init__(self, model: AlmForAudioClassification) -> None:
        self.prompts = 0
        model.alm.text_tower.register_forward_hook(self._add)

    def _add(self, module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.prompts += len(output)

    def of(self, call) -> int:
        """Prompts read by a call, after one that fills what is kept."""
        call()
        self.prompts = 0
        call()
        return self.prompts


def on_other_classes(model: PeftModel, audio_features: torch.Tensor, novel: tuple[str, ...]) -> str:
    """Whether a method has learned anything that reaches other classes."""
    try:
        model.set_classes(novel)
    except AlmPromptError:
        return "refused"
    with torch.no_grad():
        before = model(audio_features=audio_features).logits
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
        after = model(audio_features=audio_features).logits
    return "zero-shot" if torch.equal(before, after) else "learned prompt"


def probe(stack: str) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    base, novel = base_novel_classes(WORLD_CLASSES)
    alm = AlmForAudioClassification.from_pretrained(files("alm_prompt") / "assets" / "tiny_alm", class_names=base)
    model = get_peft_model(alm, parse_method(stack))
    audio_features = torch.randn(CLIPS, alm.config.projection_dim)
    labels = torch.arange(CLIPS) % len(base)
    count = PromptCount(alm)
    training = count.of(lambda: model.train()(audio_features=audio_features, labels=labels).loss.backward())
    with torch.no_grad():
        prediction = count.of(lambda: model.eval()(audio_features=audio_features))
    learned = model.get_nb_trainable_parameters()[0]
    return f"| {stack} | {learned:,} | {training} | {prediction} | {on_other_classes(model, audio_features, novel)} |"


def main() -> None:
    """Probe every stack and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    base, novel = base_novel_classes(WORLD_CLASSES)
    rows = [probe(stack) for stack in STACKS]
    args.output.write_text(HEADER.format(base=len(base), novel=len(novel), clips=CLIPS) + "\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
