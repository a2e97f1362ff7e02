"""Options of CoOp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...models.prompt_layout import CLASS_POSITIONS
from ...registry import peft_type_of
from ..config import PromptConfig
from .layer import CoOpPrompt


@dataclass
class CoOpPromptConfig(PromptConfig):
    """Config of CoOp (arXiv 2109.01134): `[SOS] V1..VM class name . [EOS]` with learned vectors `V`.

    Raises:
        AlmPromptError: an option is out of its range.
    """

    method_class: ClassVar[type[CoOpPrompt]] = CoOpPrompt

    n_ctx: int = field(
        default=16, metadata={"help": "Number M of context vectors; follows the words where ctx_init is given."}
    )
    ctx_init: str | None = field(
        default=None, metadata={"help": "Words whose token embeddings start the context; default: N(0, 0.02^2)."}
    )
    class_specific: bool = field(
        default=False, metadata={"help": "One context per class; cannot be used on other classes."}
    )
    class_position: str = field(
        default="end", metadata={"help": "Where the class name stands: 'end', 'middle' or 'front' of the context."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("coop")
        if isinstance(self.n_ctx, bool) or not isinstance(self.n_ctx, int) or self.n_ctx < 1:
            raise AlmPromptError(f"n_ctx is {self.n_ctx!r}; give a whole number of at least 1")
        if self.ctx_init is not None and not self.ctx_init.strip():
            raise AlmPromptError("ctx_init is blank; give words or leave it out")
        if self.class_position not in CLASS_POSITIONS:
            raise AlmPromptError(
                f"class_position is {self.class_position!r}; choose one of {', '.join(CLASS_POSITIONS)}"
            )
