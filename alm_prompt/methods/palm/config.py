"""Options of PALM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from .layer import PalmPrompt


@dataclass
class PalmPromptConfig(WrapperPromptConfig):
    """Config of PALM (arXiv 2409.19806): learning in the joint space, with `d + 1` numbers per class.

    Without `prompt` it mixes learned vectors into the embeddings of the bare class names; with one, into those of the
    wrapped method (the paper's table 4). Classes outside the training list have no learned vector: they keep the
    embedding that the others are mixed into. The paper does not say what to do with them; this is our rule.

    Raises:
        AlmPromptError: the options contradict each other, or the wrapped method does not classify by text embeddings.
    """

    method_class: ClassVar[type[PalmPrompt]] = PalmPrompt

    text_features: bool = field(
        default=True, metadata={"help": "Mix with text; without, a trained class is its learned vector alone."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("palm")
        if self.prompt is None:
            return
        wrapped = type(self.prompt).__name__
        if not self.text_features:
            raise AlmPromptError(f"text_features=False leaves nothing of {wrapped}; wrap no method or mix with text")
        if not self.prompt.build().cosine_logits:
            raise AlmPromptError(
                f"PALM mixes into text embeddings, but {wrapped} with these options does not classify by them alone; "
                "wrap PALM inside it instead, or wrap for example CoOpPromptConfig()"
            )
