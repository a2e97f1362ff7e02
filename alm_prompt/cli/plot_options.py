"""Flags of `alm-prompt plot`, per kind. Real types, not postponed ones: `HfArgumentParser` reads them."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AlmPromptError

FORMATS = (".png", ".pdf", ".svg")


@dataclass
class PictureOptions:
    """Where the picture goes."""

    output: str = field(metadata={"help": "picture to write; its suffix is the format: .png, .pdf or .svg"})
    overwrite: bool = field(default=False, metadata={"help": "replace the file in --output"})

    def __post_init__(self) -> None:
        if Path(self.output).suffix.lower() not in FORMATS:
            raise AlmPromptError(
                f"--output {self.output!r} is no picture; end its name in one of {', '.join(FORMATS)}"
            )


@dataclass
class ResultOptions:
    """Which benchmark rows."""

    results: list[str] = field(metadata={"help": "folders that a benchmark has written"})
    only: list[str] | None = field(
        default=None, metadata={"help": "take the rows with these values only, such as dataset=ESC50 shots=16"}
    )


@dataclass
class FigureOptions:
    """Which number of a method."""

    figure: str = field(
        default="accuracy",
        metadata={"help": "accuracy, macro_f1, or base, novel, mean_of_h, h_of_means, and these with _g"},
    )


@dataclass
class NeighborTextOptions:
    """Which models, and which classes with which neighbours."""

    adapters: list[str] | None = field(
        default=None,
        metadata={"help": "folders or Hub ids of adapters, a picture each; beside a single one, zero-shot"},
    )
    classes: list[str] | None = field(
        default=None, metadata={"help": "class names; those that the first adapter was trained on if unset"}
    )
    neighbors: str | None = field(
        default=None, metadata={"help": "JSON file of acoustic neighbours; the shipped ones if unset"}
    )


@dataclass
class OneAdapterOptions:
    """Which adapter."""

    adapter: str = field(metadata={"help": "folder or Hub id of the adapter"})


@dataclass
class LogOptions:
    """Which run."""

    run: str = field(metadata={"help": "folder of a training run, or of one of its checkpoints"})
