"""What is trained: the same as by `transformers`, by hand, in small pieces, and in several processes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Trainer, TrainingArguments

from alm_prompt.data import FeatureDataset
from alm_prompt.errors import AlmPromptError
from alm_prompt.losses import ZebraLoss
from alm_prompt.training import AlmTrainer, AlmTrainingArguments

Build = Callable[..., PeftModel]
Arguments = Callable[..., AlmTrainingArguments]
Learned = Callable[[PeftModel], torch.Tensor]
Clips = list[dict[str, Any]]


def train(trainer_class: type[Trainer], model: PeftModel, args: TrainingArguments, clips: Clips, **settings: Any):
    trainer = trainer_class(model=model, args=args, train_dataset=clips, **settings)
    trainer.train()
    return trainer


def hand_loss_parts(model: PeftModel, clips: Clips, entropy_weight: float) -> dict[str, torch.Tensor]:
    """Cross-entropy and entropy term, clip by clip, from the logits."""
    cross_entropy, entropy = torch.zeros(()), torch.zeros(())
    for clip in clips:
        logits = model(audio_features=clip["audio_features"][None]).logits[0]
        probabilities = (logits - logits.logsumexp(0)).exp()
        cross_entropy = cross_entropy - probabilities[clip["labels"]].log() / len(clips)
        entropy = entropy - (probabilities * (probabilities + 1e-8).log()).sum() / len(clips)
    return {"cross_entropy": cross_entropy, "entropy": -entropy_weight * entropy}


@pytest.mark.parametrize("method", ["coop", "coop+zebra"])
def test_same_parameters_as_plain_trainer(
    method: str, prompted: Build, arguments: Arguments, clips: Clips, learned: Learned
) -> None:
    results = []
    for trainer_class in (Trainer, AlmTrainer):
        model = prompted(method)
        start = learned(model)
        train(trainer_class, model, arguments(per_device_train_batch_size=4), clips)
        results.append(learned(model))
        assert not torch.equal(results[-1], start)
    assert torch.equal(*results)


@pytest.mark.parametrize("method", ["coop", "coop+zebra"])
@pytest.mark.parametrize("trainer_class", [Trainer, AlmTrainer])
def test_accumulation_equals_one_big_batch(
    method: str, trainer_class: type[Trainer], prompted: Build, arguments: Arguments, clips: Clips, learned: Learned
) -> None:
    results = []
    for batch_size, micro_batches in ((16, 1), (8, 2)):
        model = prompted(method)
        args = arguments(per_device_train_batch_size=batch_size, gradient_accumulation_steps=micro_batches)
        train(trainer_class, model, args, clips)
        results.append(learned(model))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-6)


def test_extra_hook_trains_its_formula(prompted: Build, arguments: Arguments, clips: Clips, learned: Learned) -> None:
    """Three steps of SGD with momentum over all clips, against the same by hand."""
    weight, rate, momentum = 0.7, 0.05, 0.9
    model = prompted("coop")
    train(AlmTrainer, model, arguments(), clips, loss_hooks=[ZebraLoss(weight)])
    trained = learned(model)

    model = prompted("coop")
    model.get_base_model().loss_hooks = []
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(3):
        parts = hand_loss_parts(model, clips, weight)
        gradients = torch.autograd.grad(parts["cross_entropy"] + parts["entropy"], parameters)
        with torch.no_grad():
            for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                parameter -= rate * velocity.mul_(momentum).add_(gradient)
    torch.testing.assert_close(trained, learned(model), rtol=0, atol=1e-6)

    model = prompted("coop")
    train(AlmTrainer, model, arguments(), clips)
    assert (learned(model) - trained).abs().max() > 1e-4


@pytest.mark.parametrize(("batch_size", "micro_batches"), [(16, 1), (4, 2), (3, 4)])
def test_loss_parts_are_logged_as_means(
    batch_size: int, micro_batches: int, prompted: Build, arguments: Arguments, clips: Clips
) -> None:
    """With a learning rate of 0 nothing moves, so that every logged mean is known; evaluation plays no part."""
    model = prompted("coop")
    args = arguments(
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=micro_batches,
        learning_rate=0.0,
        train_sampling_strategy="sequential",
        logging_strategy="epoch",
        num_train_epochs=2,
        eval_strategy="steps",
        eval_steps=1,
    )
    trainer = train(AlmTrainer, model, args, clips, loss_hooks=[ZebraLoss(0.3)], eval_dataset=clips[:5])
    clips_per_step = batch_size * micro_batches
    steps = [clips[start : start + clips_per_step] for start in range(0, len(clips), clips_per_step)]
    parts = [hand_loss_parts(model, step, 0.3) for step in steps]
    records = [record for record in trainer.state.log_history if "loss" in record]
    assert len(records) == 2
    for record in records:
        for name in ("cross_entropy", "entropy"):
            expected = sum(part[name].item() for part in parts) / len(steps)
            assert math.isclose(record[name], expected, rel_tol=1e-5)
        assert math.isclose(record["cross_entropy"] + record["entropy"], record["loss"], rel_tol=1e-5)


def test_methods_own_parts_are_logged(prompted: Build, arguments: Arguments, clips: Clips) -> None:
    trainer = train(AlmTrainer, prompted("coop+zebra"), arguments(logging_strategy="epoch"), clips)
    assert {"cross_entropy", "entropy"} <= trainer.state.log_history[0].keys()


def test_hooks_of_one_trainer_do_not_stay_for_the_next(prompted: Build, arguments: Arguments, clips: Clips) -> None:
    model = prompted("coop")
    AlmTrainer(model=model, args=arguments(), train_dataset=clips, loss_hooks=[ZebraLoss()])
    trainer = train(AlmTrainer, model, arguments(logging_strategy="epoch"), clips)
    assert "entropy" not in trainer.state.log_history[0]


def test_hooks_with_model_init(prompted: Build, arguments: Arguments, clips: Clips) -> None:
    args = arguments(logging_strategy="epoch", num_train_epochs=1)
    trainer = AlmTrainer(args=args, train_dataset=clips, model_init=lambda: prompted(), loss_hooks=[ZebraLoss()])
    trainer.train()
    assert "entropy" in trainer.state.log_history[0]


def test_predict_gives_logits_with_and_without_labels(prompted: Build, arguments: Arguments, clips: Clips) -> None:
    model = prompted("coop+zebra")
    args = arguments(per_device_eval_batch_size=5)
    trainer = AlmTrainer(
        model=model,
        args=args,
        compute_metrics=lambda prediction: {"classes": prediction.predictions.shape[1]},
    )
    with torch.no_grad():
        expected = model(audio_features=torch.stack([clip["audio_features"] for clip in clips])).logits
    output = trainer.predict(clips)
    torch.testing.assert_close(torch.from_numpy(output.predictions), expected)
    assert output.metrics["test_classes"] == len(model.class_names)
    unlabelled = [{"audio_features": clip["audio_features"]} for clip in clips]
    torch.testing.assert_close(torch.from_numpy(trainer.predict(unlabelled).predictions), expected)


def test_base_model_does_not_change(prompted: Build, arguments: Arguments, clips: Clips) -> None:
    model = prompted("coop")
    before = copy.deepcopy(model.get_base_model().alm.state_dict())
    train(AlmTrainer, model, arguments(num_train_epochs=20), clips)
    after = model.get_base_model().alm.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_arguments_are_refused(prompted: Build, clips: Clips, tmp_path: Any) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(AlmPromptError, match="AlmTrainingArguments"):
        AlmTrainer(model=prompted(), args=args, train_dataset=clips)


@pytest.mark.parametrize("label", [-100, 4])
def test_labels_of_a_data_set_are_checked_before_the_first_step(
    label: int, prompted: Build, arguments: Arguments, clips: Clips
) -> None:
    features = torch.stack([clip["audio_features"] for clip in clips])
    dataset = FeatureDataset(features, [clip["labels"] for clip in clips[:-1]] + [label])
    trainer = AlmTrainer(model=prompted(), args=arguments(), train_dataset=dataset)
    trainer.compute_loss = lambda *args, **kwargs: pytest.fail("a step was taken")
    for run in (trainer.train, lambda: trainer.evaluate(dataset), lambda: trainer.predict(dataset)):
        with pytest.raises(AlmPromptError, match=f"label {label} is the index of no class"):
            run()


def test_one_process_takes_one_gpu(
    prompted: Build, arguments: Arguments, clips: Clips, caplog: pytest.LogCaptureFixture
) -> None:
    """Two would each get a copy of the model without parameters."""
    args = arguments()
    args._n_gpu = 2
    trainer = AlmTrainer(model=prompted("coop"), args=args, train_dataset=clips)
    assert trainer.args.n_gpu == 1
    assert [record.message.partition(",")[0] for record in caplog.records] == ["2 GPUs but one process"]


def test_training_that_diverges_ends_with_a_word_and_keeps_what_was_good(
    prompted: Build, arguments: Arguments, clips: Clips
) -> None:
    def overflow(outputs: Any, labels: torch.Tensor, head: Any) -> dict[str, torch.Tensor]:
        return {"overflow": outputs.logits.sum() * (math.inf if trainer.state.global_step >= 2 else 1.0)}

    args = arguments(save_strategy="steps", save_steps=1, logging_strategy="steps", logging_steps=1)
    trainer = AlmTrainer(model=prompted("coop"), args=args, train_dataset=clips, loss_hooks=[overflow])
    with pytest.raises(AlmPromptError, match=r"after step 3 'context\S*' .* learning rate below 0\.05"):
        trainer.train()
    assert sorted(path.name for path in Path(args.output_dir).iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert not math.isfinite(trainer.state.log_history[-1]["loss"])


def test_training_that_diverges_without_checkpoints_is_told_at_its_end(
    prompted: Build, arguments: Arguments, clips: Clips
) -> None:
    trainer = AlmTrainer(model=prompted("coop"), args=arguments(learning_rate=1e30), train_dataset=clips)
    with pytest.raises(AlmPromptError, match=r"training diverged: .* choose a learning rate below 1e\+30"):
        trainer.train()
