"""Flags of the commands that write no run: neighbors, export, push, convert. Real types, as in `options`."""

from dataclasses import dataclass, field

from ..errors import AlmPromptError


@dataclass
class NeighborOptions:
    """Which acoustic neighbours are made, and by what."""

    classes: list[str] = field(metadata={"help": "class names, two or more"})
    output: str = field(metadata={"help": "JSON file to write"})
    llm: str | None = field(
        default=None, metadata={"help": "chat model of transformers that is asked: a folder, or a Hub id"}
    )
    from_file: str | None = field(
        default=None, metadata={"help": "JSON file of neighbours made elsewhere, to check, filter and measure"}
    )
    held_out: list[str] | None = field(
        default=None, metadata={"help": "classes that training must not know: neighbours that name one are dropped"}
    )
    per_class: int = field(default=10, metadata={"help": "neighbours of each class"})
    retries: int = field(default=5, metadata={"help": "how often the chat model is asked again for a class"})
    seed: int = field(default=0, metadata={"help": "seed of the chat model's answers"})
    overwrite: bool = field(default=False, metadata={"help": "replace the file in --output"})

    def __post_init__(self) -> None:
        if (self.llm is None) == (self.from_file is None):
            raise AlmPromptError("give either --llm (a chat model to ask) or --from-file (neighbours made elsewhere)")


@dataclass
class ExportOptions:
    """What is written."""

    classes: list[str] | None = field(
        default=None, metadata={"help": "class names; those the adapter was trained on if unset"}
    )
    onnx: bool = field(default=False, metadata={"help": "write the audio tower as ONNX, too"})


@dataclass
class PushOptions:
    """How an adapter lies on the Hub."""

    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    token: str | None = field(default=None, metadata={"help": "token for the Hub; that of `hf auth login` if unset"})
    revision: str | None = field(default=None, metadata={"help": "branch, made where there is none; main if unset"})
    base_model: str | None = field(
        default=None, metadata={"help": "Hub id of the backbone, where it was opened from a local folder"}
    )
    license: str | None = field(default=None, metadata={"help": "of the adapter, as the Hub names it, for its card"})
    datasets: list[str] | None = field(default=None, metadata={"help": "Hub ids of the training data, for its card"})


@dataclass
class ConvertOptions:
    """What the checkpoint does not hold."""

    tokenizer: str | None = field(
        default=None,
        metadata={"help": "folder or Hub id of the text model's tokenizer; the one that the family was trained with"},
    )
    generation: bool = field(
        default=False, metadata={"help": "pengi: convert the whole model, which writes text, in place of a classifier"}
    )
    decoder_tokenizer: str | None = field(
        default=None, metadata={"help": "with --generation: folder or Hub id of the tokenizer of what is written"}
    )
