"""Audio-caption pairs for contrastive training, with rewritten captions in turn (ReCLAP, arXiv 2409.09213)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import TrainerCallback

from ..errors import AlmPromptError

KEEP_ORIGINAL = 0.4


def draw_caption(
    original: str, rewrites: Sequence[str], seed: int, epoch: int, clip: int | str, keep: float = KEEP_ORIGINAL
) -> str:
    """Draw the caption that a clip has in an epoch: the original with chance `keep`, else any rewrite alike.

    Args:
        original: caption of the clip.
        rewrites: other wordings of it; without any, the original is always taken.
        seed: another seed, other draws.
        epoch: number of the epoch.
        clip: what tells the clip from others. (`seed`, `epoch`, `clip`) fix the draw.
        keep: chance of the original, from 0 to 1; 0.4 in ReCLAP.

    Raises:
        AlmPromptError: `keep` is no chance, or the rewrites are one text.
    """
    if not 0 <= keep <= 1:
        raise AlmPromptError(f"keep is {keep}; give the chance of the original caption, from 0 to 1")
    if isinstance(rewrites, str):
        raise AlmPromptError(f"the rewrites of clip {clip!r} are the text {rewrites!r}; give a list of captions")
    digest = hashlib.sha256(json.dumps([seed, epoch, clip]).encode()).digest()
    # 53 bits are what a float holds: the number stays below 1.
    number = (int.from_bytes(digest[:8], "little") >> 11) / 2**53
    if number < keep or not rewrites:
        return original
    return rewrites[min(int((number - keep) / (1 - keep) * len(rewrites)), len(rewrites) - 1)]


class CaptionDataset(Dataset):
    """Audio with captions that are drawn anew in every epoch.

    A `Trainer` needs [`SetEpoch`] among its callbacks to tell the data set which epoch it is.

    Args:
        pairs: per clip its audio, its caption and rewrites of the caption; anything with a length and a place to put
            an index in, so that clips can be made or read when they are asked for.
        seed: seed of the draws.
        keep: chance of the original caption, see [`draw_caption`].
    """

    def __init__(
        self, pairs: Sequence[tuple[Any, str, Sequence[str]]], seed: int = 0, keep: float = KEEP_ORIGINAL
    ) -> None:
        self.pairs = pairs
        self.seed = seed
        self.keep = keep
        # Shared memory: workers that live on from epoch to epoch see the new one too.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw the captions of another epoch from now on."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        audio, original, rewrites = self.pairs[index]
        text = draw_caption(original, rewrites, self.seed, int(self._epoch), index, self.keep)
        return {"audio": audio, "text": text}


class SetEpoch(TrainerCallback):
    """Tells a data set which epoch begins. In several processes, data loaders do not: they tell only their sampler.

    Args:
        dataset: the training data.
    """

    def __init__(self, dataset: CaptionDataset) -> None:
        self.dataset = dataset

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by `Trainer` before it reads the first batch of an epoch."""
        self.dataset.set_epoch(int(state.epoch or 0))
