"""From clips and prompts to Pengi's inputs, and from its outputs to text."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from transformers import AutoProcessor, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from ...errors import AlmPromptError
from ..processing import AlmFeatureExtractor, AlmProcessor
from .configuration import PengiConfig
from .modeling import IGNORED

# Where `ProcessorMixin` saves a second tokenizer: under the name of the argument.
DECODER_FOLDER = "decoder_tokenizer"
# What Pengi's texts end in.
END_OF_TEXT = " <|endoftext|>"


class PengiProcessor(AlmProcessor):
    """Feature extractor and tokenizer of the dual encoder, and the decoder's own tokenizer.

    Args:
        feature_extractor: turns audio into features.
        tokenizer: turns prompts into token ids (CLIP's).
        decoder_tokenizer: turns token ids that the model wrote into text (GPT-2's).
    """

    def __init__(
        self,
        feature_extractor: AlmFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        decoder_tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        # That of AlmProcessor knows two parts.
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, decoder_tokenizer)
        self.text_suffix = ""
        if decoder_tokenizer.pad_token is None:
            decoder_tokenizer.pad_token = decoder_tokenizer.eos_token

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any) -> PengiProcessor:
        """Load from our own format.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            **kwargs: options of the Hub download, such as `revision`.

        Raises:
            AlmPromptError: there is no decoder tokenizer.
        """
        encoders = AlmProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        kwargs.pop("trust_remote_code", None)
        try:
            decoder_tokenizer = AutoTokenizer.from_pretrained(
                pretrained_model_name_or_path, subfolder=DECODER_FOLDER, trust_remote_code=False, **kwargs
            )
        except (OSError, ValueError) as error:
            raise AlmPromptError(
                f"{pretrained_model_name_or_path} holds no tokenizer in {DECODER_FOLDER}, which turns what Pengi "
                "writes into text; convert the checkpoint with alm-prompt convert pengi --generation"
            ) from error
        return cls(encoders.feature_extractor, encoders.tokenizer, decoder_tokenizer)

    @property
    def stopping_ids(self) -> dict[str, int]:
        """Ids for the model's configuration.

        `eos_token_id`: the first of what the decoder's tokenizer makes of `" <|endoftext|>"`, as in the official code;
        `pad_token_id`: the tokenizer's own, which is no part of a text.
        """
        first = self.decoder_tokenizer(END_OF_TEXT)["input_ids"][0]
        return {"eos_token_id": first, "pad_token_id": self.decoder_tokenizer.pad_token_id}

    def __call__(
        self,
        *args: Any,
        decoder_text: str | list[str] | None = None,
        text_target: str | list[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Compute features of audio, token ids of prompts, or both.

        Args:
            *args: audio, prompts and options, see [`AlmProcessor`].
            decoder_text: text per clip that the decoder reads after the prefix and continues.
            text_target: text per clip that the decoder learns to write, in place of `decoder_text`.
            **kwargs: the same options by name.

        Returns:
            The inputs of [`PengiForConditionalGeneration`] for what was given, as tensors of torch; with `text_target`
            also `labels`.

        Raises:
            AlmPromptError: both texts of the decoder; what [`AlmProcessor`] refuses.
        """
        if decoder_text is not None and text_target is not None:
            raise AlmPromptError("decoder_text and text_target exclude each other; give the one that is needed")
        batch = super().__call__(*args, **kwargs)
        if decoder_text is not None:
            batch.update(self._decoder_inputs(decoder_text, "", "left"))
        if text_target is not None:
            batch.update(self._decoder_inputs(text_target, END_OF_TEXT, "right"))
            padding = batch["decoder_attention_mask"] == 0
            batch["labels"] = batch["decoder_input_ids"].masked_fill(padding, IGNORED)
        return batch

    def _decoder_inputs(self, texts: str | list[str], suffix: str, padding_side: str) -> dict[str, torch.Tensor]:
        texts = [f"{text}{suffix}" for text in ([texts] if isinstance(texts, str) else texts)]
        tokens = self.decoder_tokenizer(texts, padding=True, padding_side=padding_side, return_tensors="pt")
        return {f"decoder_{name}": tokens[name] for name in ("input_ids", "attention_mask")}

    def decode(self, token_ids: Any, skip_special_tokens: bool = True, **kwargs: Any) -> str:
        """Text of one row of ids that the model wrote, without the space that it stops at."""
        return self.decoder_tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens, **kwargs).strip()

    def batch_decode(self, sequences: Any, **kwargs: Any) -> list[str]:
        """Texts of all rows of ids that the model wrote, see [`decode`]."""
        return [self.decode(token_ids, **kwargs) for token_ids in sequences]


AutoProcessor.register(PengiConfig, PengiProcessor)
