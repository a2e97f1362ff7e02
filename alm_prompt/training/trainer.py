"""`Trainer` for prompt methods: loss parts in the log, every clip once, runs that go on after a kill."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.utils.data import DataLoader
from transformers.trainer_utils import TrainOutput, has_length

from ..data import ClipDataset, FeatureDataset
from ..errors import AlmPromptError
from ..hub import AdapterResults
from ..losses import LossHook
from ..models.prompt_shares import sharing_prompts
from . import checkpoints, ragged
from .adapter_results import trainer_measurement, training_results
from .arguments import AlmTrainingArguments
from .launch import check_launch
from .saving import SavingTrainer

logger = logging.getLogger(__name__)


class AlmTrainer(SavingTrainer):
    """[`~transformers.Trainer`] with loss hooks, named loss parts in its log, and runs that survive `kill -9`.

    It trains to the same parameters as a plain `Trainer` with the same arguments, because a method's objective is
    computed by the model itself.

    Args:
        model: an [`AlmForAudioClassification`], usually with an adapter from `peft.get_peft_model`.
        args: an [`AlmTrainingArguments`].
        loss_hooks: terms to add to the model's own objective, here and in evaluation.
        **kwargs: passed on to `transformers.Trainer`.

    Raises:
        AlmPromptError: if `args` are not `AlmTrainingArguments`, whose defaults and fields this trainer relies on,
            nothing can be written to `args.output_dir`, or the processes of a launcher would each train alone.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: AlmTrainingArguments | None = None,
        *,
        loss_hooks: Sequence[LossHook] = (),
        **kwargs: Any,
    ) -> None:
        args = AlmTrainingArguments() if args is None else args
        if not isinstance(args, AlmTrainingArguments):
            raise AlmPromptError(f"args is a {type(args).__name__}: AlmTrainer needs AlmTrainingArguments")
        check_launch(args)
        self.loss_hooks = list(loss_hooks)
        self._loss_parts: dict[str, torch.Tensor] = {}
        self._loss_parts_since_step = 0
        self._filler: dict[str, Any] | None = None
        if args.should_save:
            checkpoints.check_writable(Path(args.output_dir))
        super().__init__(model=model, args=args, **kwargs)
        self._attach_loss_hooks(self.model)

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train, or go on with a run that was killed.

        Args:
            resume_from_checkpoint: `True` goes on from the last complete checkpoint in `args.output_dir` and starts
                from the beginning where there is none; a path goes on from that checkpoint.
            trial: as in `transformers`.
            ignore_keys_for_eval: as in `transformers`.

        Raises:
            AlmPromptError: if `args.output_dir` holds a run and neither `resume_from_checkpoint` nor
                `args.overwrite_output_dir` says what to do with it, the checkpoint is damaged or of another adapter,
                or training diverged.
        """
        run_dir = Path(self._get_output_dir(trial))
        if resume_from_checkpoint is True:
            # Upstream raises where there is no checkpoint; a run killed before its first one has nothing to lose.
            resume_from_checkpoint = checkpoints.last_resumable_checkpoint(run_dir)
            if resume_from_checkpoint is None:
                logger.warning("%s: no complete checkpoint to resume from; training from the beginning", run_dir)
        elif not resume_from_checkpoint:
            self._check_run_dir(run_dir)
        if resume_from_checkpoint:
            self._check_checkpoint(Path(resume_from_checkpoint))
        self._loss_parts = {}
        # Every process looks at the folder before the first one changes it, and the change is done before training.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoints.remove_leftovers(run_dir)
            if not resume_from_checkpoint:
                # Later resumes must not find a checkpoint of the run that this one replaces.
                for checkpoint in checkpoints.list_checkpoints(run_dir):
                    checkpoints.discard(checkpoint)
        self.accelerator.wait_for_everyone()
        self._note_results(None)
        outcome = super().train(
            resume_from_checkpoint=str(resume_from_checkpoint) if resume_from_checkpoint else None,
            trial=trial,
            ignore_keys_for_eval=ignore_keys_for_eval,
        )
        self._check_not_diverged()
        clips = len(self.train_dataset) if has_length(self.train_dataset) else None
        self._note_results(training_results(self.args, clips, outcome.global_step, self.accelerator.num_processes))
        return outcome

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Evaluate as upstream does; figures of an adapter that is not in training are saved with it later on."""
        metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        # Several data sets are evaluated one by one, through this method.
        if not self.is_in_train and not isinstance(eval_dataset, dict):
            self._note_measurement(metrics, metric_key_prefix)
        return metrics

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Make a loader as upstream does, of labels that are checked where that takes no reading of clips.

        Raises:
            AlmPromptError: a label is the index of no class.
        """
        bank = self._classifier(self.model).class_bank
        if isinstance(dataset, FeatureDataset | ClipDataset) and bank is not None:
            bank.check_labels(torch.tensor(dataset.labels))
        return super()._get_dataloader(dataset, *args, **kwargs)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Build the model of a trial, with the loss hooks."""
        model = super().call_model_init(trial)
        self._attach_loss_hooks(model)
        return model

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor | int | None]:
        """Take the batches of a step as upstream does, every clip once however many processes there are."""
        return super().get_batch_samples(map(self._without_repeated, epoch_iterator), num_batches, device)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Train on a batch as upstream does; one that only keeps pace with other processes weighs nothing."""
        if inputs is self._filler:
            inputs, num_items_in_batch = inputs | {"labels": torch.zeros_like(inputs["labels"])}, torch.inf
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Compute the loss as upstream does, and note its named parts while training."""
        # In training all processes take the same steps, and their gradients are averaged.
        with sharing_prompts(self.accelerator.num_processes > 1):
            loss, outputs = super().compute_loss(
                model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
            )
        parts = getattr(outputs, "losses", None)
        if model.training and parts:
            # Upstream scales a loss that is a share of the global batch by the number of processes, because it then
            # averages over them; the parts are scaled alike, so that they add up to the logged loss.
            across_processes = num_items_in_batch is not None and self.args.average_tokens_across_devices
            self._add_loss_parts(parts, self.accelerator.num_processes if across_processes else 1)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Any, Any, Any]:
        """Predict as upstream does, with the loss of this process's own clips: it is weighted with their number."""
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        own = ragged.own_clips_now(self.args, self.accelerator.gradient_state, self.args.eval_batch_size)
        if loss is not None and own:
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = self.compute_loss(model, self._prepare_inputs(ragged.cut(inputs, own))).detach()
        return loss, logits, labels

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log `logs`; beside the training loss also the mean of each of its parts since the last time."""
        if "loss" in logs and self._loss_parts:
            steps = self.state.global_step - self._loss_parts_since_step
            names = sorted(self._loss_parts)
            sums = self.accelerator.reduce(torch.stack([self._loss_parts[name] for name in names]), reduction="mean")
            logs |= {name: value / steps for name, value in zip(names, sums.tolist(), strict=True)}
            self._loss_parts = {}
        super().log(logs, start_time)

    def _without_repeated(self, batch: dict[str, Any]) -> dict[str, Any]:
        own = ragged.own_clips_now(self.args, self.accelerator.gradient_state, self._train_batch_size)
        if own == 0:
            self._filler = ragged.filler(batch)
            return self._filler
        return batch if own is None else ragged.cut(batch, own)

    def _note_results(self, results: AdapterResults | None) -> None:
        """Keep what is known about the adapter, to be saved with it; what was known before is of other numbers."""
        for config in self._adapter_configs():
            config.results = results

    def _note_measurement(self, metrics: dict[str, float], prefix: str) -> None:
        """Keep what was measured of the adapter; where it is disabled, that was the model without it."""
        model = self._classifier(self.model)
        for config in self._adapter_configs():
            other_classes = None if model.class_names == config.class_names else model.class_names
            measurement = trainer_measurement(metrics, prefix, other_classes)
            if measurement is not None and model.class_head.active_method is not None:
                config.results = config.results or AdapterResults()
                config.results.add(measurement)

    def _classifier(self, model: nn.Module) -> nn.Module:
        """The model itself, without what is wrapped around it."""
        model = self.accelerator.unwrap_model(model, keep_torch_compile=False)
        return model.get_base_model() if isinstance(model, PeftModel) else model

    def _attach_loss_hooks(self, model: nn.Module) -> None:
        self._classifier(model).loss_hooks = self.loss_hooks

    def _add_loss_parts(self, parts: dict[str, torch.Tensor], scale: int) -> None:
        if not self._loss_parts:
            self._loss_parts_since_step = self.state.global_step
        for name, part in parts.items():
            # Sums stay on the device: reading a value in every step would make the host wait for it.
            self._loss_parts[name] = self._loss_parts.get(name, 0.0) + part.detach() * scale

    def _check_checkpoint(self, checkpoint: Path) -> None:
        checkpoints.check_adapters(checkpoint)
        for config in self._adapter_configs():
            adapter_name = self.accelerator.unwrap_model(self.model).active_adapters[0]
            checkpoints.check_settings(checkpoint, adapter_name, config.to_dict())

    def _check_run_dir(self, run_dir: Path) -> None:
        trace = checkpoints.find_run(run_dir)
        if trace is not None and not self.args.overwrite_output_dir:
            raise AlmPromptError(
                f"{run_dir} already holds a run ({trace.name}): resume it with resume_from_checkpoint=True, choose "
                "another output_dir, or set overwrite_output_dir=True"
            )
