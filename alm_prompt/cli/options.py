"""Flags that several commands share. Real types, not postponed ones: `HfArgumentParser` reads them."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from ..errors import AlmPromptError, check_seed


@dataclass
class TextOptions:
    """Which audio-language model, and how it reads a class name."""

    model: str | None = field(
        default=None,
        metadata={
            "help": "`tiny` (bundled), a folder, or a Hub id such as laion/clap-htsat-unfused; "
            "the adapter's own model where one is given, else `tiny`"
        },
    )
    template: str | None = field(
        default=None,
        metadata={
            "help": "sentence around a class name, with {} in its place, for zero-shot predictions (an adapter has "
            "prompts of its own); the model's own if unset"
        },
    )


@dataclass
class ModelOptions(TextOptions):
    """The same, with sentences of its own for every class, and how they are computed."""

    descriptions: str | None = field(
        default=None,
        metadata={
            "help": "sentences that stand for the classes in place of name and template: a JSON file, or `shipped`"
        },
    )
    fast: Literal["auto", "off"] = field(
        default="auto",
        metadata={"help": "the same results in less time and memory where that can be had, or `off`: the plain way"},
    )
    text_memory: float = field(
        default=4.0, metadata={"help": "GiB of the text tower's activations to keep; more are computed twice"}
    )

    def __post_init__(self) -> None:
        if not 0 < self.text_memory < math.inf:
            raise AlmPromptError(f"--text-memory must be greater than 0 GiB, got {self.text_memory}")


@dataclass
class CachedModelOptions(ModelOptions):
    """The same, and how its frozen audio features are kept."""

    cache_dir: str | None = field(
        default=None,
        metadata={"help": "folder of cached audio features and margins; $ALM_PROMPT_CACHE or ~/.cache/alm_prompt"},
    )
    no_cache: bool = field(default=False, metadata={"help": "compute audio features and margins afresh and keep none"})
    num_workers: int | None = field(
        default=None,
        metadata={"help": "processes that read clips; if unset, CPUs - 1 (at most 8) with a GPU, none without"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_workers is not None and self.num_workers < 0:
            raise AlmPromptError(f"--num-workers must be at least 0, got {self.num_workers}")


@dataclass
class DataOptions:
    """Which clips, and which of their classes."""

    data: str = field(
        metadata={
            "help": "folder with one sub-folder per class or a metadata.csv, a CSV file, or a data set of the Hub"
        }
    )
    audio_dir: str | None = field(default=None, metadata={"help": "folder that the CSV's paths start from"})
    path_column: str = field(default="path", metadata={"help": "CSV column of the audio file's path"})
    label_column: str = field(default="classname", metadata={"help": "CSV column of the class name"})
    fold_column: str | None = field(default=None, metadata={"help": "CSV column of the fold"})
    folds: list[str] | None = field(
        default=None,
        metadata={
            "help": "folds to take clips from (with --base-to-novel: to hold out in turn); if unset, of folds called "
            "train and test the one that the command needs, else all"
        },
    )
    classes: list[str] | None = field(default=None, metadata={"help": "class names; all classes of the data if unset"})


@dataclass
class TrainingDataOptions(DataOptions):
    """The same, or sentences that stand in for clips."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "folder with one sub-folder per class or a metadata.csv, a CSV file, or a data set of the Hub; "
            "not with --audio-free"
        },
    )
    audio_free: bool = field(
        default=False, metadata={"help": "learn from sentences about the --classes in place of clips"}
    )
    sentences: str | None = field(
        default=None,
        metadata={"help": "with --audio-free: JSON file of sentences per class; made of shipped text if unset"},
    )
    noise_std: float = field(
        default=0.0, metadata={"help": "with --audio-free: Gaussian noise on the unit vectors of the sentences"}
    )

    def __post_init__(self) -> None:
        if not self.audio_free:
            if self.data is None:
                raise AlmPromptError("--data is missing; name a folder or CSV file of clips, or add --audio-free")
            if self.sentences is not None or self.noise_std:
                raise AlmPromptError("--sentences and --noise-std belong to --audio-free; add it")
        elif self.data is not None:
            raise AlmPromptError("--audio-free learns from sentences; leave out --data")
        elif not self.classes:
            raise AlmPromptError("--audio-free does not know the classes; add --classes dog rain siren")
        else:
            for item in fields(DataOptions):
                if item.name not in ("data", "classes") and getattr(self, item.name) != item.default:
                    raise AlmPromptError(f"--audio-free reads no clips; leave out --{item.name.replace('_', '-')}")
        if not self.noise_std >= 0:
            raise AlmPromptError(f"--noise-std must be at least 0, got {self.noise_std}")


