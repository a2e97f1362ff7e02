"""One row per method and stack; every row goes through the same bodies in `test_matrix.py`."""

from __future__ import annotations

from collections.abc import Callable

from alm_prompt import CoOpPromptConfig, PromptConfig, ZebraPromptConfig

MATRIX: dict[str, Callable[[], PromptConfig]] = {
    "coop": lambda: CoOpPromptConfig(n_ctx=4),
    "coop-words": lambda: CoOpPromptConfig(ctx_init="this is a sound of"),
    "coop-middle": lambda: CoOpPromptConfig(n_ctx=5, class_position="middle"),
    "coop-front": lambda: CoOpPromptConfig(n_ctx=4, class_position="front"),
    "coop-class-specific": lambda: CoOpPromptConfig(n_ctx=4, class_specific=True),
    "coop+zebra": lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
}
FIXED_CLASSES = {"coop-class-specific"}
TRAINABLE = {
    "coop": 4 * 24,
    "coop-words": 5 * 24,
    "coop-middle": 5 * 24,
    "coop-front": 4 * 24,
    "coop-class-specific": 4 * 4 * 24,
    "coop+zebra": 4 * 24,
}
