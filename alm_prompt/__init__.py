"""Prompt learning for audio-language models, as an extension of `transformers` and `peft`."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AlmClassificationOutput": "outputs",
    "AlmConfig": "models",
    "AlmFeatureExtractor": "models",
    "AlmForAudioClassification": "models",
    "AlmModel": "models",
    "AlmOutput": "outputs",
    "AlmProcessor": "models",
    "AlmPromptError": "errors",
    "AlmTrainer": "training",
    "AlmTrainingArguments": "training",
    "AudioFeatureCache": "training",
    "PengiConfig": "models",
    "PengiForConditionalGeneration": "models",
    "PengiProcessor": "models",
    "SeptLoss": "losses",
    "ZebraLoss": "losses",
    "adapt": "training",
    "audio_entailment": "models",
    "audio_free_dataset": "training",
    "audio_quality": "models",
    "audio_text_cosines": "models",
    "export_audio_tower": "export",
    "export_class_embeddings": "export",
    "fit_entailment_thresholds": "models",
    "harmonic_mean": "evaluation",
    "load_adapter": "loading",
    "parse_method": "methods",
    "pipeline": "pipelines",
    "predict_adapted": "training",
    "push_adapter": "hub",
    "record_results": "hub",
    "run_benchmark": "evaluation",
    "view_features": "training",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import alm_prompt` alone loads neither torch nor transformers."""
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Whatever is asked for, models and methods register themselves: PEFT and Auto classes can then load them.
    methods = import_module(".methods", __name__)
    if name == "__all__":
        # Only here: which methods there are is known once they are imported.
        return sorted({*_HOMES, *methods.__all__})
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in methods.__all__:
        return getattr(methods, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), "__version__"]
