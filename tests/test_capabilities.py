"""The page of capabilities is what the probe finds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "methods" / "capabilities.md"
PROBE = runpy.run_path(str(ROOT / "benchmarks" / "capabilities.py"))


@pytest.mark.parametrize(
    "label", ["coop+palm", "coop+dept", "palm", "coop, one context per class", "coop, reference encoders"]
)
def test_row_of_the_page_is_found_again(label: str) -> None:
    config = PROBE["WITH_OPTIONS"].get(label) or PROBE["parse_method"](label)
    assert PROBE["probe"](label, config) in PAGE.read_text(encoding="utf-8").splitlines()


def test_page_has_a_row_for_every_stack() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    labels = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert labels == ["method", *sorted([*PROBE["EXPRESSIONS"], *PROBE["WITH_OPTIONS"]])]
