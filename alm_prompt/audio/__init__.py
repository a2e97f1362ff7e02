"""Audio in: decoding, resampling and log-mel front ends."""

from .augment import audio_views
from .features import LogMelSpec, fit_length, log_mel, mel_filters, pad_to_patches, patches
from .waveform import content_hash, read_waveform

__all__ = [
    "LogMelSpec",
    "audio_views",
    "content_hash",
    "fit_length",
    "log_mel",
    "mel_filters",
    "pad_to_patches",
    "patches",
    "read_waveform",
]
