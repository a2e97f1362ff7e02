"""What a run leaves on the disk, and how it goes on from there."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers.trainer_utils import get_last_checkpoint

from alm_prompt import CoOpPromptConfig, ZebraPromptConfig
from alm_prompt.errors import AlmPromptError
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer, AlmTrainingArguments, RunRecord

Build = Callable[..., PeftModel]
Arguments = Callable[..., AlmTrainingArguments]
Learned = Callable[[PeftModel], torch.Tensor]
Clips = list[dict[str, Any]]

STEPS = {"save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 4, "num_train_epochs": 2}

ADAPTER_FILES = {"adapter_config.json", "adapter_model.safetensors", "README.md", "results.json"}
CHECKPOINT_FILES = ADAPTER_FILES | {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}


@pytest.fixture
def new_trainer(prompted: Build, arguments: Arguments, clips: Clips) -> Callable[..., AlmTrainer]:
    """Make a trainer with a fresh model: 8 steps in 2 epochs, a checkpoint after each."""

    def make(adapter_name: str = "default", **settings: Any) -> AlmTrainer:
        model = prompted(adapter_name=adapter_name)
        args = arguments(**(STEPS | settings))
        return AlmTrainer(model=model, args=args, train_dataset=clips, eval_dataset=clips[:6])

    return make


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Killed(BaseException):
    """Stands for the end of a process in the middle of things."""


def test_saved_adapter_is_complete_and_free_of_pickles(new_trainer: Callable[..., AlmTrainer], tmp_path: Path) -> None:
    trainer = new_trainer()
    trainer.processing_class = trainer.model.get_base_model().tokenizer
    trainer.train()
    trainer.save_model(str(tmp_path / "adapter"))
    assert names(tmp_path / "adapter") == ADAPTER_FILES
    assert names(tmp_path / "run" / "checkpoint-8") == CHECKPOINT_FILES
    assert names(tmp_path / "run") == {"checkpoint-7", "checkpoint-8"}
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(tmp_path / "run" / "checkpoint-8" / name, weights_only=True)


@pytest.mark.parametrize("adapter_name", ["default", "other"])
def test_damaged_adapter_is_not_resumed_from(
    new_trainer: Callable[..., AlmTrainer], tmp_path: Path, adapter_name: str
) -> None:
    trainer = new_trainer(adapter_name)
    trainer.train()
    last = tmp_path / "run" / "checkpoint-8"
    [file] = last.rglob("adapter_model.safetensors")
    expected = file.read_bytes()
    file.write_bytes(expected[:-3] + bytes([expected[-3] ^ 1]) + expected[-2:])
    with pytest.raises(AlmPromptError, match=r"is damaged: its SHA-256 .* remove .*checkpoint-8 to go on from"):
        new_trainer(adapter_name).train(resume_from_checkpoint=True)
    file.with_name("adapter_config.json").write_text("{")
    with pytest.raises(AlmPromptError, match="is damaged"):
        new_trainer(adapter_name).train(resume_from_checkpoint=str(last))
    shutil.rmtree(last)
    new_trainer(adapter_name).train(resume_from_checkpoint=True)
    assert file.read_bytes() == expected


@pytest.mark.parametrize(
    ("method", "classes", "difference"),
    [
        ("coop+palm", ["siren", "rain", "dog", "door bell"], "class_names ['dog', 'rain'"),
        ("coop+zebra", None, "peft_type 'ALM_PALM', and here it is 'ALM_ZEBRA'"),
    ],
)
def test_adapter_of_other_settings_is_not_gone_on_with(
    method: str, classes: list[str] | None, difference: str, make_tiny_alm, arguments, clips, method_config
) -> None:
    """Its tensors have the same sizes, and would belong to other classes."""

    def trainer(method: str, classes: list[str] | None = None) -> AlmTrainer:
        alm = make_tiny_alm(**({} if classes is None else {"classes": classes}))
        model = get_peft_model(alm, method_config(method), adapter_name="own")
        return AlmTrainer(model=model, args=arguments(**STEPS), train_dataset=clips)

    trainer("coop+palm").train()
    with pytest.raises(AlmPromptError, match=re.escape(difference)):
        trainer(method, classes).train(resume_from_checkpoint=True)


def test_a_wrapped_setting_that_differs_is_named(make_tiny_alm, arguments, clips) -> None:
    def trainer(position: str) -> AlmTrainer:
        prompt = CoOpPromptConfig(n_ctx=3, class_position=position)
        model = get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=prompt))
        return AlmTrainer(model=model, args=arguments(**STEPS), train_dataset=clips)

    trainer("end").train()
    with pytest.raises(AlmPromptError, match=r"begun with prompt\.class_position 'end', and here it is 'front'"):
        trainer("front").train(resume_from_checkpoint=True)


def test_default_is_ten_checkpoints_a_run(prompted: Build, arguments: Arguments, clips: Clips, tmp_path: Path) -> None:
    defaults = AlmTrainingArguments(output_dir=str(tmp_path))
    args = arguments(
        num_train_epochs=20,
        save_strategy=defaults.save_strategy,
        save_steps=defaults.save_steps,
        save_total_limit=None,
    )
    AlmTrainer(model=prompted(), args=args, train_dataset=clips).train()
    assert names(tmp_path / "run") == {f"checkpoint-{step}" for step in range(2, 21, 2)}


@pytest.mark.parametrize("adapter_name", ["default", "birds"])
def test_saving_again_keeps_the_users_card(
    adapter_name: str, new_trainer: Callable[..., AlmTrainer], tmp_path: Path
) -> None:
    trainer = new_trainer(adapter_name)
    trainer.save_model(str(tmp_path / "adapter"))
    folder = tmp_path / "adapter" if adapter_name == "default" else tmp_path / "adapter" / adapter_name
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nRecorded in the woods.\n")
    trainer.save_model(str(tmp_path / "adapter"))
    assert "Recorded in the woods." in card.read_text()


def test_base_model_is_saved_whole(make_tiny_alm: Callable[..., Any], arguments: Arguments, tmp_path: Path) -> None:
    model = make_tiny_alm()
    AlmTrainer(model=model, args=arguments()).save_model(str(tmp_path / "model"))
    assert not list(tmp_path.rglob("*.bin"))
    reloaded = AlmForAudioClassification.from_pretrained(tmp_path / "model", class_names=model.class_names)
    assert equal(model.state_dict(), reloaded.state_dict())


@pytest.mark.parametrize("trace", ["checkpoint", "adapter", "record"])
def test_existing_run_is_refused(trace: str, new_trainer: Callable[..., AlmTrainer], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    if trace == "checkpoint":
        new_trainer(max_steps=1).train()
    elif trace == "adapter":
        new_trainer().save_model(str(run_dir / "adapter"))
    else:
        RunRecord(settings={}, seeds=[0], wall_seconds=1.0).save(run_dir)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    with pytest.raises(AlmPromptError, match=r"already holds a run.*resume_from_checkpoint.*overwrite_output_dir"):
        new_trainer().train()
    assert before == {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}


def test_other_files_in_the_folder_are_no_run(new_trainer: Callable[..., AlmTrainer], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("to do")
    new_trainer(max_steps=1).train()
    assert names(tmp_path / "run") == {"notes.txt", "checkpoint-1"}


def test_overwriting_starts_anew(new_trainer: Callable[..., AlmTrainer], learned: Learned, tmp_path: Path) -> None:
    first = new_trainer()
    first.train()
    second = new_trainer(overwrite_output_dir=True, max_steps=2)
    second.train()
    assert names(tmp_path / "run") == {"checkpoint-1", "checkpoint-2"}
    assert not torch.equal(learned(first.model), learned(second.model))


def test_resuming_nothing_starts_from_the_beginning_and_says_so(
    new_trainer: Callable[..., AlmTrainer], learned: Learned, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed = new_trainer()
    resumed.train(resume_from_checkpoint=True)
    assert "no complete checkpoint to resume from" in caplog.text
    plain = new_trainer(output_dir=str(tmp_path / "other"))
    plain.train()
    assert torch.equal(learned(resumed.model), learned(plain.model))


def test_resuming_a_finished_run_changes_nothing(new_trainer: Callable[..., AlmTrainer], learned: Learned) -> None:
    finished, resumed = new_trainer(), new_trainer()
    finished.train()
    resumed.train(resume_from_checkpoint=True)
    assert torch.equal(learned(finished.model), learned(resumed.model))


@pytest.mark.parametrize("adapter_name", ["default", "birds"])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_resuming_in_mid_epoch_is_bitwise_the_same(
    adapter_name: str, micro_batches: int, new_trainer: Callable[..., AlmTrainer], learned: Learned, tmp_path: Path
) -> None:
    settings = {"gradient_accumulation_steps": micro_batches}
    whole = new_trainer(adapter_name, output_dir=str(tmp_path / "whole"), **settings)
    whole.train()
    new_trainer(adapter_name, max_steps=3, **settings).train()
    resumed = new_trainer(adapter_name, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert torch.equal(learned(whole.model), learned(resumed.model))


def test_checkpoint_appears_whole_or_not_at_all(
    new_trainer: Callable[..., AlmTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process ends while the last file of the second checkpoint is being written."""
    trainer = new_trainer()
    state_class = type(trainer.state)
    save_to_json = state_class.save_to_json

    def save_and_die(state: Any, path: str) -> None:
        if state.global_step == 2:
            Path(path).write_text('{"half": ')
            raise Killed
        save_to_json(state, path)

    monkeypatch.setattr(state_class, "save_to_json", save_and_die)
    with pytest.raises(Killed):
        trainer.train()
    assert get_last_checkpoint(tmp_path / "run").endswith("checkpoint-1")
    monkeypatch.undo()
    resumed = new_trainer()
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8
    assert names(tmp_path / "run") == {"checkpoint-7", "checkpoint-8"}