@dataclass
class MethodOptions:
    """What is learned."""

    method: str = field(
        default="coop+zebra", metadata={"help": "methods joined by +, the innermost first, such as coop or coop+zebra"}
    )
    method_options: list[str] | None = field(
        default=None, metadata={"help": "options of the methods, such as coop.n_ctx=16 zebra.alpha=0.5"}
    )
    neighbors: str | None = field(
        default=None, metadata={"help": "JSON file of acoustic neighbours for the methods that take them"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the shots, the initial values and the order of clips"})

    def __post_init__(self) -> None:
        check_seed("--seed", self.seed)


@dataclass
class TrainingOptions:
    """The recipe of the published runs: SGD with momentum 0.9, constant rate."""

    shots: int = field(default=16, metadata={"help": "training clips (or sentences) per class"})
    allow_fewer: bool = field(
        default=False, metadata={"help": "take all clips of a class that has fewer than --shots"}
    )
    epochs: float = field(default=50.0, metadata={"help": "passes over the training clips"})
    learning_rate: float = field(default=0.05, metadata={"help": "learning rate of SGD"})
    batch_size: int = field(default=16, metadata={"help": "clips per step"})
    bf16: bool = field(default=False, metadata={"help": "train in mixed precision: bfloat16 where it is safe"})
    encoder_mode: Literal["frozen", "reference"] = field(
        default="frozen",
        metadata={"help": "encoders as they are, or in training mode as in the published loops (slow)"},
    )

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
            **({"bf16": True} if self.bf16 else {}),
        }


@dataclass
class RunOptions:
    """Where results go, and what happens to a run that is there already."""

    output_dir: str | None = field(default=None, metadata={"help": "folder for the results"})
    resume: bool = field(default=False, metadata={"help": "continue the run in --output-dir, if there is one"})
    overwrite: bool = field(default=False, metadata={"help": "replace the run in --output-dir"})

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise AlmPromptError("--resume and --overwrite exclude each other; give one")


@dataclass
class AdapterOptions:
    """A saved adapter."""

    adapter: str | None = field(
        default=None, metadata={"help": "folder or Hub id of an adapter; zero-shot without one"}
    )


@dataclass
class RecordOptions:
    """What becomes of the figures, beside being printed."""

    record: bool = field(
        default=False, metadata={"help": "write the figures into results.json and the card of the --adapter, a folder"}
    )


@dataclass
class PredictOptions:
    """What is printed about each file."""

    classes: list[str] | None = field(
        default=None, metadata={"help": "class names to choose from; those the adapter was trained on if unset"}
    )
    top_k: int = field(default=3, metadata={"help": "how many classes to print"})
    json: bool = field(default=False, metadata={"help": "print JSON"})

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise AlmPromptError(f"--top-k must be at least 1, got {self.top_k}")


@dataclass
class BenchmarkOptions:
    """The base-to-novel benchmark."""

    base_to_novel: bool = field(
        default=False, metadata={"help": "train on half of the classes and measure both halves, over seeds and folds"}
    )
    methods: list[str] = field(
        default_factory=lambda: ["zero-shot", "coop", "coop+zebra"],
        metadata={"help": "methods to compare, each with its parts joined by +"},
    )
    method_options: list[str] | None = field(
        default=None, metadata={"help": "options of the methods, such as coop.n_ctx=16 zebra.alpha=0.5"}
    )
    neighbors: str | None = field(
        default=None, metadata={"help": "JSON file of acoustic neighbours for the methods that take them"}
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds, one run each"})

    def __post_init__(self) -> None:
        for seed in self.seeds:
            check_seed("--seeds", seed)


@dataclass
class QuickstartOptions:
    """The main job in small."""

    fast: bool = field(default=False, metadata={"help": "one seed, few clips and epochs: the same path in less time"})
    output_dir: str = field(default="alm-prompt-quickstart", metadata={"help": "folder for sounds, table and adapter"})
    overwrite: bool = field(default=False, metadata={"help": "replace the results of an earlier quickstart"})

    @property
    def clips_per_class(self) -> int:
        """Recordings of each class; half of them are held out for testing."""
        return 8 if self.fast else 40

    @property
    def shots(self) -> int:
        """Training clips per class."""
        return 4 if self.fast else 16

    @property
    def epochs(self) -> int:
        """Passes over the training clips."""
        return 5 if self.fast else 50

    @property
    def num_seeds(self) -> int:
        """Seeds of the benchmark."""
        return 1 if self.fast else 3
