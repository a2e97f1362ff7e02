"""Run by torchrun: a few steps of contrastive training, of which every process has some of the eight pairs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import CLIPTextConfig

from alm_prompt import AlmConfig, AlmModel
from alm_prompt.models.audio_towers import YamnetConfig

PAIRS, STEPS = 8, 4


def make_model() -> AlmModel:
    """A tiny model without batch norm and dropout, which would see the batch of their own process only."""
    torch.manual_seed(0)
    audio = YamnetConfig(
        patch_frames=8, num_mel_bins=8, stem_channels=4, channels=[8, 8], strides=[1, 2], hidden_size=8
    )
    text = CLIPTextConfig(
        vocab_size=30, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = AlmModel(AlmConfig(audio_config=audio, text_config=text, projection_dim=6))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.double().train()


def train(trained: torch.nn.Module, rank: int, sizes: list[int]) -> torch.Tensor:
    """Train a few steps, and return their losses over all pairs."""
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(STEPS):
        clips = torch.randn(PAIRS, 1, 8, 8, generator=generator, dtype=torch.float64)
        ids = torch.randint(2, 30, (PAIRS, 5), generator=generator)
        loss = trained(input_ids=ids[own], input_features=clips[own], return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach() / len(sizes))
    return torch.stack(losses)


def main(folder: Path, runs: list[str]) -> None:
    for run in runs:
        sizes = [int(size) for size in run.split(",")]
        model = trained = make_model()
        rank = 0
        if len(sizes) > 1:
            rank = torch.distributed.get_rank()
            trained = DistributedDataParallel(model)
        else:
            save_file(model.state_dict(), folder / "untrained.safetensors")
        losses, processes = train(trained, rank, sizes), 1
        if len(sizes) > 1:
            torch.distributed.all_reduce(losses)
            processes = torch.distributed.get_world_size()
        if rank == 0:
            facts = {"losses": losses, "processes": torch.tensor(processes)}
            save_file({**model.state_dict(), **facts}, folder / f"{run}.safetensors")


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    main(Path(sys.argv[1]), sys.argv[2:])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
