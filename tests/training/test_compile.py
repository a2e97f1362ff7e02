"""`torch.compile`: the same numbers, prompts in one graph, nothing compiled again for shapes that were seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import TrainerCallback

from alm_prompt import (
    AlmTrainer,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    KgCoOpPromptConfig,
    SeptPromptConfig,
    ZebraLoss,
)

COOP = CoOpPromptConfig(n_ctx=3)
NEIGHBORS = {"dog": ["cat"], "rain": ["the sound"], "siren": ["chain"], "door bell": ["a door"]}
# Texts are read once for the classes; SEPT reads its classes once more, with their neighbours.
TOWER_GRAPHS = {
    "coop": (COOP, 1),
    "kgcoop": (KgCoOpPromptConfig(n_ctx=3), 1),
    "sept": (SeptPromptConfig(prompt=COOP, neighbors=NEIGHBORS, margin_templates="template"), 2),
    "cocoop": (CoCoOpPromptConfig(n_ctx=3), 1),
}


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """Start and end without compiled code, and with every wish to compile again an error where a test says so."""
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=False):
        yield
    torch._dynamo.reset()


class Graphs:
    """A backend that keeps the graphs it is given and runs them as they are."""

    def __init__(self) -> None:
        self.targets: list[list[Any]] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        self.targets.append([node.target for node in graph.graph.nodes])
        return graph.forward

    def with_attention(self) -> list[int]:
        """Number of attentions in each of the graphs that have any."""
        attention = torch.nn.functional.scaled_dot_product_attention
        return [targets.count(attention) for targets in self.targets if attention in targets]


def adapted(make_tiny_alm: Callable[..., Any], method: str) -> PeftModel:
    torch.manual_seed(0)
    return get_peft_model(make_tiny_alm(), TOWER_GRAPHS[method][0]).train()


def take_steps(forward: Callable[..., Any], model: PeftModel, sizes: list[int]) -> None:
    """Steps of SGD on batches of these sizes."""
    generator = torch.Generator().manual_seed(3)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for size in sizes:
        features = torch.randn(size, 32, generator=generator)
        optimizer.zero_grad()
        forward(audio_features=features, labels=torch.arange(size) % 4).loss.backward()
        optimizer.step()


@pytest.mark.parametrize(
    "method", ["coop", *(pytest.param(name, marks=pytest.mark.slow) for name in ("kgcoop", "sept", "cocoop"))]
)
def test_prompts_are_one_graph_that_is_compiled_once_for_every_shape(
    method: str, make_tiny_alm: Callable[..., Any], learned: Callable[[PeftModel], torch.Tensor]
) -> None:
    first_epoch, second_epoch = [8, 8, 5], [8, 5]
    model, expected, graphs = adapted(make_tiny_alm, method), adapted(make_tiny_alm, method), Graphs()
    compiled = torch.compile(model, backend=graphs)
    take_steps(compiled, model, first_epoch)
    # Both layers of the text tower in one graph. Only the prompts of CoCoOp depend on the batch.
    towers = TOWER_GRAPHS[method][1] * (2 if method == "cocoop" else 1)
    assert graphs.with_attention() == [2] * towers
    with torch._dynamo.config.patch(error_on_recompile=True):
        known = len(graphs.targets)
        take_steps(compiled, model, second_epoch)
    assert len(graphs.targets) == known
    take_steps(expected, expected, first_epoch)
    take_steps(expected, expected, second_epoch)
    torch.testing.assert_close(learned(model), learned(expected), atol=1e-6, rtol=0)


class CompiledOnce(TrainerCallback):
    """From its second epoch on, a training must not compile."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch._dynamo.config.error_on_recompile = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch._dynamo.config.error_on_recompile = True


def test_a_compiled_run_is_evaluated_saved_and_resumed_like_any_other(
    prompted: Callable[..., PeftModel],
    arguments: Callable[..., Any],
    clips: list[dict[str, Any]],
    learned: Callable[[PeftModel], torch.Tensor],
    tmp_path: Path,
) -> None:
    found = {}
    # The last batch of an epoch has two clips.
    options = {"per_device_train_batch_size": 7, "save_strategy": "epoch", "eval_strategy": "epoch"}
    for name, backend in (("plain", None), ("compiled", "aot_eager")):
        model = prompted("coop")
        args = arguments(output_dir=str(tmp_path / name), torch_compile_backend=backend, **options)
        trainer = AlmTrainer(
            model=model, args=args, train_dataset=clips, eval_dataset=clips[:5], callbacks=[CompiledOnce()]
        )
        trainer.train()
        found[name] = learned(model), trainer.evaluate()["eval_loss"]
    assert counters["stats"]["unique_graphs"] > 0
    assert found["compiled"][1] == pytest.approx(found["plain"][1], abs=1e-6)
    torch.testing.assert_close(found["compiled"][0], found["plain"][0], atol=1e-6, rtol=0)

    checkpoint = tmp_path / "compiled" / "checkpoint-6"
    names = [{file.name for file in (tmp_path / way / "checkpoint-6").iterdir()} for way in found]
    assert names[0] == names[1]
    assert load_file(checkpoint / "adapter_model.safetensors").keys() == {
        "base_model.model.class_head.learned_context"
    }
    loaded = PeftModel.from_pretrained(prompted("coop").unload(), str(checkpoint), is_trainable=True)
    assert learned(loaded).shape == found["compiled"][0].shape

    resumed = prompted("coop")
    trainer = AlmTrainer(
        model=resumed, args=args, train_dataset=clips, eval_dataset=clips[:5], callbacks=[CompiledOnce()]
    )
    trainer.train(str(checkpoint))
    assert torch.equal(learned(resumed), found["compiled"][0])


def test_a_model_that_was_compiled_before_keeps_hooks_and_results(
    prompted: Callable[..., PeftModel], arguments: Callable[..., Any], clips: list[dict[str, Any]]
) -> None:
    model = prompted("coop")
    # Its forward takes anything, so the columns that a model reads cannot be told.
    args = arguments(num_train_epochs=1, logging_strategy="epoch", remove_unused_columns=False)
    compiled = torch.compile(model, backend="eager")
    trainer = AlmTrainer(model=compiled, args=args, train_dataset=clips, loss_hooks=[ZebraLoss()])
    trainer.train()
    assert "entropy" in trainer.state.log_history[0]
    assert model.peft_config["default"].results.training is not None


class Transfers(TorchDispatchMode):
    """Notes the operations between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, torch.Tensor)}
        if len(devices) > 1:
            self.found.append(str(func))
        return output


@pytest.mark.parametrize("method", ["coop", "sept", "cocoop"])
def test_a_step_neither_reads_from_the_device_nor_sends_to_it(
    method: str, make_tiny_alm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tensors on the device "meta" have no numbers: to read one is an error, as it would be in a CUDA graph.
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    margins = torch.zeros(4, 4, 1, device="meta")
    monkeypatch.setattr("alm_prompt.methods.sept.layer.frozen_margins", lambda *args: margins)
    model = adapted(make_tiny_alm, method).to("meta")
    batch = {"audio_features": torch.zeros(4, 32, device="meta"), "labels": torch.zeros(4, dtype=int, device="meta")}
    model(**batch).loss.backward()
    with Transfers() as transfers:
        model(**batch).loss.backward()
    assert transfers.found == []
