"""Front ends of the published families, as keyword arguments of [`AlmFeatureExtractor`]."""

from __future__ import annotations

from typing import Any

# 64 slaney bands from 50 to 14,000 Hz over frames of 1,024 samples, 10*log10(max(power, 1e-10)).
_COMMON: dict[str, Any] = {
    "n_fft": 1024,
    "win_length": 1024,
    "n_mels": 64,
    "f_min": 50.0,
    "f_max": 14_000.0,
    "mel_scale": "slaney",
    "mel_norm": "slaney",
    "power": 2.0,
    "center": True,
    "log": "db",
    "log_floor": 1e-10,
}

# LAION-AI/CLAP, unfused: the values of laion/clap-htsat-unfused.
LAION: dict[str, Any] = {
    **_COMMON,
    "sampling_rate": 48_000,
    "hop_length": 480,
    "clip_seconds": 10.0,
    "pad": "repeatpad",
}

# The same with feature fusion: its spectrograms come from torchaudio, with other filters.
LAION_FUSED: dict[str, Any] = {**LAION, "mel_scale": "htk", "mel_norm": None, "fusion": True}

# microsoft/CLAP 2022 (PANN Cnn14).
MSCLAP_2022: dict[str, Any] = {
    **_COMMON,
    "sampling_rate": 44_100,
    "hop_length": 320,
    "clip_seconds": 5.0,
    "pad": "tile",
}

# microsoft/CLAP 2023 (HTSAT): its wrapper ignores the YAML settings and builds filters for 32 kHz over 44.1 kHz audio.
MSCLAP_2023: dict[str, Any] = {
    **_COMMON,
    "sampling_rate": 44_100,
    "mel_rate": 32_000,
    "hop_length": 320,
    "clip_seconds": 7.0,
    "pad": "tile",
}

# microsoft/Pengi has the audio tower of MS-CLAP 2023, with its front end.
PENGI: dict[str, Any] = MSCLAP_2023
