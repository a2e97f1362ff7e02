"""A process that fails ends all of its training soon, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.models import AlmForAudioClassification

SCRIPT = Path(__file__).with_name("dying_rank.py")
MOST_SECONDS = 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [("raises", "RuntimeError: the second process has had enough"), ("killed", "Signal 9 (SIGKILL) received by PID")],
)
def test_one_failure_ends_all(
    how: str, reason: str, tiny_alm: AlmForAudioClassification, torchrun: Callable[..., str], tmp_path: Path
) -> None:
    tiny_alm.save_pretrained(tmp_path / "model")
    printed = torchrun(SCRIPT, str(tmp_path), how, fails=True)
    assert time.time() - float((tmp_path / "stamp").read_text()) < MOST_SECONDS
    assert reason in printed
