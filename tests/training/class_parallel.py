"""Run by torchrun: gradients of methods whose processes divide the prompts, and adapters that they train."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch
import torch.distributed
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel

from alm_prompt.cache import caching_in
from alm_prompt.data import FeatureDataset
from alm_prompt.distributed import world
from alm_prompt.methods import parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.models.prompt_shares import sharing_prompts
from alm_prompt.training import AlmTrainer, AlmTrainingArguments

WORDS = ["this", "is", "a", "sound", "of", "dog", "rain", "siren", "door", "bell", "chain", "saw"]
NAMES = [f"{one} {two}" for one, two in itertools.permutations(WORDS, 2)]
NEIGHBORS = dict(zip(NAMES[:25], map(list, zip(NAMES[25:50], NAMES[50:75], strict=True)), strict=True))
# The classes of each method, and the prompts of one training step: an odd number.
METHODS = {"coop": (NAMES[:75], 75), "coop+sept": (NAMES[:25], 25 + 75), "cocoop+sept": (NAMES[:25], 8 * 25 + 75)}
WAYS = ("auto", "off")


def adapted(folder: Path, method: str) -> PeftModel:
    """A model with a fresh adapter, the same numbers in every process, ready to train."""
    torch.manual_seed(1)
    alm = AlmForAudioClassification.from_pretrained(folder / "model", class_names=METHODS[method][0])
    options = {"coop.n_ctx": 3, "cocoop.n_ctx": 3, "sept.neighbors": NEIGHBORS, "sept.margin_templates": "template"}
    own = {key: value for key, value in options.items() if key.partition(".")[0] in method.split("+")}
    return get_peft_model(alm, parse_method(method, own)).train()


def count_prompts(model: PeftModel) -> list[int]:
    """A list that the number of prompts of every pass of the text tower with gradients is added to."""
    counts: list[int] = []
    hook = lambda _, inputs, output: counts.append(output.shape[:-1].numel()) if torch.is_grad_enabled() else None  # noqa: E731
    model.alm.text_tower.register_forward_hook(hook)
    return counts


def gradients(folder: Path, method: str, fast: str, clips: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of one step over all clips, in float64, and how many prompts this process encoded for it."""
    rank, processes = world()
    model = adapted(folder, method).double()
    model.alm.text_tower.fast = fast
    wrapped = DistributedDataParallel(model) if processes > 1 else model
    own = slice(rank * 8 // processes, (rank + 1) * 8 // processes)
    counts = count_prompts(model)
    with caching_in(None), sharing_prompts(processes > 1):
        wrapped(audio_features=clips["features"][own].double(), labels=clips["labels"][own]).loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return found | {"prompts": torch.tensor(sum(counts)), "processes": torch.tensor(processes)}


def trained(folder: Path, clips: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CoOp after two steps of the trainer, and how many prompts this process encoded in them."""
    processes = world()[1]
    args = AlmTrainingArguments(
        str(folder / f"run-{processes}"),
        max_steps=2,
        per_device_train_batch_size=8 // processes,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    model = adapted(folder, "coop")
    counts = count_prompts(model)
    dataset = FeatureDataset(clips["features"], clips["labels"].tolist())
    AlmTrainer(model=model, args=args, train_dataset=dataset).train()
    learned = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return learned | {"prompts": torch.tensor(sum(counts))}


def main(folder: Path) -> None:
    clips = load_file(folder / "clips.safetensors")
    rank, processes = world()
    for method, fast in itertools.product(METHODS, WAYS):
        found = gradients(folder, method, fast, clips)
        save_file(found, folder / f"{method}-{fast}-{rank}-of-{processes}.safetensors")
    save_file(trained(folder, clips), folder / f"trained-{rank}-of-{processes}.safetensors")


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    main(Path(sys.argv[1]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
