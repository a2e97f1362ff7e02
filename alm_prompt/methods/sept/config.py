"""Options of SEPT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ...errors import AlmPromptError
from ...prompts import checked_neighbors, shipped_neighbors
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from .layer import SeptPrompt

if TYPE_CHECKING:
    from ...models import AlmForAudioClassification

MARGIN_TEMPLATES = ("ensemble", "template")
NEIGHBOR_CONTEXTS = ("static", "batch_mean")


@dataclass
class SeptPromptConfig(WrapperPromptConfig):
    """Config of SEPT (arXiv 2601.20867), which wraps a prompt method with a shared context.

    The four switches express every row of the paper's ablation.

    Raises:
        AlmPromptError: an option is out of its range, no method is wrapped, or neighbours are missing or unusable.
    """

    method_class: ClassVar[type[SeptPrompt]] = SeptPrompt

    neighbors: dict[str, list[str]] | None = field(
        default=None, metadata={"help": "Terms that sound like each class; default: the shipped ones of its data set."}
    )
    weight: float = field(default=3.0, metadata={"help": "Weight of the semantic expansion loss."})
    intra: bool = field(default=True, metadata={"help": "Pull a class towards its own neighbours."})
    inter: bool = field(default=True, metadata={"help": "Push a class from the neighbours of others."})
    intra_margin: bool = field(default=True, metadata={"help": "End the pull at the frozen model's distance."})
    inter_margin: bool = field(default=True, metadata={"help": "End the push at the frozen model's distance."})
    margin_templates: str = field(
        default="ensemble",
        metadata={"help": "Margins over 'ensemble' (the 100 templates) or 'template' (the zero-shot one: SEPT-)."},
    )
    normalize: bool = field(default=True, metadata={"help": "Measure distances between unit vectors."})
    neighbor_context: str = field(
        default="static",
        metadata={
            "help": "Over a method that shifts prompts by the clip: neighbours around its 'static' context, or around "
            "the 'batch_mean' of the clips' contexts."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("sept")
        if self.weight < 0:
            raise AlmPromptError(f"weight is {self.weight}; give a weight of at least 0")
        choices = {"margin_templates": MARGIN_TEMPLATES, "neighbor_context": NEIGHBOR_CONTEXTS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise AlmPromptError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(known)}")

    def bind(self, model: AlmForAudioClassification) -> None:
        """Bind the wrapper, and find the neighbours of the training classes."""
        super().bind(model)
        if len(self.class_names) < 2:
            raise AlmPromptError(f"SEPT needs two classes or more, but there is only {self.class_names[0]!r}")
        given = self.neighbors if self.neighbors is not None else shipped_neighbors(self.class_names)
        self.neighbors = checked_neighbors(given, self.class_names)
        sizes = {name: len(terms) for name, terms in self.neighbors.items()}
        odd = next((name for name, size in sizes.items() if size != sizes[self.class_names[0]]), None)
        if odd is not None:
            first = self.class_names[0]
            raise AlmPromptError(
                f"class {odd!r} has {sizes[odd]} neighbours and {first!r} has {sizes[first]}; give all classes as many"
            )
