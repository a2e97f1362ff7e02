"""The class bank: class names, the sentences that describe them, and their tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from ..errors import AlmPromptError
from .class_text import checked_names, name_key, readable, special_token_ids
from .frozen import frozen
from .prompt_layout import PromptLayout, layout_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .modeling import AlmModel

PLACEHOLDER = "{}"


class ClassBank:
    """The classes a model tells apart, in order, and their text.

    Args:
        class_names: at least one name; `_` is read as a space.
        tokenizer: tokenizer of the text tower.
        max_length: longest prompt, in tokens, that the text tower takes.
        template: sentence with one `{}` for the class name.
        descriptions: sentences per class name that stand in place of the template, and in prompts in place of the
            name; the embedding of a class is then the normalised mean over its sentences (ReCLAP, arXiv 2409.09213).
            Classes without any are described by the template.
        text_suffix: what is written after every sentence and prompt.

    Raises:
        AlmPromptError: no names, a blank, doubled or too long name, a template without one `{}`, or a description
            that is too long.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        template: str,
        descriptions: Mapping[str, Sequence[str]] | None = None,
        text_suffix: str = "",
    ) -> None:
        self.class_names = checked_names(class_names)
        if template.count(PLACEHOLDER) != 1:
            raise AlmPromptError(f"template {template!r} must hold {PLACEHOLDER!r} once, where the class name goes")
        self.template = template
        given = descriptions or {}
        self.descriptions = {name: list(given[name]) for name in self.class_names if name in given}
        self.max_length = max_length
        self.tokenizer = tokenizer
        self.text_suffix = text_suffix
        self.prefix_ids, self.suffix_ids = special_token_ids(tokenizer, text_suffix)
        self.sentence_ids = [
            [self._encode_sentence(name, text) for text in self._sentences(name)] for name in self.class_names
        ]
        self._layouts: dict[tuple[int, str, torch.device], PromptLayout] = {}
        self._siblings: dict[Hashable, ClassBank] = {template: self}
        self._embeds: tuple[tuple[object, ...], torch.Tensor] | None = None
        self._learned: tuple[tuple[object, ...], torch.Tensor, torch.Tensor] | None = None

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def texts_per_class(self) -> list[int]:
        """How many sentences or prompts stand for each class: its descriptions, or one."""
        return [len(sentences) for sentences in self.sentence_ids]

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a piece of text inside a prompt, without special tokens.

        The piece is read as following other words: byte-level tokenizers write a word differently after a space.
        """
        return self.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"]

    # As all that is looked up here: ordinary Python, which a compiled graph leaves out.
    @torch.compiler.disable
    def layout(self, n_context: int, class_position: str, device: torch.device) -> PromptLayout:
        """Prompts of all classes around a learned context; made once and kept.

        Args:
            n_context: number `M` of context vectors.
            class_position: `"end"`, `"middle"` or `"front"`.
            device: where the tensors go.
        """
        key = (n_context, class_position, device)
        if key not in self._layouts:
            texts = [text for name in self.class_names for text in self._prompt_texts(name)]
            names = [self.text_ids(text) for text in texts]
            # The full stop is read together with its name, as in a sentence: some tokenizers merge the two.
            with_stop = [self.text_ids(f"{text}.") for text in texts]
            stops = [ids[len(name) :] for name, ids in zip(names, with_stop, strict=True)]
            names = [ids[: len(name)] for name, ids in zip(names, with_stop, strict=True)]
            # It is kept, and a training step cannot use a tensor that was made under inference mode.
            with torch.inference_mode(False):
                self._layouts[key] = layout_prompts(
                    self.prefix_ids, names, stops, self.suffix_ids, n_context, class_position, device
                )
        return self._layouts[key]

    def check_length(self, n_context: int) -> None:
        """Check that every class name or description fits into a prompt beside a learned context.

        Args:
            n_context: number of context vectors.

        Raises:
            AlmPromptError: a text is too long; it is named, with the budget.
        """
        budget = self.max_length - n_context - len(self.prefix_ids) - len(self.suffix_ids)
        if budget < 1:
            raise AlmPromptError(
                f"no tokens for class names: of the text tower's {self.max_length}, none are left beside {n_context} "
                "context vectors; use fewer"
            )
        for name in self.class_names:
            for text in self._prompt_texts(name):
                length = len(self.text_ids(f"{text}."))
                if length > budget:
                    raise AlmPromptError(
                        f"class {name[:40]!r}: {text[:60]!r} has {length} tokens with its full stop, but only "
                        f"{budget} of the text tower's {self.max_length} are left beside {n_context} context vectors; "
                        "shorten it or use fewer"
                    )

    def check_templates(self, templates: Sequence[str]) -> None:
        """Check that every class name fits into every one of several templates.

        Args:
            templates: sentences with one `{}` each.

        Raises:
            AlmPromptError: a name is too long in the longest of them; both are named.
        """
        self._like(self.class_names, max(templates, key=lambda template: len(self.text_ids(template))))

    def check_labels(self, labels: torch.Tensor) -> None:
        """Check that every label is the index of a class.

        Args:
            labels: on the CPU, or the host waits for their device.

        Raises:
            AlmPromptError: one is not; it is named, with the number of classes.
        """
        stray = labels[(labels < 0) | (labels >= len(self))]
        if len(stray):
            raise AlmPromptError(
                f"label {stray[0].item()} is the index of no class: the model has {len(self)}, counted from 0; "
                "correct it, or set the classes that it was made for with model.set_classes([...])"
            )

    def class_means(self, features: torch.Tensor) -> torch.Tensor:
        """From one feature per text to one per class: the mean over the unit vectors of its texts.

        Args:
            features: `[..., T, d]`, the texts of all classes one after the other.

        Returns:
            `[..., C, d]`, at least float32; not normalised.
        """
        unit = normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
        return torch.stack([texts.mean(dim=-2) for texts in unit.split(self.texts_per_class, dim=-2)], dim=-2)

    def with_template(self, template: str) -> ClassBank:
        """The same classes with another template; made once and kept, with its embeddings."""
        return self._sibling(template, lambda: self._like(self.class_names, template, self.descriptions))

    def with_templates(self, templates: Sequence[str]) -> ClassBank:
        """The same classes, each the normalised mean over several templates; made once and kept."""

        def filled(name: str) -> list[str]:
            return [template.replace(PLACEHOLDER, readable(name)) for template in templates]

        def make() -> ClassBank:
            return self._like(self.class_names, self.template, {name: filled(name) for name in self.class_names})

        return self._sibling(tuple(templates), make)

    def with_descriptions(self, descriptions: Mapping[str, Sequence[str]] | None) -> ClassBank:
        """The same classes; those that have no descriptions of their own take them from here, if they are here.

        Made once and kept.
        """
        described = {name_key(name): tuple(sentences) for name, sentences in (descriptions or {}).items()}
        given = {name: described[name_key(name)] for name in self.class_names if name_key(name) in described}
        if not given.keys() - self.descriptions.keys():
            return self
        key = ("descriptions", *given.items())
        return self._sibling(key, lambda: self._like(self.class_names, self.template, given | self.descriptions))

    def with_names(self, names: Sequence[str]) -> ClassBank:
        """Other names with the same template; made once and kept."""
        return self._sibling(("names", *names), lambda: self._like(names, self.template))

    @torch.compiler.disable
    def _sibling(self, key: Hashable, make: Callable[[], ClassBank]) -> ClassBank:
        if key not in self._siblings:
            self._siblings[key] = make()
        return self._siblings[key]

    def _like(
        self, names: Sequence[str], template: str, descriptions: Mapping[str, Sequence[str]] | None = None
    ) -> ClassBank:
        return ClassBank(names, self.tokenizer, self.max_length, template, descriptions, self.text_suffix)

    @torch.compiler.disable
    def zero_shot_embeds(self, alm: AlmModel) -> torch.Tensor:
        """Embeddings of the classes without anything learned.

        Computed once and kept while the text tower stays as it is; a tower that is being trained is never kept. After
        a change that [`AlmModel.text_state`] does not see, such as LoRA merged into the tower, call `set_classes`
        again: a new bank has kept nothing.

        Args:
            alm: the model whose text tower reads the sentences.

        Returns:
            `[C, d]` unit vectors.
        """
        if torch.is_grad_enabled() and alm.text_requires_grad():
            return self._compute_embeds(alm)
        state = alm.text_state()
        if self._embeds is None or self._embeds[0] != state:
            with frozen_text(alm):
                self._embeds = (state, self._compute_embeds(alm))
        return self._embeds[1]

    def learned_features(
        self, context: torch.Tensor, class_position: str, alm: AlmModel, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Text features of the classes around a learned context that is the same for every clip.

        Without gradients they are computed once and kept while the context and the text tower stay as they are, so an
        evaluation reads the prompts once. A text tower whose `fast` is off reads them every time.

        Args:
            context: the learned context, compared by its values.
            class_position: where in it the name stands.
            alm: the model whose text tower reads the prompts.
            encode: computes the features.

        Returns:
            `[C, d]`, not normalised.
        """
        tower = alm.text_tower
        if torch.is_grad_enabled() or tower.training or tower.fast == "off":
            return encode()
        return self._kept_features(context, class_position, alm, encode)

    @torch.compiler.disable
    def _kept_features(
        self, context: torch.Tensor, class_position: str, alm: AlmModel, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        state = (class_position, context.device, context.dtype, alm.text_state())
        known = self._learned
        if known is None or known[0] != state or not torch.equal(known[1], context):
            with frozen_text(alm):
                known = self._learned = (state, context.clone(), encode())
        return known[2]

    def _compute_embeds(self, alm: AlmModel) -> torch.Tensor:
        features = alm.encode_token_ids([ids for sentences in self.sentence_ids for ids in sentences])
        return normalize(self.class_means(features), dim=-1)

    def _sentences(self, name: str) -> Sequence[str]:
        return self.descriptions.get(name) or [self.template.replace(PLACEHOLDER, readable(name))]

    def _prompt_texts(self, name: str) -> Sequence[str]:
        """What stands for a class in a prompt, without the full stop at its end."""
        return [readable(text).strip().removesuffix(".") for text in self.descriptions.get(name, [name])]

    def _encode_sentence(self, name: str, sentence: str) -> list[int]:
        ids = self.tokenizer(f"{sentence}{self.text_suffix}")["input_ids"]
        if len(ids) > self.max_length:
            raise AlmPromptError(
                f"class {name[:40]!r}: its sentence {sentence[:60]!r} has {len(ids)} tokens, the text tower takes "
                f"{self.max_length}; shorten the name, template or description"
            )
        return ids


def frozen_text(alm: AlmModel) -> AbstractContextManager[None]:
    """The text encoder in eval mode, without gradients, and with results that a later training step may use."""
    return frozen(alm.text_tower, alm.text_projection)
