"""Broken and lying audio files: finite samples, or one line."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
import soundfile

from alm_prompt import AlmPromptError
from alm_prompt.audio import waveform
from alm_prompt.audio.waveform import read_channels, read_waveform
from alm_prompt.data import AudioClips, Clip, check_readable


@pytest.mark.usefixtures("capfd")  # The decoder of mp3 writes its own notes on standard error.
def test_mutants(faults):
    result = faults("audio").attack(count=100, seed=0)
    faulty = {name: value for name, value in result.items() if isinstance(value, list) and value}
    assert not faulty
    assert result["refused"] > 20
    assert result["read"] > 20
    assert result["slowest_seconds"] < 5


def test_a_header_that_claims_hours(faults):
    """What is not there is not made room for."""
    wav = faults("audio").audio_files()["wav"]
    for claimed in (2**31, 2**32 - 2, 2**32 - 1):
        lying = wav[:40] + claimed.to_bytes(4, "little") + wav[44:]
        assert len(read_waveform(lying, target_rate=16_000)) == 6400


def test_hours_in_a_small_file(monkeypatch):
    """Silence takes almost no room in a file, but as much in memory as any sound."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((200_000, 2), np.int16), 16_000, format="FLAC")
    monkeypatch.setattr(waveform, "_MOST_SAMPLES", 150_000)
    for read in (partial(read_waveform, target_rate=16_000), read_channels):
        with pytest.raises(AlmPromptError, match="more than 150,000 samples are too many at once"):
            read(file.getvalue())
    check_readable(AudioClips([Clip({"bytes": file.getvalue()}, "silence", "long")]))
    assert len(read_waveform(file.getvalue(), target_rate=16_000, max_seconds=2)) == 32_000
    assert len(read_waveform(file.getvalue(), target_rate=8_000)) == 100_000


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_every_cut_is_read_or_refused(faults, name):
    data = faults("audio").audio_files()[name]
    for length in [*range(1, 60, 7), *range(60, len(data), len(data) // 10)]:
        try:
            assert len(read_waveform(data[:length], target_rate=16_000))
        except AlmPromptError as error:
            assert str(error).isprintable()
