"""The pipeline of `transformers` for a model with or without an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import torch
import transformers
from peft import PeftModel
from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils.peft_utils import find_adapter_config_file

from .errors import AlmPromptError
from .hub import TINY, TINY_FOLDER
from .loading import backbone_failures, load_adapter
from .models import AlmFeatureExtractor, AlmForAudioClassification, ClassBank
from .outputs import AlmClassificationOutput

TASK = "prompted-audio-classification"
ZERO_SHOT_TASK = "zero-shot-audio-classification"


class PromptedAudioClassificationPipeline(Pipeline):
    """Classifies clips with an [`AlmForAudioClassification`], in eval mode, and with its adapter where it has one.

    Raises:
        AlmPromptError: the model is of another kind.
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def __init__(self, model: AlmForAudioClassification | PeftModel, **options: Any) -> None:
        self.classifier = _classifier(model)
        self._free_classes: tuple[tuple[object, ...], ClassBank] | None = None
        if options.get("task") == ZERO_SHOT_TASK:
            options.setdefault("top_k", None)
        super().__init__(model.eval(), **options)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Classify one clip or several.

        Args:
            inputs: a clip, or a list, a data set or a generator of clips. A clip is what
                [`~alm_prompt.audio.waveform.read_waveform`] reads: a path, encoded bytes, samples as an array, or a
                mapping as `datasets` gives them.
            **options: `top_k`: number of classes in the answer, `None` for all; default 5, and all in task
                `"zero-shot-audio-classification"`; `sampling_rate` of clips that are bare samples, in Hz, default: the
                model's; `candidate_labels`: classes to choose from, any
                number of any names, default: the model's own; `hypothesis_template`: sentence around them for
                zero-shot predictions, with one `{}`, default: the model's own (an adapter has prompts of its own, and
                the template that it was trained beside); `batch_size`.

        Returns:
            `[{"score": probability, "label": class name}, ...]`, the most likely first; a list of these for a list.

        Raises:
            AlmPromptError: a clip cannot be read, or an option or class list cannot be used.
        """
        # The base class looks at the first of a list, whether it is a chat.
        return [] if isinstance(inputs, (list, tuple)) and not inputs else super().__call__(inputs, **options)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        steps = ("sampling_rate",), ("candidate_labels", "hypothesis_template"), ("candidate_labels", "top_k")
        known = sorted({name for names in steps for name in names})
        if unknown := sorted(options.keys() - set(known)):
            raise AlmPromptError(f"the pipeline has no option {unknown[0]!r}; its options are {', '.join(known)}")
        top_k = options.get("top_k")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise AlmPromptError(f"top_k is {top_k!r}; give a whole number of at least 1, or None for all classes")
        preprocess, forward, postprocess = ({n: options[n] for n in names if n in options} for names in steps)
        return preprocess, forward, postprocess

    def preprocess(self, clip: Any, sampling_rate: int | None = None) -> dict[str, torch.Tensor]:
        """Read a clip and compute its features."""
        inputs = self.feature_extractor(clip, sampling_rate or self.feature_extractor.sampling_rate)
        # Under its own name a batch of it is joined without padding, which clips of many patches need.
        return {"features": inputs.pop("input_features").to(self.classifier.dtype), **inputs}

    def _forward(
        self,
        inputs: dict[str, torch.Tensor],
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | None = None,
    ) -> dict[str, Any]:
        with self._classes(candidate_labels, hypothesis_template):
            output: AlmClassificationOutput = self.model(inputs.pop("features"), **inputs)
        return {"probabilities": output.logits.softmax(dim=-1)}

    def postprocess(
        self,
        output: dict[str, torch.Tensor],
        candidate_labels: Sequence[str] | None = None,
        top_k: int | None = 5,
    ) -> list[dict[str, Any]]:
        """Rank the classes."""
        names = self.classifier.class_names if candidate_labels is None else candidate_labels
        scores, indices = output["probabilities"][0].topk(min(top_k or len(names), len(names)))
        return [{"score": s, "label": names[i]} for s, i in zip(scores.tolist(), indices.tolist(), strict=True)]

    @contextmanager
    def _classes(self, names: Sequence[str] | None, template: str | None) -> Iterator[None]:
        """Free classes for one call; the model keeps its own."""
        model, own = self.classifier, self.classifier.class_bank
        if names is None and template is None:
            yield
            return
        if names is None and own is None:
            raise AlmPromptError("hypothesis_template is given without classes; give candidate_labels, too")
        names = own.class_names if names is None else names
        key = (names if isinstance(names, str) else tuple(names), template)
        try:
            if self._free_classes is None or self._free_classes[0] != key:
                model.set_classes(names, template=template)
                self._free_classes = (key, model.class_bank)
            model.class_bank = self._free_classes[1]
            model.class_head.check_bank(model.class_bank)
            yield
        finally:
            model.class_bank = own


def pipeline(
    task: str = TASK,
    model: AlmForAudioClassification | PeftModel | str | PathLike[str] | None = None,
    *,
    feature_extractor: AlmFeatureExtractor | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **options: Any,
) -> PromptedAudioClassificationPipeline:
    """Make a pipeline from an adapter, or from a model with or without one.

    Args:
        task: `"prompted-audio-classification"`, or `"zero-shot-audio-classification"` of `transformers`.
        model: an adapter's or a model's folder or Hub id, or an open model.
        feature_extractor: front end of the model; default: the one that lies beside its weights.
        revision: of an adapter or model on the Hub.
        token: for the Hub.
        **options: those of `transformers.pipeline` (`device`, `batch_size`), and defaults for the options of a call.

    Returns:
        The pipeline, see [`PromptedAudioClassificationPipeline`].

    Raises:
        AlmPromptError: another task, or a model that cannot be opened.
    """
    if task not in (TASK, ZERO_SHOT_TASK):
        raise AlmPromptError(f"no pipeline for task {task!r}; choose one of {TASK}, {ZERO_SHOT_TASK}")
    if model is None:
        raise AlmPromptError("no model is given; give an adapter's folder or Hub id, or an open model")
    if isinstance(model, str | PathLike):
        model = _open(str(model), revision, token)
    if feature_extractor is None:
        source, source_revision = _classifier(model).name_or_path, _classifier(model).revision
        with backbone_failures(f"the model's front end cannot be opened from {source!r}; give feature_extractor"):
            source = TINY_FOLDER if source == TINY else source
            feature_extractor = AlmFeatureExtractor.from_pretrained(
                source, revision=source_revision or "main", token=token
            )
    return transformers.pipeline(
        task,
        model=model,
        feature_extractor=feature_extractor,
        pipeline_class=PromptedAudioClassificationPipeline,
        **options,
    )


def _open(reference: str, revision: str | None, token: str | bool | None) -> AlmForAudioClassification | PeftModel:
    """Open an adapter with its model, or a model."""
    with backbone_failures(f"model {reference!r} (a folder or a Hub id) cannot be opened"):
        if find_adapter_config_file(reference, revision=revision, token=token) is not None:
            return load_adapter(reference, revision=revision, token=token)
        return AlmForAudioClassification.from_pretrained(reference, revision=revision or "main", token=token)


def _classifier(model: Any) -> AlmForAudioClassification:
    """The model below an adapter, or the model itself."""
    classifier = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(classifier, AlmForAudioClassification):
        raise AlmPromptError(
            f"the pipeline classifies with an AlmForAudioClassification, not with a {type(classifier).__name__}; open "
            "one with AlmForAudioClassification.from_pretrained"
        )
    return classifier


PIPELINE_REGISTRY.register_pipeline(TASK, PromptedAudioClassificationPipeline, pt_model=AlmForAudioClassification)
