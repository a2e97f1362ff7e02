"""A chat model of `transformers` as a plain function from messages to an answer."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AlmPromptError
from ..loading import backbone_failures, one_line
from .loading import bar_for_downloads_only

if TYPE_CHECKING:
    from ..prompts.dialogue import Message

TEMPERATURE = 0.7


def revision_of(reference: str) -> str | None:
    """Commit of a model on the Hub; `None` for a local folder.

    Args:
        reference: a folder or a Hub id.

    Raises:
        AlmPromptError: there is no such model, or it is of a kind that `transformers` does not know.
    """
    from huggingface_hub import hf_hub_download
    from transformers import AutoConfig
    from transformers.utils import CONFIG_NAME

    with _opening(reference):
        AutoConfig.from_pretrained(reference, trust_remote_code=False)
        # Files of the Hub's cache lie in a folder that is named by their commit.
        return None if Path(reference).is_dir() else Path(hf_hub_download(reference, CONFIG_NAME)).parent.name


class ChatModel:
    """A chat model; the same messages give the same answer, other messages are another draw.

    Args:
        reference: a folder or a Hub id.
        revision: commit on the Hub, see [`revision_of`].
        seed: another seed, other answers.
        max_new_tokens: longest answer.

    Raises:
        AlmPromptError: there is no such model, it cannot be read, or it does not chat.
    """

    def __init__(self, reference: str, revision: str | None, seed: int, max_new_tokens: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.reference, self.seed, self.max_new_tokens = reference, seed, max_new_tokens
        with _opening(reference), bar_for_downloads_only(reference):
            self.tokenizer = AutoTokenizer.from_pretrained(reference, revision=revision, trust_remote_code=False)
            if self.tokenizer.chat_template is None:
                raise AlmPromptError(f"--llm {reference!r} has no chat template; give a model that is made to chat")
            model = AutoModelForCausalLM.from_pretrained(reference, revision=revision, trust_remote_code=False)
            self.model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def __call__(self, messages: list[Message]) -> str:
        """Answer messages.

        Raises:
            AlmPromptError: the messages are longer than the model reads, or it fails over them.
        """
        from jinja2 import TemplateError
        from transformers import set_seed

        digest = hashlib.sha256(json.dumps([self.seed, messages]).encode()).digest()
        set_seed(int.from_bytes(digest[:4], "big"))
        failures = (TemplateError, OSError, ValueError, TypeError, RuntimeError)
        with one_line(f"--llm {self.reference!r} cannot answer", failures):
            inputs = self.tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                # Templates of models that think aloud first take this name; others do not read it.
                enable_thinking=False,
            ).to(self.model.device)
            length = inputs["input_ids"].shape[1]
            self._check_length(length)
            output = self.model.generate(
                **inputs,
                do_sample=True,
                temperature=TEMPERATURE,
                max_new_tokens=self.max_new_tokens,
                pad_token_id=self.tokenizer.eos_token_id,
            )
            return self.tokenizer.decode(output[0, length:], skip_special_tokens=True)

    def _check_length(self, length: int) -> None:
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and length + self.max_new_tokens > most:
            raise AlmPromptError(
                f"--llm {self.reference!r} reads {most} tokens, but question and answer need "
                f"{length + self.max_new_tokens}; give fewer classes, or a model that reads more"
            )


def _opening(reference: str) -> AbstractContextManager[None]:
    return backbone_failures(f"--llm {reference!r} (a folder or a Hub id) cannot be opened")
