"""Does noise lower the quality score (PAM)? White noise over real clips with yamnet-minilm.

    python benchmarks/quality_noise.py --backbone ../shared/backbones/yamnet-minilm \
        --data ../shared/data/fsdd ../shared/data/esc10 ../shared/data/drums \
        --output benchmarks/results/quality_noise.json

Of every clip, the score as it is and with noise of the given signal-to-noise ratios; printed are mean scores and the
share of clips whose score the noise lowered.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from alm_prompt import audio_quality
from alm_prompt.audio import read_waveform
from alm_prompt.data import load_clips
from alm_prompt.models.convert.yamnet_minilm import import_yamnet_minilm


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", type=Path, required=True, help="folder of yamnet-minilm")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders with metadata.csv and audio/")
    parser.add_argument("--snr", type=float, nargs="+", default=[20, 0, -10], help="signal-to-noise ratios in dB")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    args = parser.parse_args()
    model, processor = import_yamnet_minilm(args.backbone)
    rate = processor.feature_extractor.sampling_rate
    figures = []
    print("| clips | | clean | " + " | ".join(f"{snr:g} dB" for snr in args.snr) + " |")
    for folder in args.data:
        clips = load_clips(folder)
        waves = [read_waveform(clip.source, target_rate=rate) for clip in clips]
        clean = audio_quality(model, processor, waves, rate)
        row = {"data": folder.name, "clips": len(waves), "clean": clean.mean().item(), "noisy": {}}
        for snr in args.snr:
            noisy = audio_quality(model, processor, with_noise(waves, snr), rate)
            lowered = (noisy < clean).float().mean().item()
            row["noisy"][f"{snr:g}"] = {"mean": noisy.mean().item(), "lowered": lowered}
        cells = [f"{noisy['mean']:.2f} ({100 * noisy['lowered']:.0f} %)" for noisy in row["noisy"].values()]
        print(f"| {row['data']} | {row['clips']} | {row['clean']:.2f} | " + " | ".join(cells) + " |", flush=True)
        figures.append(row)
    args.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def with_noise(waves: list[torch.Tensor], snr: float) -> list[torch.Tensor]:
    """Clips `[n]` with white noise; the same noise in every call."""
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(len(wave), generator=generator) for wave in waves]
    levels = [wave.square().mean().sqrt() * 10 ** (-snr / 20) for wave in waves]
    return [wave + level * hiss for wave, level, hiss in zip(waves, levels, noise, strict=True)]


if __name__ == "__main__":
    main()
