"""How far the front ends of LAION CLAP, MS-CLAP and Pengi are from `torchlibrosa`, which the official code uses.

    pip install torchlibrosa==0.1.0
    python benchmarks/torchlibrosa_difference.py ../shared/data/esc10/audio \
        --output benchmarks/results/torchlibrosa.json

Both get the same samples: those that the package reads, fitted to the length of the front end. torchlibrosa computes
in float32, whose rounding shows in quiet bands beside a loud tone; the same modules in float64 tell what is left.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from alm_prompt import AlmFeatureExtractor
from alm_prompt.audio import fit_length, log_mel, mel_filters, read_waveform
from alm_prompt.audio.features import LogMelSpec
from alm_prompt.models.convert.front_ends import LAION, MSCLAP_2022, MSCLAP_2023

FAMILIES = {"laion": LAION, "msclap_2022": MSCLAP_2022, "msclap_2023_and_pengi": MSCLAP_2023}


def torchlibrosa_front_end(spec: LogMelSpec, dtype: torch.dtype) -> torch.nn.Sequential:
    """The two modules of the official code, with the values of a front end."""
    torch.set_default_dtype(dtype)  # torchlibrosa makes its weights of this type.
    spectrogram = Spectrogram(n_fft=spec.n_fft, hop_length=spec.hop_length, win_length=spec.win_length)
    filter_bank = LogmelFilterBank(
        sr=spec.mel_rate or spec.sampling_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        ref=1.0,
        amin=spec.log_floor,
        top_db=None,
    )
    torch.set_default_dtype(torch.float32)
    return torch.nn.Sequential(spectrogram, filter_bank)


@torch.no_grad()
def measure(settings: dict, files: list[Path]) -> dict[str, float | int]:
    """Absolute differences in dB over all clips, frames and bands."""
    extractor = AlmFeatureExtractor(**settings)
    spec, length = extractor.spec, round(extractor.clip_seconds * extractor.sampling_rate)
    official = {dtype: torchlibrosa_front_end(spec, dtype) for dtype in (torch.float32, torch.float64)}
    differences = {dtype: [] for dtype in official}
    for file in files:
        wave = read_waveform(file, target_rate=spec.sampling_rate, max_seconds=extractor.clip_seconds)
        wave = fit_length(wave, length, extractor.pad)
        ours = log_mel(wave, spec)
        for dtype, front_end in official.items():
            differences[dtype].append((ours - front_end(wave[None].to(dtype))[0, 0]).abs().flatten())
    single, double = (torch.cat(differences[dtype]) for dtype in official)
    return {
        "clips": len(files),
        "largest_db": single.max().item(),
        "mean_db": single.mean().item(),
        "share_within_5e-5_db": (single <= 5e-5).double().mean().item(),
        "largest_db_float64": double.max().item(),
        "largest_filter_difference": (mel_filters(spec) - official[torch.float32][1].melW).abs().max().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with audio files")
    parser.add_argument("--clips", type=int, default=20, help="clips to compare, evenly spaced")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    files = files[:: max(len(files) // arguments.clips, 1)][: arguments.clips]
    result = json.dumps({name: measure(settings, files) for name, settings in FAMILIES.items()}, indent=2)
    print(result)
    if arguments.output:
        arguments.output.write_text(result + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
