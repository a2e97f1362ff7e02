"""What every method can do, needs and costs, found out by trying it on the bundled tiny model.

    python benchmarks/capabilities.py --output docs/methods/capabilities.md

Nothing in the table is written by hand. Costs are counted in prompts that the text tower reads, which do not depend on
the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model

from alm_prompt import (
    AlmForAudioClassification,
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    DePTPromptConfig,
    PalmPromptConfig,
    PromptConfig,
    audio_free_dataset,
    parse_method,
)
from alm_prompt.data import base_novel_classes
from alm_prompt.data.world import TINY_MODEL, WORLD_CLASSES

EXPRESSIONS = (
    "coop",
    "cocoop",
    "kgcoop",
    "palm",
    "coop+palm",
    "cocoop+palm",
    "linear_probe",
    "coop+dept",
    "coop+sept",
    "coop+tta",
    "coop+zebra",
    "cocoop+zebra",
    "palm+zebra",
    "linear_probe+zebra",
    "coop+palm+zebra",
    "coop+sept+zebra",
)
WITH_OPTIONS = {
    "coop, one context per class": CoOpPromptConfig(class_specific=True),
    "coop, reference encoders": CoOpPromptConfig(encoder_mode="reference"),
    "cocoop, feedback to text features": CoCoOpPromptConfig(feedback="text_features"),
    "palm, without text features": PalmPromptConfig(text_features=False),
    "coop+dept, without fusion": DePTPromptConfig(prompt=CoOpPromptConfig(), fusion=False),
}
CLIPS = 16
HEADER = """# Capabilities

Made by a probe, not by hand:

```bash
python benchmarks/capabilities.py --output docs/methods/capabilities.md
```

The bundled tiny model, {base} training classes, a batch of {clips} clips.

- **learned numbers**: size of the adapter; grows with the widths of the backbone.
- **training needs**: `features`: computed once, of clips or of sentences about the classes (audio-free), and no audio
  tower; `waveforms`: the audio tower in every step. What `adapt` does with a tta adapter, between two predictions and
  on waveforms without labels, is no training step.
- **prompts per step**: texts that the text tower reads in a training step, once everything that does not depend on
  learned numbers has been computed.
- **per prediction**: the same for a batch that is classified after a first one. 0: only products of matrices are left.
- **class vectors**: `fixed`: a prediction is the cosine with one vector per class, which can be taken elsewhere;
  `per clip`: every clip has its own; `not all`: the prediction is more than that cosine.
- **other classes**: {novel} that nobody trained on. `learned`: their logits move with what was learned; `in part`:
  they do, but something is missing for them (`model.fallback_classes` names them); `zero-shot`: they do not;
  `refused`.

| method | learned numbers | training needs | prompts per step | per prediction | class vectors | other classes |
|---|---:|---|---:|---:|---|---|
"""


class PromptCount:
    """Counts the prompts that a text tower reads."""

    def __init__(self, model: AlmForAudioClassification) -> None:
        self.prompts = 0
        model.alm.text_tower.register_forward_hook(self._add)

    def _add(self, module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.prompts += output.shape[:-1].numel()

    def of(self, call) -> int:
        """Prompts read by a call, after one that fills what is kept."""
        call()
        self.prompts = 0
        call()
        return self.prompts


def training_batch(model: PeftModel, features: torch.Tensor) -> tuple[str, dict[str, torch.Tensor]]:
    """What a training step needs, and a batch that it takes: features, also of sentences, wherever they are enough."""
    alm, labels = model.get_base_model().alm, torch.arange(CLIPS) % len(model.class_names)
    sentences = audio_free_dataset(model, {name: [f"the sound of {name}"] for name in model.class_names})
    audio_tower, alm.audio_tower = alm.audio_tower, None
    model.train()
    try:
        model(audio_features=sentences.features, labels=torch.tensor(sentences.labels)).loss.backward()
    except AlmPromptError:
        alm.audio_tower = audio_tower
        bins = alm.config.audio_config.num_mel_bins
        return "waveforms", {"input_features": torch.randn(CLIPS, 1, 64, bins), "labels": labels}
    return "features", {"audio_features": features, "labels": labels}


@torch.no_grad()
def class_vectors(model: PeftModel, features: torch.Tensor) -> str:
    """Whether predictions are cosines with one vector per class, whatever the clip."""
    output = model(audio_features=features)
    if output.text_embeds.dim() == 3:
        return "per clip"
    cosines = output.audio_embeds @ output.text_embeds.T
    scale = output.logits.norm() / cosines.norm()
    return "fixed" if torch.allclose(output.logits, scale * cosines, atol=1e-3) else "not all"


def on_other_classes(model: PeftModel, features: torch.Tensor, novel: tuple[str, ...]) -> str:
    """Whether anything that a method has learned reaches other classes."""
    try:
        model.set_classes(novel)
    except AlmPromptError:
        return "refused"
    with torch.no_grad():
        before = model(audio_features=features).logits
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
        after = model(audio_features=features).logits
    if torch.equal(before, after):
        return "zero-shot"
    return "in part" if model.fallback_classes else "learned"


def probe(label: str, config: PromptConfig) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    base, novel = base_novel_classes(WORLD_CLASSES)
    alm = AlmForAudioClassification.from_pretrained(TINY_MODEL, class_names=base)
    model = get_peft_model(alm, config)
    features = torch.randn(CLIPS, alm.config.projection_dim)
    needs, batch = training_batch(model, features)
    count = PromptCount(alm)
    training = count.of(lambda: model(**batch).loss.backward())
    model.eval()
    with torch.no_grad():
        prediction = count.of(lambda: model(audio_features=features))
    cells = [label, f"{model.get_nb_trainable_parameters()[0]:,}", needs, training, prediction]
    cells += [class_vectors(model, features), on_other_classes(model, features, novel)]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Probe every stack and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    base, novel = base_novel_classes(WORLD_CLASSES)
    configs = {expression: parse_method(expression) for expression in EXPRESSIONS} | WITH_OPTIONS
    rows = [probe(label, configs[label]) for label in sorted(configs)]
    args.output.write_text(HEADER.format(base=len(base), novel=len(novel), clips=CLIPS) + "\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