def test_old_checkpoint_never_looks_whole_while_it_is_deleted(
    new_trainer: Callable[..., AlmTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process ends after the first file of an old checkpoint has been deleted."""
    rmtree = shutil.rmtree

    def delete_one_and_die(folder: Path, **options: Any) -> None:
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        if not files:
            return rmtree(folder, **options)
        os.remove(files[0])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shutil, "rmtree", delete_one_and_die)
        new_trainer(save_total_limit=1).train()
    assert names(tmp_path / "run") == {".staging", "checkpoint-2"}
    assert names(tmp_path / "run" / "checkpoint-2") == CHECKPOINT_FILES


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_incomplete_checkpoint_is_passed_over(
    lost: str, new_trainer: Callable[..., AlmTrainer], learned: Learned, tmp_path: Path
) -> None:
    finished = new_trainer()
    finished.train()
    (tmp_path / "run" / "checkpoint-8" / lost).unlink()
    resumed = new_trainer()
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8
    assert torch.equal(learned(finished.model), learned(resumed.model))


@pytest.mark.parametrize("adapter_name", ["default", "birds"])
def test_best_adapter_is_loaded_whatever_its_name(
    adapter_name: str, new_trainer: Callable[..., AlmTrainer], learned: Learned, tmp_path: Path
) -> None:
    """The eval loss is replaced by one that is best at step 3, so that the best and the last weights differ."""
    trainer = new_trainer(
        adapter_name,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="distance",
        greater_is_better=False,
    )
    trainer.compute_metrics = lambda _: {"distance": abs(trainer.state.global_step - 3)}
    trainer.train()
    best = tmp_path / "run" / "checkpoint-3"
    assert Path(trainer.state.best_model_checkpoint) == best
    assert names(tmp_path / "run") == {"checkpoint-3", "checkpoint-8"}
    adapter_dir = best if adapter_name == "default" else best / adapter_name
    saved = torch.cat([tensor.flatten() for tensor in weights(adapter_dir).values()])
    assert torch.equal(learned(trainer.model), saved)
    assert trainer.model.active_adapters == [adapter_name]
    state = json.loads((best / "trainer_state.json").read_text())
    assert Path(state["best_model_checkpoint"]) == best


def test_best_checkpoint_stays_when_the_folder_is_spelled_another_way(
    new_trainer: Callable[..., AlmTrainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    best = {"load_best_model_at_end": True, "metric_for_best_model": "distance", "greater_is_better": False}
    for output_dir, last in (("run", 2), (str(tmp_path / "run"), 5)):
        trainer = new_trainer(output_dir=output_dir, eval_strategy="steps", eval_steps=1, max_steps=last, **best)
        trainer.compute_metrics = lambda _, trainer=trainer: {"distance": abs(trainer.state.global_step - 1)}
        trainer.train(resume_from_checkpoint=True)
    assert names(tmp_path / "run") == {"checkpoint-1", "checkpoint-5"}


def test_best_model_without_an_adapter_is_loaded(
    make_tiny_alm: Callable[..., Any], arguments: Arguments, clips: Clips, tmp_path: Path
) -> None:
    model = make_tiny_alm()
    best = {"load_best_model_at_end": True, "metric_for_best_model": "distance", "greater_is_better": False}
    args = arguments(**STEPS, **best, max_steps=3, eval_strategy="steps", eval_steps=1, learning_rate=1e-4)
    trainer = AlmTrainer(model=model, args=args, train_dataset=clips, eval_dataset=clips[:6])
    trainer.compute_metrics = lambda _: {"distance": abs(trainer.state.global_step - 1)}
    trainer.train()
    first, last = (load_file(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors") for step in (1, 3))
    assert equal(model.state_dict(), first)
    assert not equal(first, last)


def test_output_that_cannot_be_written_is_refused_before_training(
    new_trainer: Callable[..., AlmTrainer], tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("")
    with pytest.raises(AlmPromptError, match=r"occupied/run: cannot be written .*choose another output_dir"):
        new_trainer(output_dir=str(tmp_path / "occupied" / "run"))
