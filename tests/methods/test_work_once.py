"""What the encoders are given to do: nothing twice that cannot have changed, and nothing left out that has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmTrainer, AlmTrainingArguments, CoOpPromptConfig, parse_method
from alm_prompt.cache import caching_in
from alm_prompt.data import FeatureDataset

CLASSES = ["dog", "rain", "siren", "door bell"]
NEIGHBORS = {name: [f"cat {name}", f"chain {name}"] for name in CLASSES}
OPTIONS = {"coop.n_ctx": 3, "cocoop.n_ctx": 3, "sept.neighbors": NEIGHBORS}
# How often the text tower reads prompts in training steps after the first, and in a whole evaluation with its loss.
WORK = {
    "palm": (0, 0),
    "linear_probe": (0, 0),
    "coop": (1, 1),
    "kgcoop": (1, 1),
    "coop+zebra": (1, 1),
    "coop+palm": (1, 1),
    "coop+dept": (1, 1),
    "coop+sept": (2, 2),
    "cocoop": (1, 3),
}


@contextmanager
def watched(module: torch.nn.Module) -> Iterator[list[int]]:
    """Count the calls of a module."""
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


@pytest.fixture
def adapted(make_tiny_alm: Callable) -> Callable[[str], PeftModel]:
    """A tiny model with a method, ready to train."""

    def build(method: str) -> PeftModel:
        torch.manual_seed(0)
        options = {key: value for key, value in OPTIONS.items() if key.partition(".")[0] in method.split("+")}
        return get_peft_model(make_tiny_alm(), parse_method(method, options))

    return build


def step(model: PeftModel, batch: dict[str, torch.Tensor]) -> None:
    """One step of SGD."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(**batch).loss.backward()
    optimizer.step()


@pytest.mark.parametrize("method", WORK)
def test_later_steps_and_evaluations_repeat_nothing(
    method: str, adapted: Callable[[str], PeftModel], audio_batch: dict[str, torch.Tensor]
) -> None:
    in_training, in_evaluation = WORK[method]
    model = adapted(method)
    with caching_in(None), watched(model.alm.audio_tower) as audio:
        step(model, audio_batch)
        for _ in range(2):
            with watched(model.alm.text_tower) as text:
                step(model, audio_batch)
            assert len(text) == in_training
        model.eval()
        with watched(model.alm.text_tower) as text, torch.no_grad():
            logits = [model(**audio_batch).logits for _ in range(3)]
        assert len(text) == in_evaluation
        assert not audio
        again = model(**audio_batch).logits.detach()  # With gradients, so from the prompts.
    assert all(torch.equal(one, again) for one in logits)


def test_trainer_reads_the_prompts_once_per_evaluation(adapted: Callable[[str], PeftModel], tmp_path) -> None:
    model = adapted("coop")
    dataset = FeatureDataset(torch.randn(10, 32), [index % 4 for index in range(10)])
    args = AlmTrainingArguments(
        str(tmp_path), per_device_eval_batch_size=2, use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    with watched(model.alm.text_tower) as text:
        AlmTrainer(model=model, args=args, eval_dataset=dataset).evaluate()
    assert len(text) == 1


def changed_in_place(model: PeftModel) -> None:
    """Where no version counter sees it."""
    next(p for p in model.parameters() if p.requires_grad).data.add_(0.5)


def other_tower(model: PeftModel) -> None:
    with torch.no_grad():
        model.alm.text_tower.token_embedding.weight.mul_(2)


@pytest.mark.parametrize(
    "change",
    [
        changed_in_place,
        other_tower,
        lambda model: model.double(),
        lambda model: model.half().float(),
        lambda model: model.set_classes(["rain", "cat"]),
        lambda model: setattr(model.alm.text_tower, "fast", "off"),
    ],
    ids=["context", "tower", "type", "rounded", "classes", "path"],
)
def test_what_changed_is_read_again(
    change: Callable[[PeftModel], None], adapted: Callable[[str], PeftModel], audio_batch: dict[str, torch.Tensor]
) -> None:
    model, features = adapted("coop").eval(), audio_batch["audio_features"]
    with torch.inference_mode():
        before = model(audio_features=features).logits
    change(model)
    features = features.to(model.alm.dtype)
    with watched(model.alm.text_tower) as text, torch.no_grad():
        after = model(audio_features=features).logits
    assert len(text) == 1
    assert torch.equal(after, model(audio_features=features).logits)
    assert after.shape != before.shape or not torch.equal(after, before)


def test_adapters_of_equal_contexts_are_told_apart(
    make_tiny_alm: Callable, audio_batch: dict[str, torch.Tensor]
) -> None:
    """By where the class name stands: the same words before any training."""
    configs = [CoOpPromptConfig(ctx_init="the sound", class_position=position) for position in ("end", "front")]
    features = audio_batch["audio_features"]
    with torch.no_grad():
        alone = [get_peft_model(make_tiny_alm(), config).eval()(audio_features=features).logits for config in configs]
        model = get_peft_model(make_tiny_alm(), configs[0]).eval()
        model.add_adapter("front", configs[1])
        together = []
        for name in ("default", "front"):
            model.set_adapter(name)
            together.append(model(audio_features=features).logits)
    assert not torch.equal(*alone)
    assert all(map(torch.equal, together, alone))


def test_the_plain_way_reads_prompts_every_time(
    adapted: Callable[[str], PeftModel], audio_batch: dict[str, torch.Tensor]
) -> None:
    model = adapted("coop").eval()
    model.alm.text_tower.fast = "off"
    with watched(model.alm.text_tower) as text, torch.no_grad():
        for _ in range(3):
            model(**audio_batch)
    assert len(text) == 3


def test_training_after_an_evaluation(
    adapted: Callable[[str], PeftModel], audio_batch: dict[str, torch.Tensor]
) -> None:
    learned = []
    for evaluated in (False, True):
        model = adapted("coop")
        if evaluated:
            with torch.inference_mode():
                model.eval()(**audio_batch)
        step(model, audio_batch)
        learned.append(next(p for p in model.parameters() if p.requires_grad).detach())
    assert torch.equal(*learned)
