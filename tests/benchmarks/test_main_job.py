"""`benchmarks/main_job.py` reads options of methods as the command line does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from alm_prompt import AlmForAudioClassification
from alm_prompt.data import AudioClips, Clip

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_options_are_numbers_where_they_look_like_it(
    tiny_alm: AlmForAudioClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    main_job = importlib.import_module("main_job")
    asked = {}

    def run_benchmark(model, processor, clips, methods, **settings):
        asked.update(methods)
        return SimpleNamespace(markdown=str)

    monkeypatch.setattr(main_job, "open_yamnet_minilm", lambda folder: (tiny_alm, None))
    monkeypatch.setattr(main_job, "load_clips", lambda folder: AudioClips([Clip("1.wav", "dog", "1")]))
    monkeypatch.setattr(main_job, "run_benchmark", run_benchmark)
    flags = ["--backbone", "b", "--data", "d", "--output", "o", "--methods", "coop+zebra"]
    monkeypatch.setattr(sys, "argv", ["main_job.py", *flags, "--options", "zebra.alpha=1e-2", "coop.n_ctx=4"])
    main_job.main()
    [config] = asked.values()
    assert (config.alpha, config.prompt.n_ctx) == (0.01, 4)
