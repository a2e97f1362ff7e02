"""Many steps and predictions in one process; the full counts are measured by `benchmarks/reliability.py`."""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("work", "count"), [("train", 100), ("predict", 300)])
def test_nothing_piles_up(faults, work, count):
    result = getattr(faults("endurance"), work)(count)
    assert result["leaked_files"] == 0
    # So few rounds tell a leak of a clip or a step, but not 1 %.
    assert result["growth_percent"] < 5
