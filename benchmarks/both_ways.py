"""A model of Pengi's size, or of another, with the steps of a method in both ways: ours and the published one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from published_way import PublishedWay
from real_size import FAMILIES, RESIDUAL
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapAudioConfig, PreTrainedTokenizerFast

from alm_prompt import (
    AlmConfig,
    AlmForAudioClassification,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    PalmPromptConfig,
    SeptPromptConfig,
)
from alm_prompt.models import AlmModel

# Tokens of the names and of the ten neighbours of a class; CLIP's tokenizer gives means of 1.6 and 3.3 on ESC-50.
NAME_TOKENS = (1, 1, 2, 2, 3)
NEIGHBOR_TOKENS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)
TEMPLATE = "sound of {}."


@dataclass(frozen=True)
class Setting:
    """Sizes of everything.

    Attributes:
        model: configuration of the dual encoder.
        front_end: settings of its feature extractor.
        lengths: what the published way pads to.
        repeats: how often a way is timed, and how often one that takes more than ten seconds.
    """

    model: AlmConfig
    front_end: Mapping[str, Any]
    lengths: tuple[int, ...] = (77, 40)
    classes: int = 25
    batch: int = 16
    n_ctx: int = 16
    repeats: tuple[int, int] = (5, 2)
    growth: tuple[int, ...] = (25, 100, 400, 1600)
    many_classes: int = 2000


def pengi() -> Setting:
    """The size of Pengi."""
    options, front_end = FAMILIES["pengi"]
    config = AlmConfig(audio_config=ClapAudioConfig(), audio_projection=RESIDUAL, projection_dim=1024, **options)
    return Setting(config, front_end)


def class_names(classes: int) -> list[str]:
    """Names of one to three words, which are one token each."""
    return [" ".join([f"w{index}"] * NAME_TOKENS[index % len(NAME_TOKENS)]) for index in range(classes)]


def neighbors(names: list[str]) -> dict[str, list[str]]:
    """Ten neighbours for every class, of one to six words."""
    return {
        name: [" ".join([f"n{index}x{number}"] * tokens) for number, tokens in enumerate(NEIGHBOR_TOKENS)]
        for index, name in enumerate(names)
    }


def word_tokenizer(config: AlmConfig, texts: list[str]) -> PreTrainedTokenizerFast:
    """One token per word, between the text tower's special tokens."""
    start, end = config.text_config.bos_token_id, config.text_config.eos_token_id
    words = sorted({word for text in [*texts, TEMPLATE.format(".").replace(".", " .")] for word in text.split()})
    free = (number for number in range(1, config.text_config.vocab_size) if number not in (start, end))
    vocabulary = {"<unk>": 0, "<s>": start, "</s>": end} | dict(zip(words, free, strict=False))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", start), ("</s>", end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


class Bench:
    """One model in both ways, with a batch of audio features.

    Args:
        setting: sizes of everything.
        classes: number of classes.
        device: where everything is computed.
        autocast: type of products under autocast; default: everything in float32.
    """

    def __init__(
        self, setting: Setting, classes: int, device: str = "cpu", autocast: torch.dtype | None = None
    ) -> None:
        torch.manual_seed(0)
        self.setting = setting
        self.device = torch.device(device)
        self.autocast = autocast
        self.names = class_names(classes)
        # Only SEPT takes them, which is measured with this many classes.
        self.neighbors = neighbors(self.names[: setting.classes])
        texts = [*self.names, *(term for terms in self.neighbors.values() for term in terms)]
        self.tokenizer = word_tokenizer(setting.model, texts)
        self.zero_shot = AlmForAudioClassification(setting.model, self.tokenizer).eval().to(device)
        self.zero_shot.set_classes(self.names, template=TEMPLATE)
        self.audio = torch.randn(setting.batch, setting.model.projection_dim).to(device)
        self.labels = (torch.arange(setting.batch) % classes).to(device)

    def config(self, method: str) -> PeftConfig:
        """Config of a method by its name."""
        coop = CoOpPromptConfig(n_ctx=self.setting.n_ctx)
        configs = {
            "coop": coop,
            "cocoop": CoCoOpPromptConfig(n_ctx=self.setting.n_ctx),
            "palm": PalmPromptConfig(),
            "sept": SeptPromptConfig(prompt=coop, neighbors=self.neighbors, margin_templates="template"),
        }
        return configs[method]

    def adapted(self, method: str) -> PeftModel:
        """A copy of the model with a method; its learned tensors are the same every time."""
        torch.manual_seed(1)
        return get_peft_model(copy.deepcopy(self.zero_shot), self.config(method)).train()

    def precision(self) -> AbstractContextManager[None]:
        """Autocast, where it is asked for."""
        return nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)

    def ours(
        self, method: str, fast: str = "auto", compiler: Mapping[str, Any] | None = None
    ) -> Callable[[], torch.Tensor]:
        """A step of a method from audio features that are at hand, forward and backward; it returns the loss.

        Args:
            method: name of the method.
            fast: `"auto"`, or `"off"` for prompts through the forward of transformers.
            compiler: options of `torch.compile`; default: nothing is compiled.
        """
        model = self.adapted(method)
        model.get_base_model().alm.text_tower.fast = fast
        forward = model if compiler is None else torch.compile(model, **compiler)

        def step() -> torch.Tensor:
            model.zero_grad()
            with self.precision():
                loss = forward(audio_features=self.audio, labels=self.labels).loss
            loss.backward()
            return loss.detach()

        return step

    def published(
        self,
        method: str,
        length: int,
        encode: Callable[[AlmModel], torch.Tensor] | None = None,
        unfrozen: str = "projections",
    ) -> Callable[[], torch.Tensor]:
        """The same step in the published way.

        Args:
            method: name of the method.
            length: what prompts are padded to.
            encode: encodes a batch of audio, in every step; by default the same features are at hand as in [`ours`].
            unfrozen: `"projections"` or `"everything"`.
        """
        model = self.adapted(method).get_base_model()
        way = PublishedWay(model.alm, self.tokenizer, length, unfrozen)
        learned = model.class_head.tensors("default")
        text: list[Any] = [self.names]
        if method == "sept":
            text += [self.neighbors, way.margins(self.names, self.neighbors, [TEMPLATE])]

        def step() -> torch.Tensor:
            for tensor in learned.values():
                tensor.grad = None
            with self.precision():
                audio = self.audio if encode is None else encode(way.alm)
                loss = getattr(way, method)(learned, *text, audio, self.labels)
            loss.backward()
            return loss.detach()

        return step
