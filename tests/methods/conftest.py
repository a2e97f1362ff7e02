"""What the tests of the matrix share: every row fresh, trained and saved."""

from __future__ import annotations

import copy
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmForAudioClassification

MATRIX = runpy.run_path(str(Path(__file__).with_name("matrix.py")))["MATRIX"]

Batch = dict[str, torch.Tensor]


class Trained(NamedTuple):
    """A row after 20 steps of training.

    Attributes:
        model: the model with the adapter, in eval mode.
        logits: what it predicts for the batch.
        zero_shot: what the model predicted before there was an adapter.
        losses: the loss before and after.
        before: all tensors before.
        with_gradient: parameters that have a gradient.
    """

    model: PeftModel
    logits: torch.Tensor
    zero_shot: torch.Tensor
    losses: tuple[float, float]
    before: Batch
    with_gradient: set[str]


@pytest.fixture(params=MATRIX)
def row(request: pytest.FixtureRequest) -> str:
    """Name of a row; a test that takes it runs for all."""
    return request.param


@pytest.fixture(scope="session")
def matrix() -> dict[str, Any]:
    """All rows by name."""
    return MATRIX


@pytest.fixture(scope="session")
def logits() -> Callable[..., torch.Tensor]:
    """What a model predicts for a batch."""

    @torch.no_grad()
    def predict(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return model(audio_features=batch["audio_features"]).logits

    return predict


@pytest.fixture(scope="session")
def train_steps() -> Callable[..., None]:
    """Trains the adapter of a model on a batch: `train_steps(model, batch, steps=20)`."""

    def train(model: torch.nn.Module, batch: Batch, steps: int = 20) -> None:
        model.train()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
        for _ in range(steps):
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        model.eval()

    return train


@pytest.fixture(scope="session")
def prompted(make_tiny_alm: Callable[..., AlmForAudioClassification]) -> Callable[..., PeftModel]:
    """A row's fresh adapter on a tiny model: `prompted(row, alm=None, seed=0)`. Same seed, same numbers."""

    def build(row: str, alm: AlmForAudioClassification | None = None, seed: int = 0) -> PeftModel:
        alm = make_tiny_alm() if alm is None else alm
        torch.manual_seed(seed)
        return get_peft_model(alm, MATRIX[row].config())

    return build


@pytest.fixture(scope="session")
def trained_rows(
    make_tiny_alm: Callable[..., AlmForAudioClassification],
    prompted: Callable[..., PeftModel],
    train_steps: Callable[..., None],
    logits: Callable[..., torch.Tensor],
    audio_batch: Batch,
) -> Callable[[str], Trained]:
    """A row, trained once; the model is for reading only."""
    done: dict[str, Trained] = {}

    def train(row: str) -> Trained:
        if row not in done:
            alm = make_tiny_alm()
            zero_shot = logits(alm, audio_batch)
            model = prompted(row, alm)
            before = {name: value.clone() for name, value in model.state_dict().items()}
            first = model(**audio_batch).loss.item()
            train_steps(model, audio_batch)
            last = model(**audio_batch).loss.item()
            with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
            done[row] = Trained(model, logits(model, audio_batch), zero_shot, (first, last), before, with_gradient)
        return done[row]

    return train


@pytest.fixture
def trained(row: str, trained_rows: Callable[[str], Trained]) -> Trained:
    """The row after training, with a model of the test's own."""
    record = trained_rows(row)
    return record._replace(model=copy.deepcopy(record.model))


@pytest.fixture(scope="session")
def saved_rows(
    trained_rows: Callable[[str], Trained], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folder of a row's adapter, saved once."""
    root = tmp_path_factory.mktemp("adapters")

    def save(row: str) -> Path:
        if not (root / row).is_dir():
            trained_rows(row).model.save_pretrained(root / row)
        return root / row

    return save


@pytest.fixture
def saved(row: str, saved_rows: Callable[[str], Path]) -> Path:
    """Folder of the row's trained adapter, for reading only."""
    return saved_rows(row)
