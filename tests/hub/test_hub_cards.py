"""The cards in hub_cards/ are complete, and what they say of the adapters beside them is so."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from alm_prompt import load_adapter
from alm_prompt.hub import AdapterResults, write_card
from alm_prompt.models.convert.checkpoint import FAMILIES
from alm_prompt.prompts import available_sets
from alm_prompt.registry import METHODS

FOLDER = Path(__file__).resolve().parents[2] / "hub_cards"
ADAPTERS = sorted((FOLDER / "adapters").iterdir())


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hub_cards_make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NUMBER = r"\d{1,3}\.\d(?: ± \d{1,2}\.\d)?"
ROW = (
    r"\| `alm_prompt sound world` \| `base to novel, \d+ shots, seeds [\d, ]+; this is seed \d+` "
    r"\| {figure} \| {number} \| \d \| `[0-9a-f]{{12}}` \|\n"
)
ROWS = "".join(
    ROW.format(figure=figure, number=NUMBER)
    for figure in ("accuracy on base classes", "accuracy on novel classes", "harmonic mean of base and novel")
)
ADAPTER_CARD = rf"""---
library_name: peft
license: apache-2\.0
pipeline_tag: audio-classification
tags:
(?:- \w+(?:-\w+)?
)+model-index:
.*
      config: base to novel, \d+ shots, .*
      split: [0-9a-f]{{64}}
.*
---

<!-- alm_prompt writes what follows, from adapter_config\.json and results\.json\. -->

# [a-z_+]+ for 6 classes of sound

An adapter of an audio-language model, learned with .*:
[\d,]+ learned numbers of the method [a-z_+]+ beside the frozen backbone `tiny`\.

Trained to tell apart: (?:`[a-z ]+`, ){{5}}`[a-z ]+`\.

## How to use it
.*
## Training

Settings that differ from the defaults:

(?:- [a-z_.]+: `.+`
)+
The run:

- clips: `\d+`
- steps: `\d+`
- processes: `1`

## Results

Shares in %, .*

\| data \| how \| figure \| value \| runs \| split \|
\|(?:---\|){{6}}
{ROWS}
## Intended use and limits
.*
### Framework versions

(?:- [\w-]+ [\w.+]+
)+
(?:## Citation

```bibtex
@.*
```

)?<!-- What stands below is yours, and so is all of a card without these two marks\. -->
"""


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_is_whole_and_its_card_is_of_its_files(adapter: Path, tmp_path: Path) -> None:
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "results.json"]
    assert sorted(path.name for path in adapter.glob("[!.]*")) == names
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert re.fullmatch(ADAPTER_CARD, card, re.DOTALL)
    for name in names[1:]:
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card
    header = yaml.safe_load(card.split("---\n")[1])
    [measurement] = AdapterResults.load(adapter).measurements
    values = {metric["name"]: metric["value"] for metric in header["model-index"][0]["results"][0]["metrics"]}
    assert list(values.values()) == [round(figure.mean, 4) for figure in measurement.figures.values()]


def test_there_is_an_adapter_of_every_method() -> None:
    assert {name for folder in ADAPTERS for name in folder.name.split("-")} == METHODS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda folder: folder.name)
def test_adapter_opens(adapter: Path) -> None:
    model = load_adapter(adapter)
    with torch.no_grad():
        assert model(audio_features=torch.ones(1, model.config.projection_dim)).logits.isfinite().all()


BACKBONE_CARD = r"""---
library_name: alm_prompt
pipeline_tag: zero-shot-audio-classification
tags:
- alm_prompt
- audio-classification
---

# .+, converted for alm_prompt

.*: 1,234,567 parameters\. Nothing was trained\.

\| \| \|
\|---\|---\|
\| audio tower \| .+ \|
\| text tower \| .+ \|
\| tokenizer \| `some/tokenizer` \|
\| logit scale \| 14\.29 \|
\| source \| .+ \|
\| SHA-256 of the source \| `0{64}` \|
\| tensors \| 10 written, 2 of 12 left out \|
\| paper \| .+, arXiv \d{4}\.\d{5} \|
.*
model = AlmForAudioClassification\.from_pretrained\("user/backbone", .*
## Limits
.*"""


@pytest.mark.parametrize("family", FAMILIES)
def test_backbone_card_is_filled(family: str, make: ModuleType) -> None:
    report = {
        "family": family,
        "source": {"file": "some.pth", "bytes": 1, "sha256": "0" * 64},
        "tensors": {"read": 12, "dropped": 2, "written": 10},
        "parameters": 1234567,
        "logit_scale": 14.2857,
        "tokenizer": "some/tokenizer",
    }
    card = make.backbone_card(report, "user/backbone")
    assert re.fullmatch(BACKBONE_CARD, card, re.DOTALL)
    assert not re.search(r"\{\{|\{%|None|undefined", card)


def test_text_card_counts_what_ships(make: ModuleType) -> None:
    card = make.text_card("user/text")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "apache-2.0"
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \| (\d+) \| (\d+) \|$", card, re.MULTILINE)
    assert [row[0] for row in rows] == list(available_sets())
    assert all(int(terms) == 10 * int(classes) == 5 * int(sentences) for _, classes, terms, sentences in rows)
    assert '"user/text"' in card
    assert not re.search(r"\{\{|\{%|None|undefined", card)
    with pytest.raises(SystemExit, match="no Hub id"):
        make.text_card("../elsewhere")


@pytest.mark.slow
def test_adapters_can_be_made_again(make: ModuleType, tmp_path: Path) -> None:
    make.make_adapters(tmp_path, ["coop+zebra"], seeds=(0, 1), shots=2, clips_per_class=6, epochs=1, say=str)
    assert re.fullmatch(ADAPTER_CARD, (tmp_path / "coop-zebra" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    results = json.loads((tmp_path / "coop-zebra" / "results.json").read_text())
    assert results["training"]["settings"] == {"num_train_epochs": 1}
    assert load_adapter(tmp_path / "coop-zebra").class_names == results_classes(tmp_path / "coop-zebra")


def results_classes(folder: Path) -> list[str]:
    return json.loads((folder / "adapter_config.json").read_text())["class_names"]
