"""One row per method and stack; every row goes through the same bodies in `test_matrix.py`."""

from __future__ import annotations

from collections.abc import Callable

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


def sept(prompt: PromptConfig) -> SeptPromptConfig:
    """SEPT with neighbours that the tiny tokenizer knows."""
    return SeptPromptConfig(prompt=prompt, neighbors=NEIGHBORS)


def dept(prompt: PromptConfig, fusion: bool = True) -> DePTPromptConfig:
    """DePT with the true gradient: its faster head would not agree with finite differences (see test_dept.py)."""
    return DePTPromptConfig(prompt=prompt, fusion=fusion, head_learning_rate_factor=1.0)


MATRIX: dict[str, Callable[[], PromptConfig]] = {
    "coop": lambda: CoOpPromptConfig(n_ctx=4),
    "coop-words": lambda: CoOpPromptConfig(ctx_init="this is a sound of"),
    "coop-middle": lambda: CoOpPromptConfig(n_ctx=5, class_position="middle"),
    "coop-front": lambda: CoOpPromptConfig(n_ctx=4, class_position="front"),
    "coop-class-specific": lambda: CoOpPromptConfig(n_ctx=4, class_specific=True),
    "cocoop": lambda: CoCoOpPromptConfig(n_ctx=4),
    "kgcoop": lambda: KgCoOpPromptConfig(n_ctx=4),
    "kgcoop-ensemble": lambda: KgCoOpPromptConfig(n_ctx=4, anchor="ensemble"),
    "palm": PalmPromptConfig,
    "linear-probe": LinearProbeConfig,
    "coop+zebra": lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
    "cocoop+zebra": lambda: ZebraPromptConfig(prompt=CoCoOpPromptConfig(n_ctx=4)),
    "kgcoop+zebra": lambda: ZebraPromptConfig(prompt=KgCoOpPromptConfig(n_ctx=4)),
    "coop+sept": lambda: sept(CoOpPromptConfig(n_ctx=4)),
    "cocoop+sept": lambda: sept(CoCoOpPromptConfig(n_ctx=4)),
    "kgcoop+sept": lambda: sept(KgCoOpPromptConfig(n_ctx=4)),
    "coop+sept+zebra": lambda: ZebraPromptConfig(prompt=sept(CoOpPromptConfig(n_ctx=4))),
    "cocoop+sept+zebra": lambda: ZebraPromptConfig(prompt=sept(CoCoOpPromptConfig(n_ctx=4))),
    "coop+zebra+sept": lambda: sept(ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4))),
    "coop+dept": lambda: dept(CoOpPromptConfig(n_ctx=4)),
    "coop+dept-no-fusion": lambda: dept(CoOpPromptConfig(n_ctx=4), fusion=False),
    "kgcoop+dept": lambda: dept(KgCoOpPromptConfig(n_ctx=4)),
    "cocoop+dept": lambda: dept(CoCoOpPromptConfig(n_ctx=4)),
    "coop+dept+sept": lambda: sept(dept(CoOpPromptConfig(n_ctx=4))),
    "coop+dept+zebra": lambda: ZebraPromptConfig(prompt=dept(CoOpPromptConfig(n_ctx=4))),
    "palm+zebra": lambda: ZebraPromptConfig(prompt=PalmPromptConfig()),
    "coop+tta": lambda: TtaPromptConfig(prompt=CoOpPromptConfig(ctx_init="this is a sound of")),
    "coop+zebra+tta": lambda: TtaPromptConfig(prompt=ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4))),
    "palm-no-text": lambda: PalmPromptConfig(text_features=False),
    "coop+palm": lambda: PalmPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
    "cocoop+palm": lambda: PalmPromptConfig(prompt=CoCoOpPromptConfig(n_ctx=4)),
    "cocoop-feedback": lambda: CoCoOpPromptConfig(n_ctx=4, feedback="text_features"),
    "cocoop-feedback+palm": lambda: PalmPromptConfig(prompt=CoCoOpPromptConfig(n_ctx=4, feedback="text_features")),
    "linear-probe+zebra": lambda: ZebraPromptConfig(prompt=LinearProbeConfig()),
    "coop+palm+zebra": lambda: ZebraPromptConfig(prompt=PalmPromptConfig(prompt=CoOpPromptConfig(n_ctx=4))),
}
FIXED_CLASSES = {"coop-class-specific"}
DEPT_HEAD = 4 * 32 + (32 + 1) * 4
TRAINABLE = {
    "coop": 4 * 24,
    "coop-words": 5 * 24,
    "coop-middle": 5 * 24,
    "coop-front": 4 * 24,
    "coop-class-specific": 4 * 4 * 24,
    "cocoop": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24,
    "kgcoop": 4 * 24,
    "kgcoop-ensemble": 4 * 24,
    "palm": 4 * (32 + 1),
    "linear-probe": 4 * (32 + 1),
    "coop+zebra": 4 * 24,
    "cocoop+zebra": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24,
    "kgcoop+zebra": 4 * 24,
    "coop+sept": 4 * 24,
    "cocoop+sept": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24,
    "kgcoop+sept": 4 * 24,
    "coop+sept+zebra": 4 * 24,
    "cocoop+sept+zebra": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24,
    "coop+zebra+sept": 4 * 24,
    "coop+dept": 4 * 24 + DEPT_HEAD,
    "coop+dept-no-fusion": 4 * 24 + DEPT_HEAD,
    "kgcoop+dept": 4 * 24 + DEPT_HEAD,
    "cocoop+dept": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24 + DEPT_HEAD,
    "coop+dept+sept": 4 * 24 + DEPT_HEAD,
    "coop+dept+zebra": 4 * 24 + DEPT_HEAD,
    "palm+zebra": 4 * (32 + 1),
    "coop+tta": 5 * 24,
    "coop+zebra+tta": 4 * 24,
    "palm-no-text": 4 * 32,
    "coop+palm": 4 * 24 + 4 * (32 + 1),
    "cocoop+palm": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 24 + 4 * (32 + 1),
    "cocoop-feedback": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 32,
    "cocoop-feedback+palm": 4 * 24 + (32 + 1) * 2 + (2 + 1) * 32 + 4 * (32 + 1),
    "linear-probe+zebra": 4 * (32 + 1),
    "coop+palm+zebra": 4 * 24 + 4 * (32 + 1),
}
