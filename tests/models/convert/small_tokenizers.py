"""Tokenizers of the official kinds over single letters, for models with a small vocabulary."""

from __future__ import annotations

import string

from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
    T5Tokenizer,
)

# GPT-2's table begins with "!", which MS-CLAP 2023 pads with.
BYTES = sorted(ByteLevel.alphabet(), key=lambda character: (character != "!", character))
LETTERS = [*string.ascii_lowercase, *string.digits, "."]


def numbered(tokens: list[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def small_tokenizer(family: str) -> PreTrainedTokenizerBase:
    """Tokenizer of the kind that a family of checkpoints was trained with."""
    if family == "pengi":
        ends = [f"{character}</w>" for character in BYTES]
        return CLIPTokenizer(vocab=numbered([*BYTES, *ends, "<|startoftext|>", "<|endoftext|>"]), merges=[])
    if family == "msclap-2022":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return BertTokenizer(vocab=numbered([*specials, *LETTERS, *(f"##{letter}" for letter in LETTERS)]))
    if family == "msclap-2023":
        return GPT2Tokenizer(vocab=numbered([*BYTES, "<|endoftext|>"]), merges=[])
    if family == "laion":
        return RobertaTokenizer(vocab=numbered(["<s>", "<pad>", "</s>", "<unk>", *BYTES, "<mask>"]), merges=[])
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*specials, *((letter, -3.0) for letter in LETTERS)], extra_ids=0)
