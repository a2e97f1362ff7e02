"""Memory and time of the main job on models of real size, on the CPU.

    python benchmarks/real_size.py --family clap --output benchmarks/results/real_size/clap.json
    python benchmarks/real_size.py --family pengi --output benchmarks/results/real_size/pengi.json
    python benchmarks/real_size.py --family msclap-2023 --output benchmarks/results/real_size/msclap-2023.json

The weights are random, so only cost is measured: opening the folder, encoding a clip, and a training step of CoOp with
and without cached audio features.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch
from peft import get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPTextConfig,
    GPT2Config,
    PreTrainedTokenizerFast,
)

from alm_prompt import AlmConfig, AlmForAudioClassification, AlmProcessor, CoOpPromptConfig
from alm_prompt.models import AlmFeatureExtractor
from alm_prompt.models.convert.front_ends import MSCLAP_2023, PENGI

CLASSES = [f"sound number {index}" for index in range(25)]
RESIDUAL = {"kind": "residual", "dropout": 0.5}
FAMILIES = {
    "pengi": (
        {
            "text_config": CLIPTextConfig(),
            "text_projection": RESIDUAL | {"front_size": 512},
            "text_max_length": 40,
            "logit_scale_init_value": 4.6052,
        },
        PENGI,
    ),
    "msclap-2023": (
        {"text_config": GPT2Config(), "text_projection": RESIDUAL, "text_max_length": 77},
        MSCLAP_2023,
    ),
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, between RoBERTa's special tokens: the real vocabulary is not needed to measure cost."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for character in pre_tokenizers.ByteLevel.alphabet():
        vocabulary[character] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def write_model(family: str, folder: str) -> None:
    """Save a model of the family's real size with its processor."""
    byte_tokenizer().save_pretrained(folder)
    if family == "clap":
        ClapModel(ClapConfig()).save_pretrained(folder)
        ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50).save_pretrained(folder)
        return
    options, front_end = FAMILIES[family]
    config = AlmConfig(audio_config=ClapAudioConfig(), audio_projection=RESIDUAL, projection_dim=1024, **options)
    AlmForAudioClassification(config, byte_tokenizer()).save_pretrained(folder)
    AlmFeatureExtractor(**front_end).save_pretrained(folder)


def median_seconds(function, repeats: int) -> float:
    """Median wall time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=["clap", *FAMILIES], default="clap")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_model(args.family, folder)
        start = time.perf_counter()
        alm = AlmForAudioClassification.from_pretrained(folder, class_names=CLASSES)
        opening = time.perf_counter() - start
        processor = AlmProcessor.from_pretrained(folder)
    rate = processor.feature_extractor.sampling_rate
    samples = round(rate * processor.feature_extractor.clip_seconds)
    clips = [torch.randn(samples).numpy() * 0.1 for _ in range(args.batch_size)]
    inputs = processor(audio=clips, sampling_rate=rate)
    labels = torch.arange(args.batch_size) % len(CLASSES)

    model = get_peft_model(alm, CoOpPromptConfig()).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)

    def step(**audio: torch.Tensor) -> None:
        optimizer.zero_grad()
        model(**audio, labels=labels).loss.backward()
        optimizer.step()

    def encode() -> torch.Tensor:
        with torch.no_grad():
            return alm.get_audio_features(**inputs)

    features = encode()
    figures = {
        "model": f"{args.family}, random weights, float32",
        "parameters": sum(p.numel() for p in alm.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "batch_size": args.batch_size,
        "classes": len(CLASSES),
        "context_vectors": 16,
        "open_seconds": round(opening, 2),
        "front_end_seconds_per_clip": round(
            median_seconds(lambda: processor(audio=clips[:1], sampling_rate=rate), args.repeats), 4
        ),
        "encode_seconds_per_clip": round(median_seconds(encode, args.repeats) / args.batch_size, 3),
        "step_seconds_cached_audio": round(median_seconds(lambda: step(audio_features=features), args.repeats), 3),
        "step_seconds_with_audio_tower": round(median_seconds(lambda: step(**inputs), args.repeats), 3),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
