"""Flags that several commands share. Real types, not postponed ones: `HfArgumentParser` reads them."""

from dataclasses import dataclass, field

from ..errors import AlmPromptError


@dataclass
class ModelOptions:
    """Which audio-language model, and how its frozen audio features are kept."""

    model: str | None = field(
        default=None,
        metadata={
            "help": "`tiny` (bundled), a folder, or a Hub id such as laion/clap-htsat-unfused; "
            "the adapter's own model where one is given, else `tiny`"
        },
    )
    template: str | None = field(
        default=None, metadata={"help": "sentence around a class name, with {} in its place; the model's own if unset"}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "folder of cached audio features; $ALM_PROMPT_CACHE or ~/.cache/alm_prompt"}
    )
    no_cache: bool = field(default=False, metadata={"help": "compute audio features afresh and keep none"})


@dataclass
class DataOptions:
    """Which clips, and which of their classes."""

    data: str = field(metadata={"help": "folder with one sub-folder per class, or a CSV file"})
    audio_dir: str | None = field(default=None, metadata={"help": "folder that the CSV's paths start from"})
    path_column: str = field(default="path", metadata={"help": "CSV column of the audio file's path"})
    label_column: str = field(default="classname", metadata={"help": "CSV column of the class name"})
    fold_column: str | None = field(default=None, metadata={"help": "CSV column of the fold"})
    classes: list[str] | None = field(default=None, metadata={"help": "class names; all classes of the data if unset"})


@dataclass
class TrainingOptions:
    """The recipe of the published runs: SGD with momentum 0.9, constant rate."""

    shots: int = field(default=16, metadata={"help": "training clips per class"})
    allow_fewer: bool = field(
        default=False, metadata={"help": "take all clips of a class that has fewer than --shots"}
    )
    epochs: float = field(default=50.0, metadata={"help": "passes over the training clips"})
    learning_rate: float = field(default=0.05, metadata={"help": "learning rate of SGD"})
    batch_size: int = field(default=16, metadata={"help": "clips per step"})

    def __post_init__(self) -> None:
        for name in ("shots", "epochs", "learning_rate", "batch_size"):
            if not getattr(self, name) > 0:
                raise AlmPromptError(f"--{name.replace('_', '-')} must be greater than 0, got {getattr(self, name)}")

    def trainer_arguments(self) -> dict[str, float | int]:
        """The same settings under the names that `AlmTrainingArguments` gives them."""
        return {
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
        }


@dataclass
class RunOptions:
    """Where results go, and what happens to a run that is there already."""

    output_dir: str = field(metadata={"help": "folder for the results"})
    resume: bool = field(default=False, metadata={"help": "continue the run in --output-dir, if there is one"})
    overwrite: bool = field(default=False, metadata={"help": "replace the run in --output-dir"})

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise AlmPromptError("--resume and --overwrite exclude each other; give one")
