"""Flags of `alm-prompt benchmark`. Real types, not postponed ones: `HfArgumentParser` reads them."""

from dataclasses import dataclass, field

from ..errors import AlmPromptError


@dataclass
class BenchmarkDataOptions:
    """Which data sets, and where they are."""

    data_root: str | None = field(
        default=None,
        metadata={"help": "folder that holds one folder per data set; the bundled sound world if unset"},
    )
    datasets: list[str] | None = field(
        default=None,
        metadata={
            "help": "names of the catalog, folders below --data-root, or `world`; without --data-root, names on the "
            "Hub such as MahiA/SESA; for cross-dataset pairs such as RAVDESS:CREMA-D; all of the recipe that are "
            "there if unset"
        },
    )
    check_data: bool = field(
        default=False,
        metadata={"help": "refuse other numbers of clips than the published ones, and clips that cannot be decoded"},
    )
    keep_duplicates: bool = field(
        default=False,
        metadata={
            "help": "go on where a test clip is the same audio as a training clip, or one audio has two labels, as in "
            "the published runs; every row then says how many of its test clips they are"
        },
    )


@dataclass
class RecipeOptions:
    """What differs from the recipe; whatever is unset stays as it says."""

    methods: list[str] | None = field(
        default=None, metadata={"help": "some of the recipe's methods by label, or other stacks such as coop+zebra"}
    )
    method_options: list[str] | None = field(
        default=None, metadata={"help": "options of the methods, such as coop.n_ctx=4 zebra.alpha=0.5"}
    )
    neighbors: list[str] | None = field(
        default=None,
        metadata={
            "help": "acoustic neighbours in place of the shipped ones: a JSON file, or a folder of one per data set; "
            "NAME=PATH for several sources, each in a line of its own"
        },
    )
    seeds: list[int] | None = field(default=None, metadata={"help": "seeds, one run each"})
    folds: list[str] | None = field(
        default=None, metadata={"help": "folds to hold out in turn, or `fixed`: the one pair of lists of ZEBRA's runs"}
    )
    shots: list[int] | None = field(default=None, metadata={"help": "training clips per class, one run for each"})
    class_rule: str | None = field(
        default=None, metadata={"help": "base classes: all, alphabetical-halves or seed-42-halves"}
    )
    epochs: float | None = field(default=None, metadata={"help": "passes over the training clips"})
    learning_rate: float | None = field(default=None, metadata={"help": "learning rate of SGD"})
    batch_size: int | None = field(default=None, metadata={"help": "clips per step"})
    bf16: bool = field(default=False, metadata={"help": "train in mixed precision: bfloat16 where it is safe"})
    encoder_mode: str | None = field(
        default=None, metadata={"help": "`frozen`, or `reference` as in the published training loops (slow)"}
    )
    official: bool = field(
        default=False, metadata={"help": "seeds, folds and draw of the shots as in the published runs, where known"}
    )

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise AlmPromptError(f"--{name.replace('_', '-')} must be greater than 0, got {value}")

    @property
    def training(self) -> dict[str, float | int]:
        """Training arguments that differ, under the names that `AlmTrainingArguments` gives them."""
        given = {
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
            "bf16": self.bf16 or None,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass
class RunnerOptions:
    """What becomes of the runs."""

    output_dir: str | None = field(
        default=None, metadata={"help": "folder for the rows; the same command again goes on where it was"}
    )
    dry_run: bool = field(default=False, metadata={"help": "print the grid and what it is expected to cost"})
    strict: bool = field(default=False, metadata={"help": "end with an error if any run failed, not only if all did"})
