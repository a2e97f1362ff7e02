"""Flags of the commands that look at what is kept and what is computed: `cache` and `env`. Types as in `options`."""

from dataclasses import dataclass, field

from ..errors import AlmPromptError


@dataclass
class CacheOptions:
    """Which cache, and what of it."""

    cache_dir: str | None = field(
        default=None, metadata={"help": "the cache folder; $ALM_PROMPT_CACHE or ~/.cache/alm_prompt"}
    )
    kinds: list[str] | None = field(default=None, metadata={"help": "kinds to look at, such as margins; all if unset"})


@dataclass
class ExplainOptions:
    """What is looked at, beside model and method."""

    explain: bool = field(default=False, metadata={"help": "say how text towers compute prompts"})
    classes: list[str] | None = field(default=None, metadata={"help": "class names; those of the quickstart if unset"})
    batch_size: int = field(default=16, metadata={"help": "clips per step"})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise AlmPromptError(f"--batch-size must be greater than 0, got {self.batch_size}")
