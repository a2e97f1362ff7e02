"""What the flags of a cache become where they are not given."""

from __future__ import annotations

import pytest
import torch

from alm_prompt.cli import loading
from alm_prompt.cli.options import CachedModelOptions


@pytest.mark.parametrize(("gpu", "cpus", "workers"), [(False, 16, 0), (True, 4, 3), (True, 64, 8), (True, 1, 0)])
def test_clips_are_read_in_processes_where_the_tower_leaves_the_cpus_free(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, cpus: int, workers: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(loading.os, "cpu_count", lambda: cpus)
    assert loading.open_cache(CachedModelOptions()).num_workers == workers
    assert loading.open_cache(CachedModelOptions(num_workers=2)).num_workers == 2
