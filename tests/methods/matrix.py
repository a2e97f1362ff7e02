"""One row per method and stack; every row goes through the same bodies in the files `test_matrix*.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from alm_prompt import (
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    DePTPromptConfig,
    KgCoOpPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
    PromptConfig,
    SeptPromptConfig,
    TtaPromptConfig,
    ZebraPromptConfig,
)

NEIGHBORS = {"dog": ["cat", "a cat"], "rain": ["the sound", "saw"], "siren": ["chain", "a bell"]}
NEIGHBORS |= {"door bell": ["the bell", "a door"]}


class Row(NamedTuple):
    """A method or stack.

    Attributes:
        config: makes its config, a fresh one every time.
        trainable: how many numbers it learns on the tiny model, which has 4 classes.
        any_classes: whether it classifies other classes than those it was trained on.
        adds_up: whether the loss of a batch is the mean over its clips, so that parts add up to it.
    """

    config: Callable[[], PromptConfig]
    trainable: int
    any_classes: bool = True
    adds_up: bool = True


def coop(**options) -> CoOpPromptConfig:
    """CoOp with a short context."""
    return CoOpPromptConfig(n_ctx=4, **options)


def cocoop(**options) -> CoCoOpPromptConfig:
    """CoCoOp with a short context."""
    return CoCoOpPromptConfig(n_ctx=4, **options)


def kgcoop(**options) -> KgCoOpPromptConfig:
    """KgCoOp with a short context."""
    return KgCoOpPromptConfig(n_ctx=4, **options)


def zebra(prompt: PromptConfig) -> ZebraPromptConfig:
    """ZEBRA around another method."""
    return ZebraPromptConfig(prompt=prompt)


def sept(prompt: PromptConfig, **options) -> SeptPromptConfig:
    """SEPT with neighbours that the tiny tokenizer knows, and quick margins."""
    return SeptPromptConfig(prompt=prompt, neighbors=NEIGHBORS, **{"margin_templates": "template", **options})


def dept(prompt: PromptConfig, fusion: bool = True) -> DePTPromptConfig:
    """DePT with the true gradient: its faster head would not agree with finite differences (see test_dept.py)."""
    return DePTPromptConfig(prompt=prompt, fusion=fusion, head_learning_rate_factor=1.0)


# What the parts learn on the tiny model: joint dimension 32, token embeddings of 24, 4 classes.
CONTEXT = 4 * 24
META = (32 + 1) * 2 + (2 + 1) * 24
FEEDBACK = (32 + 1) * 2 + (2 + 1) * 32
PALM = 4 * (32 + 1)
PROBE = 4 * (32 + 1)
DEPT = 4 * 32 + (32 + 1) * 4

MATRIX: dict[str, Row] = {
    "coop": Row(coop, CONTEXT),
    "coop-words": Row(lambda: CoOpPromptConfig(ctx_init="this is a sound of"), 5 * 24),
    "coop-middle": Row(lambda: CoOpPromptConfig(n_ctx=5, class_position="middle"), 5 * 24),
    "coop-front": Row(lambda: coop(class_position="front"), CONTEXT),
    "coop-class-specific": Row(lambda: coop(class_specific=True), 4 * CONTEXT, any_classes=False),
    "cocoop": Row(cocoop, CONTEXT + META),
    "cocoop-feedback": Row(lambda: cocoop(feedback="text_features"), CONTEXT + FEEDBACK),
    "kgcoop": Row(kgcoop, CONTEXT),
    "kgcoop-ensemble": Row(lambda: kgcoop(anchor="ensemble"), CONTEXT),
    "palm": Row(PalmPromptConfig, PALM),
    "palm-no-text": Row(lambda: PalmPromptConfig(text_features=False), 4 * 32),
    "linear-probe": Row(LinearProbeConfig, PROBE),
    "coop+palm": Row(lambda: PalmPromptConfig(prompt=coop()), CONTEXT + PALM),
    "cocoop+palm": Row(lambda: PalmPromptConfig(prompt=cocoop()), CONTEXT + META + PALM),
    "cocoop-feedback+palm": Row(
        lambda: PalmPromptConfig(prompt=cocoop(feedback="text_features")), CONTEXT + FEEDBACK + PALM
    ),
    "coop+zebra": Row(lambda: zebra(coop()), CONTEXT),
    "cocoop+zebra": Row(lambda: zebra(cocoop()), CONTEXT + META),
    "kgcoop+zebra": Row(lambda: zebra(kgcoop()), CONTEXT),
    "palm+zebra": Row(lambda: zebra(PalmPromptConfig()), PALM),
    "linear-probe+zebra": Row(lambda: zebra(LinearProbeConfig()), PROBE),
    "coop+palm+zebra": Row(lambda: zebra(PalmPromptConfig(prompt=coop())), CONTEXT + PALM),
    "coop+sept": Row(lambda: sept(coop(), margin_templates="ensemble"), CONTEXT),
    "cocoop+sept": Row(lambda: sept(cocoop()), CONTEXT + META),
    "cocoop+sept-batch-mean": Row(
        lambda: sept(cocoop(), neighbor_context="batch_mean"), CONTEXT + META, adds_up=False
    ),
    "kgcoop+sept": Row(lambda: sept(kgcoop()), CONTEXT),
    "coop+sept+zebra": Row(lambda: zebra(sept(coop())), CONTEXT),
    "cocoop+sept+zebra": Row(lambda: zebra(sept(cocoop())), CONTEXT + META),
    "coop+zebra+sept": Row(lambda: sept(zebra(coop())), CONTEXT),
    "coop+dept": Row(lambda: dept(coop()), CONTEXT + DEPT),
    "coop+dept-no-fusion": Row(lambda: dept(coop(), fusion=False), CONTEXT + DEPT),
    "kgcoop+dept": Row(lambda: dept(kgcoop()), CONTEXT + DEPT),
    "cocoop+dept": Row(lambda: dept(cocoop()), CONTEXT + META + DEPT),
    "coop+dept+sept": Row(lambda: sept(dept(coop())), CONTEXT + DEPT),
    "coop+dept+zebra": Row(lambda: zebra(dept(coop())), CONTEXT + DEPT),
    "coop+tta": Row(lambda: TtaPromptConfig(prompt=CoOpPromptConfig(ctx_init="this is a sound of")), 5 * 24),
    "coop+zebra+tta": Row(lambda: TtaPromptConfig(prompt=zebra(coop())), CONTEXT),
}
