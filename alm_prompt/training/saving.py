"""What a trainer writes and sends: checkpoints that are whole, and adapters of four files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..errors import AlmPromptError
from ..methods import PromptConfig
from ..methods.tuner import can_be_loaded
from . import checkpoints


class SavingTrainer(Trainer):
    """[`~transformers.Trainer`] that leaves nothing half-written, pickles nothing, and shares adapters only."""

    _staging_dir: Path | None = None

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the adapter as `model.push_to_hub` does.

        Upstream would send all that lies in `args.output_dir`, under a card that knows nothing of the adapter, and
        still does where the model has no adapter of ours.

        Args:
            commit_message: first line of the commit.
            blocking: as in `transformers`; an adapter is small, and always waited for.
            token: for the Hub; default: `args.hub_token`, or the one of `hf auth login`.
            revision: branch; default: `args.hub_revision`, or `main`.
            **options: others of [`push_adapter`], such as `private` (default: `args.hub_private_repo`) and `license`.

        Returns:
            Address of the commit; `None` in all processes but the first.
        """
        if not self._adapter_configs():
            return super().push_to_hub(commit_message, blocking, token, revision, **options)
        if not self.is_world_process_zero():
            return None
        return self.accelerator.unwrap_model(self.model).push_to_hub(
            self.args.hub_model_id or Path(self.args.output_dir).absolute().name,
            commit_message=commit_message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            **({"private": self.args.hub_private_repo} | options),
        )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Leave the card that every saved adapter has; upstream would write another over it."""
        if not self._adapter_configs():
            super().create_model_card(*args, **kwargs)

    def _adapter_configs(self) -> list[PromptConfig]:
        """Config of the adapter that is trained, if it is one of ours."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        config = model.active_peft_config if isinstance(model, PeftModel) else None
        return [config] if isinstance(config, PromptConfig) else []

    def _check_not_diverged(self) -> None:
        """Refuse to go on with, or to save, numbers that no adapter could be loaded with.

        Raises:
            AlmPromptError: with the first tensor at fault and the way out.
        """
        for name, parameter in self.accelerator.unwrap_model(self.model).named_parameters():
            if parameter.requires_grad and not can_be_loaded(parameter.detach()):
                raise AlmPromptError(
                    f"training diverged: after step {self.state.global_step} {name.rpartition('learned_')[2]!r} holds "
                    f"NaN, infinite or huge numbers; choose a learning rate below {self.args.learning_rate:g}"
                )

    def _get_output_dir(self, trial: Any) -> str:
        """Return the folder of the run, or of its staging area while a checkpoint is being written."""
        return super()._get_output_dir(trial) if self._staging_dir is None else str(self._staging_dir)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint that appears whole.

        Upstream writes file after file into `checkpoint-<step>` and deletes old checkpoints in place: a process killed
        meanwhile leaves a folder that looks like a checkpoint. Here upstream writes into a staging folder (where it
        finds nothing to delete), and the result is renamed.

        Raises:
            AlmPromptError: training diverged; the checkpoints before stay.
        """
        self._check_not_diverged()
        run_dir = Path(self._get_output_dir(trial))
        self._staging_dir = run_dir / checkpoints.STAGING_NAME
        staged = self._staging_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._staging_dir = None
        if self.state.best_model_checkpoint == str(staged):
            self.state.best_model_checkpoint = str(run_dir / staged.name)
            if self.args.should_save:
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        # Every process writes its own random state into the checkpoint.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            protected = {checkpoints.publish_checkpoint(staged, run_dir).name}
            if self.state.best_model_checkpoint is not None:
                # By name: a resumed run may know its folder by another path.
                protected.add(Path(self.state.best_model_checkpoint).name)
            checkpoints.prune_checkpoints(run_dir, self.args.save_total_limit, protected)
            checkpoints.remove_leftovers(run_dir)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Save the model or adapter and nothing else, each file whole.

        Upstream adds `training_args.bin`, a pickle, and the processor, whose tokenizer beside an adapter makes
        `AutoPeftModel` raise.
        """
        if not self.args.should_save:
            return
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        with checkpoints.staged_files(Path(output_dir or self.args.output_dir)) as staging:
            # Left to itself PEFT asks the Hub, at every checkpoint, whether the vocabulary has grown: not by prompts.
            options = {"save_embedding_layers": False} if isinstance(model, PeftModel) else {}
            model.save_pretrained(str(staging), state_dict=state_dict, **options)

    def _load_best_model(self) -> None:
        """Load the best checkpoint.

        Upstream looks for an adapter at the top of the checkpoint only, where PEFT writes none but the one called
        "default", and otherwise keeps the last weights with no more than a warning.
        """
        checkpoints.check_adapters(Path(self.state.best_model_checkpoint))
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        # A model without an adapter has such an attribute, too: a method of transformers.
        adapters = model.active_adapters if isinstance(model, PeftModel) else []
        folder = Path(self.state.best_model_checkpoint, *adapters[:1])
        if adapters and folder.is_dir():
            model.load_adapter(str(folder), adapters[0], is_trainable=True)
        else:
            super()._load_best_model()
