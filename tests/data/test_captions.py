"""Captions drawn for contrastive training: chances, what fixes a draw, and a new draw in every epoch of a Trainer."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from transformers import Trainer, TrainingArguments

from alm_prompt import AlmPromptError
from alm_prompt.data import CaptionDataset, SetEpoch, draw_caption

REWRITES = ["one", "two", "three"]


@pytest.mark.parametrize(("keep", "rewrites"), [(0.4, 3), (0.4, 1), (0.0, 2), (0.9, 2)])
def test_chances(keep, rewrites):
    """Counts over seeds, epochs and clips lie within four standard deviations of what the chances say."""
    names = REWRITES[:rewrites]
    draws = [
        draw_caption("original", names, seed, epoch, clip, keep)
        for seed in range(40)
        for epoch in range(10)
        for clip in range(30)
    ]
    counts = Counter(draws)
    for name, chance in [("original", keep), *((name, (1 - keep) / rewrites) for name in names)]:
        deviation = (len(draws) * chance * (1 - chance)) ** 0.5
        assert abs(counts[name] - len(draws) * chance) <= 4 * deviation, name


@pytest.mark.parametrize("varied", ["seed", "epoch", "clip"])
def test_chances_hold_along_seeds_epochs_and_clips(varied):
    fixed = {"seed": 3, "epoch": 1, "clip": 7}
    counts = Counter(draw_caption("original", REWRITES, **{**fixed, varied: value}) for value in range(10_000))
    assert counts["original"] == pytest.approx(4000, abs=200)
    assert all(counts[name] == pytest.approx(2000, abs=160) for name in REWRITES)


def test_draws_of_two_epochs_are_independent():
    both = Counter(tuple(draw_caption("o", ["r"], 0, epoch, clip) for epoch in (0, 1)) for clip in range(10_000))
    for pair, chance in {("o", "o"): 0.16, ("o", "r"): 0.24, ("r", "o"): 0.24, ("r", "r"): 0.36}.items():
        assert both[pair] == pytest.approx(10_000 * chance, abs=200)


def test_a_draw_is_fixed_by_seed_epoch_and_clip():
    assert [draw_caption("original", REWRITES, 0, epoch, "a.wav") for epoch in range(6)] == [
        draw_caption("original", REWRITES, 0, epoch, "a.wav") for epoch in range(6)
    ]
    # What was drawn once is drawn on every machine and in every release.
    assert [draw_caption("original", REWRITES, 0, epoch, 5) for epoch in range(6)] == [
        "two",
        "original",
        "three",
        "two",
        "three",
        "one",
    ]


def test_without_rewrites_and_with_certain_ones():
    assert {draw_caption("original", [], 0, epoch, 0) for epoch in range(50)} == {"original"}
    assert {draw_caption("original", REWRITES, 0, epoch, 0, keep=1.0) for epoch in range(50)} == {"original"}
    assert {draw_caption("original", REWRITES, 0, epoch, 0, keep=0.0) for epoch in range(50)} == set(REWRITES)


def test_bad_input_is_refused():
    with pytest.raises(AlmPromptError, match=r"keep is 1\.5; give the chance"):
        draw_caption("original", REWRITES, 0, 0, 0, keep=1.5)
    with pytest.raises(AlmPromptError, match=r"rewrites of clip 'a\.wav' are the text 'one'; give a list"):
        draw_caption("original", "one", 0, 0, "a.wav")


def test_data_set_gives_audio_with_the_caption_of_the_epoch():
    data = CaptionDataset([(f"{clip}.wav", f"caption {clip}", REWRITES) for clip in range(20)], seed=4, keep=0.3)
    for epoch in range(3):
        data.set_epoch(epoch)
        for clip in range(20):
            text = draw_caption(f"caption {clip}", REWRITES, 4, epoch, clip, 0.3)
            assert data[clip] == {"audio": f"{clip}.wav", "text": text}
    assert len(data) == 20


class Recorder(torch.nn.Module):
    """Keeps the texts that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, str]] = []

    def forward(self, pairs):
        self.seen += pairs
        return {"loss": self.weight.square()}


def as_pairs(batch):
    return {"pairs": [(pair["audio"], pair["text"]) for pair in batch]}


@pytest.mark.parametrize("workers", [{}, {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}])
def test_trainer_draws_anew_in_every_epoch(workers, tmp_path):
    data = CaptionDataset([(clip, "original", REWRITES) for clip in range(8)], seed=1)
    options = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "report_to": "none", "save_strategy": "no"}
    options |= {"use_cpu": True, "disable_tqdm": True, "remove_unused_columns": False}
    args = TrainingArguments(tmp_path, **options, **workers)
    model = Recorder()
    Trainer(model, args, data_collator=as_pairs, train_dataset=data, callbacks=[SetEpoch(data)]).train()
    for epoch in range(3):
        expected = [(clip, draw_caption("original", REWRITES, 1, epoch, clip)) for clip in range(8)]
        assert sorted(model.seen[8 * epoch : 8 * epoch + 8]) == expected
