"""The hash that caches and the leak check know audio by."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from alm_prompt.audio import content_hash
from alm_prompt.errors import AlmPromptError

RATE = 16_000
SAMPLES = np.sin(np.arange(8_000) / 10).astype(np.float32)


def test_content_hash_is_that_of_the_audio_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, SAMPLES, RATE)
    copy = tmp_path / "another name.wav"
    copy.write_bytes(path.read_bytes())
    data = path.read_bytes()
    sources = [path, str(copy), data, io.BytesIO(data), {"bytes": data, "path": "x"}, {"path": str(path)}]
    assert len({content_hash(source) for source in sources}) == 1
    soundfile.write(copy, 0.9 * SAMPLES, RATE)
    assert content_hash(path) != content_hash(copy)


def test_content_hash_of_samples_sees_values_rate_and_shape() -> None:
    same = [content_hash(SAMPLES, RATE), content_hash({"array": SAMPLES.copy(), "sampling_rate": RATE})]
    same.append(content_hash(np.repeat(SAMPLES, 2)[::2], RATE))
    assert len(set(same)) == 1
    changed = SAMPLES.copy()
    changed[3] += 1e-3
    others = [content_hash(changed, RATE), content_hash(SAMPLES, 8_000), content_hash(SAMPLES.reshape(2, -1), RATE)]
    assert len({*same, *others}) == 4


@pytest.mark.parametrize("bad", ["missing.wav", 3.5, {}, b""], ids=str)
def test_content_hash_refuses_what_cannot_be_read(bad) -> None:
    with pytest.raises(AlmPromptError):
        content_hash(bad)
