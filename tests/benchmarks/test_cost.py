"""The benchmark of cost, at a size of milliseconds: every measurement runs, and says what its page says it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig

from alm_prompt import AlmConfig

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TEXT = {
    "vocab_size": 600,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
    "bos_token_id": 598,
    "eos_token_id": 599,
}
AUDIO = {"model_type": "alm_cnn", "channels": [4, 8], "hidden_size": 16}


@pytest.fixture(scope="module")
def cost():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import cost
        import measuring

        # The peak of the machine takes seconds to find.
        patch.setattr(measuring, "MATRIX_SIZES", ((8, 8, 8),))
        patch.setattr(measuring, "COPIED_BYTES", 2**10)
        yield cost
    for name in ("cost", "both_ways", "measuring", "published_way", "real_size"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tiny(cost):
    config = AlmConfig(audio_config=AUDIO, text_config=CLIPTextConfig(**TEXT), projection_dim=16)
    front_end = {"sampling_rate": 8000, "n_fft": 256, "win_length": 256, "f_max": 4000.0, "clip_seconds": 0.5}
    sizes = {"classes": 3, "batch": 4, "n_ctx": 4, "growth": (2, 4), "many_classes": 5}
    return cost.Setting(config, front_end, lengths=(24, 16), repeats=(1, 1), **sizes)


@pytest.fixture(scope="module")
def cost_gpu(cost, tiny):
    import cost_gpu

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost_gpu, "MATRIX_SIZES", ((8, 8, 8),))
        patch.setattr(cost_gpu, "COMPILER", {"backend": "eager"})
        patch.setattr(cost_gpu, "WARM_UP", 1)
        patch.setattr(cost_gpu, "gpu_setting", lambda: tiny)
        yield cost_gpu
    sys.modules.pop("cost_gpu")
    torch.compiler.reset()


@pytest.mark.parametrize("method", ["coop", "cocoop", "sept"])
def test_both_ways_have_the_same_loss_at_the_start(cost, tiny, method):
    found = cost.MEASUREMENTS[method](tiny)
    ours = found["losses"]["ours"]
    assert [found["losses"][f"padded {length}"] for length in (24, 16)] == pytest.approx([ours, ours], rel=1e-5)
    assert found["ratios"].keys() >= {"padded 24 / ours", "padded 16 / ours"}
    assert found["share_of_peak"] == found["matrix_flops"] / found["seconds"]["ours"] / found["matrix_peak"]


def test_matrix_operations_are_those_of_the_products(cost):
    left, right = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7)
    assert cost.matrix_flops(lambda: (left @ right).sum().backward()) == 2 * (2 * 3 * 5 * 7)


def test_palm_leaves_the_towers_alone_after_its_first_step(cost, tiny):
    first, *later = cost.palm_work(tiny)["calls_in_step"]
    assert first == {"text_tower": 1, "audio_tower": 0}
    assert later == [{"text_tower": 0, "audio_tower": 0}] * 4


def test_whole_run_counts_the_pass_over_the_audio(cost, tiny, monkeypatch):
    monkeypatch.setattr(cost, "RUN_CLIPS", 8)
    monkeypatch.setattr(cost, "EPOCHS", 2)
    monkeypatch.setattr(cost, "EPOCHS_RUN", {"palm": 2})
    found = cost.whole_run(tiny, ("palm",), 4, [(1, "projections")])
    palm = found["palm"]
    assert palm["ours_steps_run"] == 4
    published = palm["padded 16, projections unfrozen"]
    assert published["against ours, cold"] == published["seconds"] / (palm["ours"] + found["cold_pass_seconds"])


@pytest.mark.parametrize(
    "measurement", ["first-pass", "inference", "growth", "profile", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_measurement_runs(cost, tiny, measurement, monkeypatch):
    monkeypatch.setattr(cost, "COMPILER", {"backend": "eager"})
    assert cost.MEASUREMENTS[measurement](tiny)


def test_memory_of_a_step(cost, tiny):
    assert cost.memory_of(lambda: torch.ones(2**25)) > 0.9 * 2**27
    assert isinstance(cost.memory_in_this_process(tiny, "coop-many-ours"), int)


@pytest.mark.slow
def test_steps_for_a_gpu_have_the_same_loss_in_every_way(cost_gpu, tiny):
    found = cost_gpu.measure("coop", tiny, "cpu", "fp32")
    assert found["losses"].keys() == {"eager", "compiled", "plain", "padded 24", "padded 16"}
    assert list(found["losses"].values()) == pytest.approx([found["losses"]["eager"]] * 5, rel=1e-5)
    seconds = found["seconds"]
    assert found["ratios"]["plain / compiled"] == seconds["plain"] / seconds["compiled"]
    assert found["share_of_peak"]["eager"] == found["matrix_flops"] / seconds["eager"] / found["matrix_peak"]


def test_what_only_a_gpu_has_is_null_without_one(cost_gpu, tmp_path, monkeypatch):
    options = ["--dtype", "bf16", "--device", "cpu", "--output", str(tmp_path), "--only", "palm", "many-classes"]
    monkeypatch.setattr(sys, "argv", ["cost_gpu.py", *options])
    cost_gpu.main()
    palm, many = (json.loads((tmp_path / f"bf16-{name}.json").read_text()) for name in ("palm", "many-classes"))
    assert palm["command"] == "python benchmarks/cost_gpu.py --dtype bf16 --device cpu --only palm"
    figures = palm["figures"]
    assert set(figures["launches"].values()) == set(figures["peak_memory"].values()) == {None}
    assert list(figures["losses"].values()) == pytest.approx([figures["losses"]["eager"]] * 4, rel=0.05)
    assert many["figures"]["classes"] == 5 and many["figures"]["peak_memory"] is None
